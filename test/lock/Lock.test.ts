import { layerEmbedded } from "xdooria/lock"
import { suite } from "./LockContract.ts"

suite("LockEmbedded", layerEmbedded(), { clock: "test" })

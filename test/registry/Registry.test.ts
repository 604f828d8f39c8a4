import { layerEmbedded } from "xdooria/registry"
import { suite } from "./RegistryContract.ts"

suite("RegistryEmbedded", layerEmbedded(), { clock: "test" })

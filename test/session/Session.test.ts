import * as Layer from "effect/Layer"
import { makeEmbedded } from "xdooria/session"
import { Backend, suite } from "./SessionContract.ts"

suite("SessionEmbedded", Layer.succeed(Backend, { open: makeEmbedded }), { clock: "test" })

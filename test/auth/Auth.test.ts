import * as Layer from "effect/Layer"
import { makeEmbedded } from "xdooria/auth/embedded"
import { Backend, suite } from "./AuthContract.ts"

suite("AuthEmbedded", Layer.succeed(Backend, { open: makeEmbedded }), { clock: "test" })

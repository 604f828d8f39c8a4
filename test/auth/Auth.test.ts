import * as Layer from "effect/Layer"
import { makeEmbedded } from "xdooria/auth/embedded"
import { Backend, suite } from "./AuthContract.ts"
import * as Lockout from "./LockoutContract.ts"

const backend = Layer.succeed(Backend, { open: makeEmbedded })

suite("tokens of AuthEmbedded", backend, { clock: "test" })
Lockout.suite("lockout of AuthEmbedded", backend, { clock: "test" })

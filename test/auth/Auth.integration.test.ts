import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { makeLive } from "xdooria/auth/live"
import { client, type Options, suites } from "../support/RedisBackends.ts"
import { Backend, suite } from "./AuthContract.ts"
import * as Lockout from "./LockoutContract.ts"

const backend = (options: Options) =>
  Layer.effect(
    Backend,
    Effect.gen(function* () {
      const redis = yield* client(options)
      return { open: (settings) => Effect.provide(makeLive(settings), redis) }
    })
  )

suites("AuthLive", (options) => {
  suite("tokens on real servers", backend(options), { clock: "live" })
  Lockout.suite("lockout on real servers", backend(options), { clock: "live" })
})

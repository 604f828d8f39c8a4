import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { makeLive } from "xdooria/session/live"
import { client, type Options, suites } from "../support/RedisBackends.ts"
import { Backend, suite } from "./SessionContract.ts"

const backend = (options: Options) =>
  Layer.effect(
    Backend,
    Effect.gen(function* () {
      const redis = yield* client(options)
      return { open: (session) => Effect.provide(makeLive(session), redis) }
    })
  )

suites("SessionLive", (options) => suite("on real servers", backend(options), { clock: "live" }))

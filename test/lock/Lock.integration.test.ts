import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerLive } from "xdooria/lock/live"
import { client, suites } from "../support/RedisBackends.ts"
import { suite } from "./LockContract.ts"

suites("LockLive", (options) =>
  suite(
    "on real servers",
    layerLive({ pollInterval: Duration.millis(100) }).pipe(
      Layer.provide(Layer.effectContext(Effect.orDie(client(options))))
    ),
    { clock: "live" }
  )
)

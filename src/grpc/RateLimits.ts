import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"
import type * as EffectRedis from "effect/persistence/Redis"

/**
 * Where the instances of a service count calls together. By default nowhere: each counts its own, and a limit holds for
 * each instance. Below a server, so that it is there when handlers are served.
 */
export const Shared = Context.Reference<RateLimiter.RateLimiter | undefined>("xdooria/grpc/SharedRateLimits", {
  defaultValue: () => undefined
})

/**
 * Counts calls on Redis, through effect/persistence/RateLimiter: a limit holds for all instances together. Under keys
 * that begin with `xd:rate:`. While Redis is down or takes longer than 50 ms, each instance goes by what it counts itself.
 */
export const layerRedis: Layer.Layer<never, never, EffectRedis.Redis> = Layer.effect(Shared, RateLimiter.make).pipe(
  Layer.provide(RateLimiter.layerStoreRedis({ prefix: "xd:rate:" }))
)

// A process that takes a lock again and again until it is killed (F07). Started by Child.ts.
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as References from "effect/References"
import { CurrentLease, Lock } from "xdooria/lock"
import { layerLive } from "xdooria/lock/live"
import { Command, Key, Redis } from "xdooria/redis"
import { layerLive as redisLive } from "xdooria/redis/live"

/** What it is told at its start. */
export interface Settings {
  readonly address: string
  readonly keyPrefix: string
  readonly key: string
  readonly ttlMillis: number
  /** Which one it is. */
  readonly id: number
}

/** It has the lock. `waitedMillis`: for how long it has waited for it. */
export interface Report {
  readonly waitedMillis: number
}

const settings = JSON.parse(process.argv[2]!) as Settings
const redis = redisLive({ addrs: [settings.address], keyPrefix: settings.keyPrefix })
const program = Effect.gen(function* () {
  const { run } = yield* Redis
  const key = yield* Effect.fromResult(Key.make("lock", settings.key))
  const log = yield* Effect.fromResult(Key.make("log", settings.key))
  // The server's list is the one order that all agree on.
  const note = (what: "in" | "out", fence: bigint) =>
    run(Command.make("RPUSH", [log, `${what} ${fence} ${settings.id}`], Command.integer))
  const once = Effect.gen(function* () {
    const asked = yield* Clock.currentTimeMillis
    yield* Effect.gen(function* () {
      const { fence } = yield* CurrentLease
      const report: Report = { waitedMillis: (yield* Clock.currentTimeMillis) - asked }
      yield* note("in", fence)
      process.send?.(report)
      yield* Effect.sleep(yield* Random.nextIntBetween(1, 5))
      yield* note("out", fence)
    }).pipe(Lock.withLock(key, { ttl: settings.ttlMillis, wait: "2 minutes" }))
  })
  return yield* Effect.forever(once)
})
process.once("disconnect", () => process.exit(0))
await Effect.runPromise(
  program.pipe(
    Effect.provide(Layer.provideMerge(layerLive(), redis)),
    Effect.provideService(References.MinimumLogLevel, "None")
  )
)

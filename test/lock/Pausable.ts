// A process that works under a lock and is stopped meanwhile (F06). Started by Child.ts.
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as SqlClient from "effect/sql/SqlClient"
import { CurrentLease, Fence, type Lease, Lock } from "xdooria/lock"
import { layerLive } from "xdooria/lock/live"
import { layerLive as pgLive } from "xdooria/pg/live"
import { Key } from "xdooria/redis"
import { layerLive as redisLive } from "xdooria/redis/live"

/** What it is told at its start. */
export interface Settings {
  readonly address: string
  readonly keyPrefix: string
  readonly key: string
  readonly ttlMillis: number
  readonly database: {
    readonly host: string
    readonly port: number
    readonly user: string
    readonly password: string
    readonly database: string
  }
}

/**
 * What it tells: that it holds the lock, and when and how its work under it ended. `late`: what became of a write that it
 * made after that.
 */
export type Report =
  | { readonly _tag: "Held"; readonly fence: string }
  | { readonly _tag: "Ended"; readonly at: number; readonly how: string; readonly late: string }

/** A guarded write: its token goes into a list, in the order of being written. */
export const write = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const { fence } = yield* CurrentLease
  yield* sql`INSERT INTO writes (fence) VALUES (${fence})`
}).pipe(Fence.guard)

const tell = (report: Report) => Effect.sync(() => void process.send?.(report))

const outcome = <E extends { readonly reason: { readonly _tag: string } }, R>(effect: Effect.Effect<void, E, R>) =>
  Effect.match(effect, { onFailure: ({ reason }) => reason._tag, onSuccess: () => "well" })

/** One turn: holds the lock and writes, until the lock is lost. */
const turn = (key: Key.Any, ttl: number) =>
  Effect.gen(function* () {
    let at = 0
    let lease: Lease | undefined
    const how = yield* Effect.gen(function* () {
      lease = yield* CurrentLease
      yield* tell({ _tag: "Held", fence: String(lease.fence) })
      return yield* Effect.forever(Effect.andThen(write, Effect.sleep("10 millis")))
    }).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          at = Date.now()
        })
      ),
      Lock.withLock(key, { ttl, wait: "30 seconds" }),
      outcome
    )
    // What a holder does that has not noticed, and is not stopped by its own process: it goes on writing.
    const late = yield* outcome(
      Effect.provideService(write, CurrentLease, { ...lease!, whileHeld: (effect) => effect as never })
    )
    yield* tell({ _tag: "Ended", at, how, late })
  })

if (import.meta.main) {
  const settings = JSON.parse(process.argv[2]!) as Settings
  const redis = redisLive({ addrs: [settings.address], keyPrefix: settings.keyPrefix })
  const database = pgLive({ ...settings.database, password: Redacted.make(settings.database.password), maxConns: 2 })
  const orders = Effect.callback<void>((resume) => {
    process.once("message", () => resume(Effect.void))
  })
  const program = Effect.gen(function* () {
    const key = yield* Effect.fromResult(Key.make("lock", settings.key))
    return yield* Effect.forever(Effect.andThen(orders, turn(key, settings.ttlMillis)))
  })
  process.once("disconnect", () => process.exit(0))
  await Effect.runPromise(
    program.pipe(
      Effect.provide(Layer.mergeAll(Layer.provide(layerLive(), redis), database)),
      Effect.provideService(References.MinimumLogLevel, "None")
    )
  )
}

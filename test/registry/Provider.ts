// A process that registers instances until it is killed (F13). Started by Child.ts.
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import { Registry } from "xdooria/registry"
import { layerLive } from "xdooria/registry/live"

/** What it is told at its start. */
export interface Settings {
  /** Of etcd. */
  readonly endpoint: string
  readonly ttlMillis: number
  readonly name: string
  readonly addresses: ReadonlyArray<string>
}

/** All are registered. */
export interface Report {
  readonly registered: number
}

const { addresses, endpoint, name, ttlMillis } = JSON.parse(process.argv[2]!) as Settings

const program = Effect.gen(function* () {
  const registry = yield* Registry
  yield* Effect.forEach(addresses, (address) => registry.register({ name, address }), { concurrency: "unbounded" })
  const report: Report = { registered: addresses.length }
  process.send?.(report)
  return yield* Effect.never
})
process.once("disconnect", () => process.exit(0))
await Effect.runPromise(
  Effect.scoped(program).pipe(
    Effect.provide(layerLive({ etcd: { endpoints: [endpoint] }, registry: { ttl: Duration.millis(ttlMillis) } })),
    Effect.provideService(References.MinimumLogLevel, "None")
  )
)

// npm run bench -- registry: what the picture of a service with 1,000 instances costs, and what 10,000 changes of it leave
// behind. The store is the memory of this process: what counts is what the room does with the entries.
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Registry, RegistryConfig } from "xdooria/registry"
import { encode, keyOf } from "../../src/registry/internal/codec.ts"
import * as Memory from "../../src/registry/internal/memory.ts"
import * as Room from "../../src/registry/internal/room.ts"
import * as Bench from "../bench/Bench.ts"

const name = "game-service"
const instances = 1_000
const changes = 10_000
/** How long the picture may take, in milliseconds of a core. */
const limit = 50

const addressOf = (index: number) => `10.0.${Math.floor(index / 250)}.${index % 250}:50051`
const valueOf = (index: number, version: number) =>
  encode(name, addressOf(index), { instance: "0123456789abcdef", weight: "1", version: String(version) })

const settings = Schema.decodeSync(RegistryConfig.schema)({})

/** A registry with all instances. */
const open = Effect.gen(function* () {
  const store = yield* Memory.make
  const { lease } = yield* store.grant(Duration.toMillis("1 day"))
  const put = (index: number, version: number) =>
    store.put({ key: keyOf(name, addressOf(index)), value: valueOf(index, version), lease })
  yield* Effect.forEach(Array.from({ length: instances }), (_, index) => put(index, 0), { discard: true })
  const registry = Context.get(yield* Room.make(store, settings), Registry)
  let version = 0
  /** One more version of one instance after the other. */
  const change = Effect.suspend(() => put(++version % instances, version))
  return { change, registry }
})

/** One who watches, and has the first picture. */
const watch = Effect.fnUntraced(function* (registry: Registry["Service"]) {
  const told = yield* Queue.sliding<number>(1)
  yield* Effect.forkScoped(
    Stream.runForEach(registry.watch(name), ({ endpoints }) => Queue.offer(told, endpoints.length))
  )
  yield* Queue.take(told)
  return { told: Queue.take(told) }
})

/** Slices of load that warm a candidate up, at least. */
const warmUps = 3

/** Ends the benchmark when a call takes more of a core than the limit: the time on a clock is also that of others. */
const limited = (load: Bench.Load): Bench.Load => {
  let slices = 0
  return (millis) =>
    Effect.suspend(() => {
      const before = process.cpuUsage()
      return Effect.tap(load(millis), (calls) => {
        const { system, user } = process.cpuUsage(before)
        const each = (system + user) / 1_000 / calls
        return ++slices <= warmUps || each <= limit
          ? Effect.void
          : Effect.die(`one picture takes ${each} ms, more than ${limit}`)
      })
    })
}

const values = Array.from({ length: instances }, (_, index) => valueOf(index, 0))

export default [
  Bench.clients({
    name: `the picture of ${instances} instances, within ${limit} ms of a core`,
    baseline: "JSON.parse",
    candidates: {
      "JSON.parse": Effect.succeed(
        Bench.fibers(
          1,
          Effect.sync(() =>
            values
              .map((value) => JSON.parse(value) as { readonly Addr: string })
              .toSorted((a, b) => (a.Addr < b.Addr ? -1 : 1))
          )
        )
      ),
      read: Effect.map(open, ({ registry }) => limited(Bench.fibers(1, registry.discover(name)))),
      "one change, watched": Effect.gen(function* () {
        const { change, registry } = yield* open
        const { told } = yield* watch(registry)
        return limited(Bench.fibers(1, Effect.andThen(change, told)))
      })
    }
  }),
  Bench.memory({
    name: `the memory of ${instances} instances that are watched`,
    baseline: "at first",
    candidates: {
      "at first": Effect.flatMap(open, ({ registry }) => Effect.as(watch(registry), 0)),
      [`after ${changes} changes`]: Effect.gen(function* () {
        const { change, registry } = yield* open
        const { told } = yield* watch(registry)
        yield* Effect.repeat(Effect.andThen(change, told), { times: changes - 1 })
        return 0
      })
    },
    hold: () => Effect.void,
    targets: { [`after ${changes} changes`]: { memory: 1.15 } }
  })
]

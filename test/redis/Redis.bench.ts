// npm run bench -- redis: the room against bare ioredis, on the real server.
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Redis as Driver } from "ioredis"
import { Command, Key, Redis, Script } from "xdooria/redis"
import { layerLive } from "xdooria/redis/live"
import * as Bench from "../bench/Bench.ts"
import { isMissing, servers } from "../support/Servers.ts"

const fibers = 100
const keys = 1_000

const address = servers.redis
if (isMissing(address)) throw new Error(address.missing)
const { host, port } = address

const driver: Effect.Effect<Driver, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => new Driver({ host, port })),
  (client) => Effect.promise(() => client.quit())
)

let next = 0
const index = () => (next = (next + 1) % keys)

const value = "x".repeat(100)
const names = Array.from({ length: keys }, (_, i) => `bench:${i}`)

/** The load that an effect of the room's makes. */
const load = (
  call: (redis: Redis["Service"], all: ReadonlyArray<Key.Key<"bench">>) => Effect.Effect<unknown, unknown>
) =>
  Effect.gen(function* () {
    const redis = Context.get(yield* Layer.build(layerLive({ addrs: [`${host}:${port}`] })), Redis)
    const all = yield* Effect.forEach(names, (_, i) => Effect.fromResult(Key.make("bench", String(i))))
    return Bench.fibers(fibers, call(redis, all))
  })

const bare = (call: (client: Driver) => Promise<unknown>) =>
  Effect.map(driver, (client) => Bench.promises(fibers, () => call(client)))

const lua = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
const add = Script.make({
  name: "bench.add",
  lua,
  keys: ["counter"],
  args: (amount: number) => [amount],
  reply: Command.integer
})

export default [
  Bench.clients({
    name: `get, ${fibers} at once`,
    baseline: "ioredis",
    candidates: {
      ioredis: bare((client) => client.get(names[index()]!)),
      room: load((redis, all) => Effect.suspend(() => redis.run(Command.get(all[index()]!))))
    },
    targets: { room: { throughput: 0.9 } }
  }),
  Bench.clients({
    name: `set, ${fibers} at once`,
    baseline: "ioredis",
    candidates: {
      ioredis: bare((client) => client.set(names[index()]!, value)),
      room: load((redis, all) => Effect.suspend(() => redis.run(Command.set(all[index()]!, value))))
    },
    targets: { room: { throughput: 0.9 } }
  }),
  Bench.clients({
    name: `script, ${fibers} at once`,
    baseline: "ioredis",
    candidates: {
      ioredis: Effect.map(driver, (client) => {
        client.defineCommand("add", { numberOfKeys: 1, lua })
        const call = client as unknown as { readonly add: (key: string, amount: number) => Promise<unknown> }
        return Bench.promises(fibers, () => call.add(`bench:counter:${index()}`, 1))
      }),
      room: Effect.flatMap(
        Effect.forEach(names, (_, i) => Effect.fromResult(Key.make("bench", "counter", String(i)))),
        (counters) => load((redis) => Effect.suspend(() => redis.run(add([counters[index()]!], 1))))
      )
    },
    targets: { room: { throughput: 0.9 } }
  })
]

// npm run bench -- lock: acquire and release against redlock and @sesamecare-oss/redlock, on one node, as they share it.
import { Redlock } from "@sesamecare-oss/redlock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Redis as Driver } from "ioredis"
import { createRequire } from "node:module"
import { Lock } from "xdooria/lock"
import { layerLive } from "xdooria/lock/live"
import { Key } from "xdooria/redis"
import { layerLive as redisLive } from "xdooria/redis/live"
import * as Bench from "../bench/Bench.ts"
import { isMissing, servers } from "../support/Servers.ts"

const keys = 1_000
const ttl = 10_000

const address = servers.redis
if (isMissing(address)) throw new Error(address.missing)
const { host, port } = address

const driver: Effect.Effect<Driver, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => new Driver({ host, port })),
  (client) => Effect.promise(() => client.quit())
)

let next = 0
const index = () => (next = (next + 1) % keys)

/** The package has no types. */
type Older = new (
  clients: ReadonlyArray<Driver>,
  options: object
) => { readonly lock: (key: string, ttl: number) => Promise<{ readonly unlock: () => Promise<void> }> }
const Redlock4 = createRequire(import.meta.url)("redlock") as Older

const options = { retryCount: 0 }

const older = (fibers: number) =>
  Effect.map(driver, (client) => {
    const locks = new Redlock4([client], options)
    return Bench.promises(fibers, async () => {
      const lock = await locks.lock(`bench:lock:${index()}`, ttl)
      await lock.unlock()
    })
  })

const newer = (fibers: number) =>
  Effect.map(driver, (client) => {
    const locks = new Redlock([client], options)
    return Bench.promises(fibers, async () => {
      const lock = await locks.acquire([`bench:lock:${index()}`], ttl)
      await lock.release()
    })
  })

const room = (fibers: number) =>
  Effect.gen(function* () {
    const layer = Layer.provide(layerLive(), redisLive({ addrs: [`${host}:${port}`] }))
    const lock = Context.get(yield* Layer.build(layer), Lock)
    const all = yield* Effect.forEach(Array.from({ length: keys }), (_, i) =>
      Effect.fromResult(Key.make("bench:lock", String(i)))
    )
    const once = Effect.suspend(() => Effect.scoped(lock.acquire(all[index()]!, { wait: 0 })))
    return Bench.fibers(fibers, once)
  })

/** The whole of it: with the work under the lock, which is interrupted when the lock is lost. */
const roomWithLock = (fibers: number) =>
  Effect.gen(function* () {
    const layer = Layer.provide(layerLive(), redisLive({ addrs: [`${host}:${port}`] }))
    const context = yield* Layer.build(layer)
    const all = yield* Effect.forEach(Array.from({ length: keys }), (_, i) =>
      Effect.fromResult(Key.make("bench:lock", String(i)))
    )
    const once = Effect.suspend(() => Lock.withLock(all[index()]!, { wait: 0 })(Effect.void))
    return Bench.fibers(fibers, Effect.provide(once, context))
  })

const comparison = (fibers: number) =>
  Bench.clients({
    name: `acquire and release, ${fibers} at once`,
    baseline: "redlock 4",
    candidates: {
      "redlock 4": older(fibers),
      "@sesamecare-oss/redlock": newer(fibers),
      room: room(fibers),
      "room, withLock": roomWithLock(fibers)
    },
    targets: { room: { throughput: 1.1 }, "room, withLock": { throughput: 1.1 } }
  })

export default [comparison(1), comparison(50)]

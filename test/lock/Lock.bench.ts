// npm run bench -- lock: acquire and release against redlock and @sesamecare-oss/redlock, on one node, as they share it.
import { Redlock } from "@sesamecare-oss/redlock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
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

const ttl = 10_000

/** How many at once on how many keys: many more keys than fibers, so that nobody waits, or one that all wait for. */
interface Contest {
  readonly fibers: number
  readonly keys: number
}

const address = servers.redis
if (isMissing(address)) throw new Error(address.missing)
const { host, port } = address

const driver: Effect.Effect<Driver, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => new Driver({ host, port })),
  (client) => Effect.promise(() => client.quit())
)

let next = 0
const indexOf = ({ keys }: Contest) => (next = (next + 1) % keys)

/** The package has no types. */
type Older = new (
  clients: ReadonlyArray<Driver>,
  options: object
) => { readonly lock: (key: string, ttl: number) => Promise<{ readonly unlock: () => Promise<void> }> }
const Redlock4 = createRequire(import.meta.url)("redlock") as Older

const isFree = ({ fibers, keys }: Contest) => keys > fibers

/** One that finds a lock held looks again as often as it takes, with the pause that the package has by itself. */
const optionsOf = (contest: Contest) => ({ retryCount: isFree(contest) ? 0 : 1_000 })

const older = (contest: Contest) =>
  Effect.map(driver, (client) => {
    const locks = new Redlock4([client], optionsOf(contest))
    return Bench.promises(contest.fibers, async () => {
      const lock = await locks.lock(`bench:lock:${indexOf(contest)}`, ttl)
      await lock.unlock()
    })
  })

const newer = (contest: Contest) =>
  Effect.map(driver, (client) => {
    const locks = new Redlock([client], optionsOf(contest))
    return Bench.promises(contest.fibers, async () => {
      const lock = await locks.acquire([`bench:lock:${indexOf(contest)}`], ttl)
      await lock.release()
    })
  })

/** The room's locks, and the key of the next call. */
const locks = (contest: Contest) =>
  Effect.gen(function* () {
    const layer = Layer.provide(layerLive(), redisLive({ addrs: [`${host}:${port}`] }))
    const context = yield* Layer.build(layer)
    const keys = yield* Effect.forEach(Array.from({ length: contest.keys }), (_, i) =>
      Effect.fromResult(Key.make("bench:lock", String(i)))
    )
    return {
      context,
      nextKey: () => keys[indexOf(contest)]!,
      asked: { wait: isFree(contest) ? Duration.zero : Duration.infinity }
    }
  })

const room = (contest: Contest) =>
  Effect.map(locks(contest), ({ asked, context, nextKey }) => {
    const lock = Context.get(context, Lock)
    const once = Effect.suspend(() => Effect.scoped(lock.acquire(nextKey(), asked)))
    return Bench.fibers(contest.fibers, once)
  })

/** The whole of it: with the work under the lock, which is interrupted when the lock is lost. */
const roomWithLock = (contest: Contest) =>
  Effect.map(locks(contest), ({ asked, context, nextKey }) => {
    const once = Effect.suspend(() => Lock.withLock(nextKey(), asked)(Effect.void))
    return Bench.fibers(contest.fibers, Effect.provide(once, context))
  })

const comparison = (name: string, contest: Contest) =>
  Bench.clients({
    name,
    baseline: "redlock 4",
    candidates: {
      "redlock 4": older(contest),
      "@sesamecare-oss/redlock": newer(contest),
      room: room(contest),
      "room, withLock": roomWithLock(contest)
    },
    // Where all wait for one key, the packages serve whoever looks first and the room whose turn it is: only to be seen.
    targets: isFree(contest) ? { room: { throughput: 1.1 }, "room, withLock": { throughput: 1.1 } } : {}
  })

export default [
  comparison("acquire and release, 1 at once", { fibers: 1, keys: 1_000 }),
  comparison("acquire and release, 50 at once", { fibers: 50, keys: 1_000 }),
  comparison("acquire and release, 8 at once on one key", { fibers: 8, keys: 1 })
]

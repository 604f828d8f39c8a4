// The three kinds of Redis that one API stands for, each as options of a client.
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { Cluster, Redis as Driver } from "ioredis"
import { randomUUID } from "node:crypto"
import type { Redis } from "xdooria/redis"
import { layerLive } from "xdooria/redis/live"
import * as RealServer from "./RealServer.ts"

/** Options of a client. */
export type Options = NonNullable<Parameters<typeof layerLive>[0]>

const list = (nodes: ReadonlyArray<{ readonly host: string; readonly port: number }>) =>
  nodes.map(({ host, port }) => `${host}:${port}`) as [string, ...Array<string>]

/** A client's options for a single server. */
export const single = ({ host, port }: { readonly host: string; readonly port: number }): Options => ({
  addrs: [`${host}:${port}`]
})

/** A client's options for a cluster. */
export const cluster = (nodes: Parameters<typeof list>[0]): Options => ({ addrs: list(nodes) })

/** A client's options for sentinels. */
export const sentinel = (name: string, sentinels: Parameters<typeof list>[0]): Options => ({
  addrs: list(sentinels),
  sentinelMaster: name
})

/** The same tests on a single server, a cluster and sentinels. */
export const suites = (
  name: string,
  tests: (options: Options, kind: "single" | "cluster" | "sentinel") => void
): void => {
  RealServer.suite("redis", `${name}, single`, (address) => tests(single(address), "single"))
  RealServer.suite("redisCluster", `${name}, cluster`, ({ nodes }) => tests(cluster(nodes), "cluster"))
  RealServer.suite("redisSentinel", `${name}, sentinel`, (address) =>
    tests(sentinel(address.name, address.sentinels), "sentinel")
  )
}

/** A prefix that no other test has. */
export const freshPrefix = (): string => `t${randomUUID().slice(0, 8)}:`

/** Deletes what begins with a prefix, on every primary, without the room. */
const removeAll = async (native: Driver | Cluster, prefix: string): Promise<void> => {
  const nodes = native instanceof Cluster ? native.nodes("master") : [native]
  for (const node of nodes) {
    let cursor = "0"
    do {
      const [next, keys] = await node.scan(cursor, "MATCH", `${prefix}*`, "COUNT", 1000)
      for (const key of keys) await node.unlink(key)
      cursor = next
    } while (cursor !== "0")
  }
}

const ready = (native: Driver | Cluster): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (native.status === "ready") resume(Effect.void)
    else native.once("ready", () => resume(Effect.void))
  })

/** A driver's client of its own, to look at what the room did. */
export const driver = (options: Options) =>
  Effect.acquireRelease(
    Effect.sync((): Driver | Cluster => {
      const [first, ...others] = options.addrs!.map((address) => {
        const [host = "", port] = address.split(":")
        return { host, port: Number(port) }
      })
      if (options.sentinelMaster !== undefined) {
        return new Driver({ sentinels: [first!, ...others], name: options.sentinelMaster })
      }
      return others.length === 0 ? new Driver(first!) : new Cluster([first!, ...others])
    }),
    (native) => Effect.sync(() => native.disconnect())
  ).pipe(Effect.tap(ready))

/** A client with a prefix of its own, whose keys are gone after the test. */
export const client = (options: Options, extra: Options = {}) =>
  Effect.gen(function* () {
    const keyPrefix = extra.keyPrefix ?? freshPrefix()
    yield* Effect.acquireRelease(Effect.void, () =>
      Effect.scoped(Effect.flatMap(driver(options), (native) => Effect.promise(() => removeAll(native, keyPrefix))))
    )
    return yield* Layer.build(layerLive({ ...options, ...extra, keyPrefix }))
  })

/** Runs a test with a client of its own. */
export const withClient =
  (options: Options, extra: Options = {}) =>
  <A, E, R>(body: Effect.Effect<A, E, R | Redis>) =>
    Effect.scoped(Effect.flatMap(client(options, extra), (context) => Effect.provide(body, context)))

/** Waits until something holds, looking again and again; for what another process does. */
export const eventually = <E, R>(what: string, holds: Effect.Effect<boolean, E, R>) =>
  holds.pipe(
    Effect.flatMap((does) => (does ? Effect.void : Effect.fail(`not yet: ${what}` as const))),
    Effect.retry(Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(1_000)]))
  )

// What room redis promises while servers or links to them fail: npm run faults -- F01 --seed 1
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Ref from "effect/Ref"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { randomUUID } from "node:crypto"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Channel, Command, Key, Redis, type RedisFailure, type RedisOptions, Script } from "xdooria/redis"
import { layerLive } from "xdooria/redis/live"
import * as Fault from "../faults/Fault.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as History from "../support/History.ts"
import * as Recorder from "../support/Recorder.ts"
import * as RedisServer from "../support/RedisServer.ts"
import { isMissing, servers } from "../support/Servers.ts"
import { client as cleanClient, cluster, freshPrefix, sentinel, single } from "./Backends.ts"

type Client = Redis["Service"]

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const clientOf = (options: Partial<RedisOptions>): Effect.Effect<Client, unknown, Scope.Scope> =>
  Effect.map(Layer.build(layerLive(options)), (context) => Context.get(context, Redis))

const realServer = Effect.suspend(() => {
  const server = servers.redis
  return isMissing(server) ? Effect.die(new Error(server.missing)) : Effect.succeed(server)
})

const logKey = (name: string) => Result.getOrThrow(Key.make("faults", name))

/** What a feature does under an id, and the ids that the server has, one entry for each time that it was done. */
export interface Feature {
  readonly name: string
  readonly operate: (
    client: Client,
    id: string
  ) => Effect.Effect<unknown, { readonly isSafeToRetry: boolean; readonly reason: { readonly _tag: string } }>
  readonly applied: (client: Client) => Effect.Effect<ReadonlyArray<string>, RedisFailure>
}

const append = Script.make({
  name: "faults.append",
  lua: "return redis.call('RPUSH', KEYS[1], ARGV[1])",
  keys: ["log"],
  args: (id: string) => [id],
  reply: Command.integer
})

/** A feature that adds the id to a list in some way: twice is twice. */
const appending = (
  name: string,
  operate: (client: Client, key: Key.Key<"faults">, id: string) => Effect.Effect<unknown, RedisFailure>
): Feature => ({
  name,
  operate: (client, id) => operate(client, logKey(name), id),
  applied: (client) => client.run(Command.lrange(logKey(name), 0, -1))
})

/** Each feature is one entry. */
export const features: ReadonlyArray<Feature> = [
  appending("run", (client, key, id) => client.run(Command.rpush(key, id))),
  appending("script", (client, key, id) => client.run(append([key], id))),
  appending("transaction", (client, key, id) =>
    client.transaction([Command.incrBy(Key.beside(key, "xd:count"), 1), Command.rpush(key, id)])
  ),
  appending("batch", (client, key, id) =>
    Effect.flatMap(client.batch([Command.rpush(key, id), Command.incrBy(Key.beside(key, "xd:count"), 1)]), ([first]) =>
      Effect.fromResult(first)
    )
  )
]

const later = Effect.sleep("20 millis")

/** How long calls were held, at worst. */
const makeStopwatch = Effect.map(Ref.make(0), (longest) => ({
  longest: Ref.get(longest),
  around: <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.flatMap(Clock.currentTimeMillis, (begun) =>
      Effect.onExit(effect, () =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => Ref.update(longest, (max) => Math.max(max, now - begun)))
      )
    )
}))

/** How late a timer fires here that has nothing to wait for: the machine's own share of what calls are held. */
const makeNoise = Effect.gen(function* () {
  const worst = yield* Ref.make(0)
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.flatMap(Effect.timed(Effect.sleep("100 millis")), ([spent]) =>
        Ref.update(worst, (max) => Math.max(max, Math.round(Duration.toMillis(spent) - 100)))
      )
    )
  )
  return { worst: Ref.get(worst) }
})

/** One operation to its end: what was surely not done is tried again under its id, what is unknown stays so. */
const carefully = (
  feature: Feature,
  client: Client,
  history: History.History,
  around: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const id = randomUUID()
    const attempt: Effect.Effect<void> = Effect.suspend(() => Effect.result(around(feature.operate(client, id)))).pipe(
      Effect.flatMap((result) => {
        if (Result.isSuccess(result)) return history.acked(id)
        if (!result.failure.isSafeToRetry) return history.unknown(id)
        return history.failed(id).pipe(Effect.andThen(later), Effect.andThen(attempt))
      })
    )
    return attempt
  })

/** What the server has of all features, asked by a client with nothing between. */
const appliedOf = (client: Client) =>
  Effect.map(
    Effect.forEach(features, (feature) => feature.applied(client)),
    (all) => all.flat()
  )

/** A client through a proxy, one without, which removes what both have left, and the stopwatch: all of a scenario on the real single server. */
const throughProxy = Effect.fnUntraced(function* (seed: number) {
  const address = yield* realServer
  const keyPrefix = freshPrefix()
  const proxy = yield* FaultProxy.make({ ...address, seed })
  const direct = Context.get(yield* cleanClient(single(address), { keyPrefix }), Redis)
  const client = yield* clientOf({ addrs: [`127.0.0.1:${proxy.port}`], keyPrefix })
  return {
    proxy,
    direct,
    client,
    history: yield* History.make,
    stopwatch: yield* makeStopwatch,
    noise: yield* makeNoise
  }
})

const heldTooLong = (extra: Readonly<Record<string, number>>): ReadonlyArray<string> =>
  extra["longestMs"]! - extra["noiseMs"]! <= 1_100
    ? []
    : [`a call with a timeout of 1 s was held for ${extra["longestMs"]} ms (noise ${extra["noiseMs"]} ms)`]

const lostReplies = Fault.scenario({
  id: "F01",
  room: "redis",
  title: "replies are lost after the operation was done, then the connection is cut",
  servers: ["redis"],
  scaled: { operations: 200, fibers: 50, rounds: 4 },
  full: { operations: 1_000, fibers: 50, rounds: 10 },
  run: ({ fibers, operations, rounds }, seed) =>
    Effect.gen(function* () {
      const { client, direct, history, noise, proxy, stopwatch } = yield* throughProxy(seed)
      const injected = yield* Ref.make(0)
      const inject = Effect.gen(function* () {
        yield* Effect.sleep(20 + 80 * (yield* Random.next))
        yield* proxy.dropReplies
        yield* Effect.sleep("200 millis")
        yield* proxy.heal
        yield* Ref.update(injected, (n) => n + 1)
      })
      const faults = yield* Effect.forkScoped(Effect.repeat(inject, { times: rounds - 1 }))
      const all = features.flatMap((feature) =>
        Array.from({ length: operations }, () => carefully(feature, client, history, stopwatch.around))
      )
      // Slowly enough that each round of faults meets some.
      const paced = all.map((one, index) => Effect.delay(one, Math.floor((index / all.length) * rounds * 270)))
      yield* Effect.all(paced, { concurrency: fibers * features.length, discard: true })
      yield* Fiber.join(faults)
      const verdict = yield* history.verdict(yield* appliedOf(direct))
      return {
        ...verdict,
        extra: { injected: yield* Ref.get(injected), longestMs: yield* stopwatch.longest, noiseMs: yield* noise.worst }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ acked, extra, unknown }) => [
    ...(unknown > 0 && acked > 0 ? [] : [`${unknown} unknown, ${acked} acknowledged: nothing was met`]),
    ...heldTooLong(extra!)
  ]
})

/** Takes out what nobody holds, and tells how much is left, in bytes. */
const memory = Effect.sync(() => {
  setFlagsFromString("--expose-gc")
  const collect = runInNewContext("gc") as () => void
  collect()
  collect()
  const { arrayBuffers, external, heapUsed } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
})

const blackhole = Fault.scenario({
  id: "F02",
  room: "redis",
  title: "nothing passes the link for a while, and nobody is told",
  servers: ["redis"],
  scaled: { holeMillis: 2_200, perSecond: 500 },
  full: { holeMillis: 20_000, perSecond: 500 },
  run: ({ holeMillis, perSecond }, seed) =>
    Effect.gen(function* () {
      const { client, direct, history, noise, proxy, stopwatch } = yield* throughProxy(seed)
      const answers = yield* Recorder.make<number>()
      const tags = new Map<string, number>()
      const one = Effect.gen(function* () {
        const id = randomUUID()
        const feature = features[yield* Random.nextIntBetween(0, features.length - 1)]!
        const result = yield* Effect.result(stopwatch.around(feature.operate(client, id)))
        if (Result.isSuccess(result)) {
          yield* history.acked(id)
          return yield* Effect.flatMap(Clock.currentTimeMillis, answers.record)
        }
        const { isSafeToRetry, reason } = result.failure
        tags.set(reason._tag, (tags.get(reason._tag) ?? 0) + 1)
        yield* isSafeToRetry ? history.failed(id) : history.unknown(id)
      })
      const calls = yield* FiberSet.make()
      const clock = yield* Effect.forkScoped(
        Effect.schedule(
          Effect.forEach(Array.from({ length: perSecond / 50 }), () => FiberSet.run(calls, one)),
          Schedule.spaced("20 millis")
        )
      )
      yield* Effect.sleep("300 millis")
      const before = yield* memory
      yield* proxy.blackhole
      yield* Effect.sleep(holeMillis)
      const held = (yield* memory) - before
      yield* history.healed
      yield* proxy.heal
      const healed = yield* Clock.currentTimeMillis
      const next = yield* Effect.timeoutOption(
        answers.first((at) => at >= healed),
        "10 seconds"
      )
      yield* Fiber.interrupt(clock)
      yield* FiberSet.awaitEmpty(calls)
      const verdict = yield* history.verdict(yield* appliedOf(direct))
      return {
        ...verdict,
        recoverMs: next._tag === "Some" ? next.value - healed : Infinity,
        extra: {
          longestMs: yield* stopwatch.longest,
          noiseMs: yield* noise.worst,
          heldMb: Math.round((held / 1024 / 1024) * 10) / 10,
          unsent: tags.get("Unavailable") ?? 0
        }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ extra, recoverMs, unknown }) => [
    ...heldTooLong(extra!),
    ...(unknown > 0 ? [] : ["no caller met the hole"]),
    ...(extra!["heldMb"]! < 20 ? [] : [`${extra!["heldMb"]} MB are held in the hole`]),
    ...(recoverMs <= 2_000 ? [] : [`first success ${recoverMs} ms after the heal, not within 2000`])
  ]
})

const cuts = Fault.scenario({
  id: "F12",
  room: "redis",
  title: "every connection lives a second",
  servers: ["redis"],
  scaled: { millis: 2_000, fibers: 8 },
  full: { millis: 120_000, fibers: 8 },
  run: ({ fibers, millis }, seed) =>
    Effect.gen(function* () {
      const { client, direct, history, noise, proxy, stopwatch } = yield* throughProxy(seed)
      /** So many operations of each feature, with a pause like that of a caller that has something to do. */
      const load = Effect.fnUntraced(function* (time: number) {
        const end = (yield* Clock.currentTimeMillis) + time
        const done = yield* Ref.make(0)
        const loop = (feature: Feature) =>
          carefully(feature, client, history, stopwatch.around).pipe(
            Effect.andThen(Ref.update(done, (n) => n + 1)),
            Effect.andThen(Effect.sleep("5 millis")),
            Effect.repeat({ while: () => Effect.map(Clock.currentTimeMillis, (now) => now < end) })
          )
        const all = features.flatMap((feature) => Array.from({ length: fibers }, () => loop(feature)))
        yield* Effect.all(all, { concurrency: "unbounded", discard: true })
        return (yield* Ref.get(done)) / time
      })
      // A link that takes its time, so that a cut meets what is on its way.
      yield* proxy.delay(2)
      const clean = yield* load(Math.min(1_000, millis / 2))
      const inject = Effect.gen(function* () {
        yield* Effect.sleep(300 + 600 * (yield* Random.next))
        yield* proxy.cut
      })
      const before = yield* proxy.accepted
      const faults = yield* Effect.forkScoped(Effect.forever(inject))
      const faulty = yield* load(millis)
      yield* Fiber.interrupt(faults)
      const dials = (yield* proxy.accepted) - before
      const verdict = yield* history.verdict(yield* appliedOf(direct))
      return {
        ...verdict,
        extra: {
          throughput: Math.round((faulty / clean) * 100),
          dialsPerSecond: Math.round((dials / millis) * 10_000) / 10,
          longestMs: yield* stopwatch.longest,
          noiseMs: yield* noise.worst
        }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ extra, unknown }) => [
    ...heldTooLong(extra!),
    ...(unknown > 0 ? [] : ["no operation met a cut"]),
    ...(extra!["dialsPerSecond"]! <= 10 ? [] : [`${extra!["dialsPerSecond"]} dials a second`]),
    ...(extra!["throughput"]! >= 30 ? [] : [`${extra!["throughput"]} % of the clean throughput, not 30`])
  ]
})

const percentile = (values: ReadonlyArray<number>, share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0

/** Waits for a number of copies, on the connection that the writes were sent on. */
const wait = (millis: number) => Command.make("WAIT", [1, millis], Command.integer, { blockMillis: millis })

const primaryKilled = Fault.scenario({
  id: "F03",
  room: "redis",
  title: "a primary of a cluster is killed under load",
  servers: ["redisCluster"],
  scaled: { perSecond: 200, beforeMillis: 500, afterMillis: 500, nodeTimeout: 500 },
  full: { perSecond: 500, beforeMillis: 5_000, afterMillis: 5_000, nodeTimeout: 2_000 },
  run: ({ afterMillis, beforeMillis, nodeTimeout, perSecond }, seed) =>
    Effect.gen(function* () {
      // With full coverage required all shards refuse until the one has failed over.
      const own = yield* RedisServer.cluster({
        args: ["--cluster-node-timeout", String(nodeTimeout), "--cluster-require-full-coverage", "no"]
      })
      const client = yield* clientOf({ ...cluster(own.nodes), poolSize: 60 })
      // A log on each primary: names are tried until each has one.
      const shards = new Map<number, Key.Key<"faults">>()
      for (let index = 0; shards.size < 3; index++) {
        const key = logKey(`shard${index}`)
        const { port } = yield* own.primaryOf(key.name)
        if (!shards.has(port)) shards.set(port, key)
      }
      const keys = [...shards.values()]
      const victim = yield* own.primaryOf(keys[0]!.name)
      const noise = yield* makeNoise
      const waited = yield* History.make
      const plain = yield* History.make
      const victims = yield* Ref.make<ReadonlyArray<number>>([])
      const others = yield* Ref.make<ReadonlyArray<readonly [at: number, spent: number]>>([])
      const safely = (key: Key.Key<"faults">, id: string) =>
        Effect.scoped(
          Effect.gen(function* () {
            const connection = yield* client.reserve(key)
            yield* connection.run(Command.rpush(key, id))
            return (yield* Effect.orElseSucceed(connection.run(wait(500)), () => 0)) > 0
          })
        )
      const one = Effect.gen(function* () {
        const id = randomUUID()
        const key = keys[yield* Random.nextIntBetween(0, 2)]!
        const isSafe = (yield* Random.next) < 0.5
        const history = isSafe ? waited : plain
        const begun = yield* Clock.currentTimeMillis
        const write = isSafe ? safely(key, id) : Effect.as(client.run(Command.rpush(key, id)), true)
        const result = yield* Effect.result(write)
        const now = yield* Clock.currentTimeMillis
        if (Result.isFailure(result)) {
          return yield* result.failure.isSafeToRetry ? history.failed(id) : history.unknown(id)
        }
        // Without a copy it may be lost with the primary, and was not promised to last.
        if (!result.success) return yield* history.unknown(id)
        yield* history.acked(id)
        if (key === keys[0]) yield* Ref.update(victims, (all) => [...all, now])
        else if (!isSafe) yield* Ref.update(others, (all) => [...all, [now, now - begun] as const])
      })
      const calls = yield* FiberSet.make()
      const clock = yield* Effect.forkScoped(
        Effect.schedule(
          Effect.forEach(Array.from({ length: perSecond / 50 }), () => FiberSet.run(calls, one)),
          Schedule.spaced("20 millis")
        )
      )
      yield* Effect.sleep(beforeMillis)
      yield* victim.kill()
      const killed = yield* Clock.currentTimeMillis
      const isBack = Effect.map(Ref.get(victims), (all) => all.some((at) => at > killed + 100))
      yield* Effect.repeat(isBack, { until: (back) => back, schedule: Schedule.spaced("20 millis") }).pipe(
        Effect.timeoutOption("20 seconds")
      )
      yield* Effect.sleep(afterMillis)
      yield* Fiber.interrupt(clock)
      yield* FiberSet.awaitEmpty(calls)
      const lists = yield* Effect.forEach(keys, (key) => client.run(Command.lrange(key, 0, -1)))
      const found = new Set(lists.flat())
      const ofPlain = yield* plain.verdict(lists.flat())
      const verdict = yield* waited.verdict(lists.flat())
      const times = [...(yield* Ref.get(victims))].toSorted((a, b) => a - b)
      const gap = times.reduce((max, at, i) => Math.max(max, at - (times[i - 1] ?? at)), 0)
      const latencies = yield* Ref.get(others)
      const p99 = (isBefore: boolean) =>
        percentile(
          latencies.filter(([at]) => at < killed === isBefore).map(([, spent]) => spent),
          0.99
        )
      return {
        ...verdict,
        duplicated: verdict.duplicated + ofPlain.duplicated - Math.min(verdict.duplicated, ofPlain.duplicated),
        phantom: verdict.phantom + ofPlain.phantom,
        maxOutageMs: gap,
        extra: {
          plainAcked: ofPlain.acked,
          plainLost: ofPlain.lost,
          found: found.size,
          noiseMs: yield* noise.worst,
          p99BeforeMs: p99(true),
          p99AfterMs: p99(false)
        }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ acked, extra, maxOutageMs }, { perSecond }) => [
    ...(acked > 0 && maxOutageMs > 300 ? [] : ["the load met no failover"]),
    ...(maxOutageMs <= 6_000 ? [] : [`no write to the shard for ${maxOutageMs} ms, not within 6000`]),
    // On noisy cores a few milliseconds are no measure, and what timers are late by is not ours.
    ...(extra!["p99AfterMs"]! - extra!["noiseMs"]! <= Math.max(50, 2 * extra!["p99BeforeMs"]!)
      ? []
      : [`the other shards' p99 went from ${extra!["p99BeforeMs"]} to ${extra!["p99AfterMs"]} ms`]),
    ...(extra!["plainLost"]! <= Math.ceil(0.05 * perSecond)
      ? []
      : [`${extra!["plainLost"]} writes without WAIT are lost, more than those of 50 ms`])
  ]
})

const sentinelFailover = Fault.scenario({
  id: "F05",
  room: "redis",
  title: "the primary that sentinels watch is killed",
  servers: ["redisSentinel"],
  scaled: { fibers: 4, beforeMillis: 300 },
  full: { fibers: 16, beforeMillis: 3_000 },
  run: ({ beforeMillis, fibers }, seed) =>
    Effect.gen(function* () {
      const own = yield* RedisServer.sentinel()
      const options = sentinel(own.name, own.sentinels)
      const client = yield* clientOf(options)
      const publisher = yield* clientOf(options)
      const channel = yield* Effect.fromResult(Channel.make("faults", Schema.Finite)("news"))
      const heard = yield* Recorder.make<{ readonly at: number; readonly what: string }>()
      yield* Effect.forkScoped(
        Stream.runForEach(client.subscribe(channel), ({ _tag }) =>
          Effect.flatMap(Clock.currentTimeMillis, (at) => heard.record({ at, what: _tag }))
        )
      )
      yield* heard.first(({ what }) => what === "Gap")
      const history = yield* History.make
      const stopwatch = yield* makeStopwatch
      const noise = yield* makeNoise
      const acks = yield* Recorder.make<number>()
      const stopped = yield* Ref.make(false)
      const loop = (feature: Feature) =>
        Effect.andThen(
          carefully(feature, client, history, stopwatch.around),
          Effect.flatMap(Clock.currentTimeMillis, acks.record)
        ).pipe(Effect.andThen(Effect.sleep("5 millis")), Effect.repeat({ until: () => Ref.get(stopped) }))
      const writers = yield* Effect.forEach(
        features.flatMap((feature) => Array.from({ length: fibers }, () => feature)),
        (feature) => Effect.forkScoped(loop(feature))
      )
      const publish = Effect.flatMap(Effect.fromResult(Command.publish(channel, 1)), publisher.run)
      const news = yield* Effect.forkScoped(Effect.schedule(Effect.ignore(publish), Schedule.spaced("20 millis")))
      yield* Effect.sleep(beforeMillis)
      const primary = yield* own.primary
      yield* primary.kill()
      const killed = yield* Clock.currentTimeMillis
      const [back, gap, message] = yield* Effect.all(
        [
          acks.first((at) => at > killed + 200),
          heard.first(({ at, what }) => what === "Gap" && at > killed),
          heard.first(({ at, what }) => what === "Message" && at > killed + 200)
        ],
        { concurrency: "unbounded" }
      ).pipe(Effect.timeout("20 seconds"))
      yield* Ref.set(stopped, true)
      yield* Fiber.awaitAll(writers)
      yield* Fiber.interrupt(news)
      const lists = yield* appliedOf(client)
      const verdict = yield* history.verdict(lists)
      return {
        ...verdict,
        // Without WAIT what was acknowledged just before may be gone with the primary.
        lost: 0,
        recoverMs: back - killed,
        extra: {
          ackedAndGone: verdict.lost,
          gapMs: gap.at - killed,
          messageMs: message.at - killed,
          longestMs: yield* stopwatch.longest,
          noiseMs: yield* noise.worst
        }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ extra, recoverMs }) => [
    ...heldTooLong(extra!),
    ...(recoverMs <= 6_000 ? [] : [`first write after ${recoverMs} ms, not within 6000`]),
    ...(extra!["gapMs"]! <= recoverMs + 3_000 ? [] : [`the subscriber was back ${extra!["gapMs"]} ms after the kill`])
  ]
})

const storm = Fault.scenario({
  id: "F10",
  room: "redis",
  title: "the server is down for a while, with many clients waiting for it",
  servers: ["redis"],
  scaled: { clients: 20, downMillis: 2_000 },
  full: { clients: 200, downMillis: 30_000 },
  run: ({ clients, downMillis }, seed) =>
    Effect.gen(function* () {
      const node = yield* RedisServer.start()
      const proxy = yield* FaultProxy.make({ host: node.host, port: node.port, seed })
      const all = yield* Effect.forEach(
        Array.from({ length: clients }),
        () => clientOf({ addrs: [`127.0.0.1:${proxy.port}`], startTimeout: Duration.seconds(30) }),
        { concurrency: 20 }
      )
      yield* node.kill()
      yield* proxy.cut
      const begun = yield* proxy.accepted
      yield* Effect.sleep("1 second")
      const firstSecond = (yield* proxy.accepted) - begun
      yield* Effect.sleep(downMillis - 1_000)
      const rest = (yield* proxy.accepted) - begun - firstSecond
      yield* node.restart
      const up = yield* Clock.currentTimeMillis
      const key = logKey("storm")
      const times = yield* Effect.forEach(
        all,
        (client) =>
          client.run(Command.get(key)).pipe(
            Effect.retry({ schedule: Schedule.spaced("10 millis") }),
            Effect.andThen(Clock.currentTimeMillis),
            Effect.map((at) => at - up)
          ),
        { concurrency: "unbounded" }
      )
      return {
        acked: clients,
        lost: 0,
        duplicated: 0,
        unknown: 0,
        maxOutageMs: Math.max(...times) + downMillis,
        recoverMs: percentile(times, 0.99),
        extra: {
          dialsInFirstSecond: Math.round((firstSecond / clients) * 10) / 10,
          dialsPerSecondLater: Math.round((rest / clients / (downMillis / 1_000 - 1)) * 10) / 10
        }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ extra, recoverMs }) => [
    ...(extra!["dialsInFirstSecond"]! <= 10
      ? []
      : [`${extra!["dialsInFirstSecond"]} dials of each in the first second`]),
    ...(extra!["dialsPerSecondLater"]! <= 3
      ? []
      : [`${extra!["dialsPerSecondLater"]} dials of each a second later on`]),
    ...(recoverMs <= 3_000 ? [] : [`99 % were back after ${recoverMs} ms, not within 3000`])
  ]
})

export default [lostReplies, blackhole, primaryKilled, sentinelFailover, storm, cuts]

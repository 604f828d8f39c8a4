// What room redis promises while its servers fail: npm run faults -- F03 --seed 1
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Random from "effect/Random"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { randomUUID } from "node:crypto"
import { readFileSync } from "node:fs"
import { Channel, Command, type Key } from "xdooria/redis"
import * as Fault from "../faults/Fault.ts"
import * as History from "../support/History.ts"
import * as Recorder from "../support/Recorder.ts"
import * as RedisServer from "../support/RedisServer.ts"
import { cluster, eventually, sentinel, single } from "../support/RedisBackends.ts"
import {
  addScore,
  appliedOf,
  clientOf,
  type Feature,
  heldTooLong,
  type Kind,
  kinds,
  linksTo,
  logKey,
  login,
  makeLoad,
  makeNoise,
  onEachKind,
  plain,
  quiet,
  roomsOn
} from "./FaultKit.ts"

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
      const rooms = yield* roomsOn(client)
      const load = yield* makeLoad(rooms)
      // Without locks: those that a failover loses are no promise.
      const features = [...plain, addScore, login()]
      const acks = yield* Recorder.make<number>()
      const stopped = yield* Ref.make(false)
      const loop = (feature: Feature) =>
        Effect.andThen(load.carefully(feature), Effect.flatMap(Clock.currentTimeMillis, acks.record)).pipe(
          Effect.andThen(Effect.sleep("5 millis")),
          Effect.repeat({ until: () => Ref.get(stopped) })
        )
      const writers = yield* Effect.forEach(
        features.flatMap((feature) => Array.from({ length: fibers }, () => feature)),
        (feature) => Effect.forkScoped(loop(feature))
      )
      const publish = Effect.flatMap(Effect.fromResult(Command.publish(channel, 1)), publisher.run)
      const news = yield* Effect.forkScoped(Effect.schedule(Effect.ignore(publish), Schedule.spaced("20 millis")))
      yield* Effect.sleep(beforeMillis)
      const primary = yield* own.primary
      const named = yield* Effect.forkScoped(
        Effect.repeat(
          Effect.orElseSucceed(own.primary, () => primary),
          { until: (now) => now !== primary, schedule: Schedule.spaced("50 millis") }
        ).pipe(Effect.andThen(Clock.currentTimeMillis))
      )
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
      const verdict = yield* load.history.verdict(yield* appliedOf(features, rooms))
      return {
        ...verdict,
        // Without WAIT what was acknowledged just before may be gone with the primary.
        lost: 0,
        recoverMs: back - killed,
        extra: {
          ackedAndGone: verdict.lost,
          gapMs: gap.at - killed,
          messageMs: message.at - killed,
          namedMs: (yield* Fiber.join(named)) - killed,
          ...(yield* load.held)
        }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ extra, recoverMs }) => [
    ...heldTooLong(extra),
    ...(recoverMs <= 6_000 ? [] : [`first write after ${recoverMs} ms, not within 6000`]),
    // How long the sentinels take to name another primary is theirs.
    ...(extra.gapMs - extra.namedMs <= 3_000
      ? []
      : [`the subscriber was back ${extra.gapMs} ms after the kill, a primary was named after ${extra.namedMs} ms`])
  ]
})

/** Connections that were refused here for want of a place in the queue of a listener. */
const listenOverflows = Effect.sync(() => {
  const [names = [], values = []] = readFileSync("/proc/net/netstat", "utf8")
    .split("\n")
    .filter((line) => line.startsWith("TcpExt:"))
    .map((line) => line.split(" "))
  return Number(values[names.indexOf("ListenOverflows")])
})

const together = { concurrency: "unbounded", discard: true } as const

const isServing = (node: RedisServer.Node) =>
  node.command("CLUSTER", "INFO").pipe(
    Effect.map((info) => info.includes("cluster_state:ok")),
    Effect.orElseSucceed(() => false)
  )

/** Servers of one kind that stop and start together, behind proxies that count who comes. */
const ownServers = Effect.fnUntraced(function* (kind: Kind, seed: number) {
  if (kind === "single") {
    const node = yield* RedisServer.start()
    return { all: [node], serving: Effect.void, links: yield* linksTo([node], seed, (to) => single(to(node))) }
  }
  if (kind === "cluster") {
    const { nodes } = yield* RedisServer.cluster()
    const all = Effect.map(Effect.forEach(nodes, isServing, { concurrency: "unbounded" }), (each) =>
      each.every(Boolean)
    )
    const links = yield* linksTo(nodes, seed, (to) => cluster(nodes.map(to)))
    return { all: nodes, serving: eventually("the cluster serves", all), links }
  }
  const { name, nodes, sentinels } = yield* RedisServer.sentinel()
  const links = yield* linksTo([...nodes, ...sentinels], seed, (to) => sentinel(name, sentinels.map(to)))
  return { all: [...nodes, ...sentinels], serving: Effect.void, links }
})

const storm = (kind: Kind) =>
  Fault.scenario({
    id: `F10/${kind}`,
    room: "redis",
    title: "the servers are down for a while, with many clients waiting for them",
    servers: [kinds[kind]],
    scaled: { clients: 20, downMillis: 2_000 },
    full: { clients: 200, downMillis: 30_000 },
    run: ({ clients, downMillis }, seed) =>
      Effect.gen(function* () {
        const { all: nodes, links, serving } = yield* ownServers(kind, seed)
        const all = yield* Effect.forEach(
          Array.from({ length: clients }),
          () => clientOf({ ...links.through, startTimeout: Duration.seconds(30) }),
          { concurrency: 20 }
        )
        const overflows = yield* listenOverflows
        yield* Effect.forEach(nodes, (node) => node.kill(), together)
        yield* links.cut
        const begun = yield* links.accepted
        yield* Effect.sleep("1 second")
        const firstSecond = (yield* links.accepted) - begun
        yield* Effect.sleep(downMillis - 1_000)
        const rest = (yield* links.accepted) - begun - firstSecond
        yield* Effect.forEach(nodes, (node) => node.restart, together)
        const started = yield* Clock.currentTimeMillis
        // A cluster itself takes 2 s before it serves.
        const served = yield* Effect.forkChild(Effect.andThen(serving, Clock.currentTimeMillis))
        const times = yield* Effect.forEach(
          all,
          (client, index) =>
            client.run(Command.get(logKey(`storm${index}`))).pipe(
              Effect.retry({ schedule: Schedule.spaced("10 millis") }),
              Effect.andThen(Clock.currentTimeMillis),
              Effect.map((at) => at - started)
            ),
          { concurrency: "unbounded" }
        )
        const servedMs = (yield* Fiber.join(served)) - started
        return {
          acked: clients,
          lost: 0,
          duplicated: 0,
          unknown: 0,
          maxOutageMs: Math.max(...times) + downMillis,
          recoverMs: Math.max(0, percentile(times, 0.99) - servedMs),
          extra: {
            dialsInFirstSecond: Math.round((firstSecond / clients) * 10) / 10,
            dialsPerSecondLater: Math.round((rest / clients / (downMillis / 1_000 - 1)) * 10) / 10,
            servers: nodes.length,
            servedMs,
            listenOverflows: (yield* listenOverflows) - overflows
          }
        }
      }).pipe(Random.withSeed(seed), quiet),
    judge: ({ extra, recoverMs }) => [
      ...(extra.dialsInFirstSecond <= 10 ? [] : [`${extra.dialsInFirstSecond} dials of each in the first second`]),
      // It backs off from each server by itself, and has several to try.
      ...(extra.dialsPerSecondLater / extra.servers <= 3
        ? []
        : [`${extra.dialsPerSecondLater} dials of each a second later on, to ${extra.servers} servers`]),
      ...(extra.listenOverflows === 0 ? [] : [`${extra.listenOverflows} connections did not get into a queue`]),
      ...(recoverMs <= 3_000 ? [] : [`99 % were back after ${recoverMs} ms, not within 3000`])
    ]
  })

export default [primaryKilled, sentinelFailover, ...onEachKind(storm)]

// What room session promises while Redis or the link to it fails: npm run faults -- F01-session --seed 1
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Kick, Session, SessionData, SessionOptions } from "xdooria/session"
import { makeLive } from "xdooria/session/live"
import * as Fault from "../faults/Fault.ts"
import { client, cluster, freshPrefix, type Options, sentinel, single } from "../support/RedisBackends.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as Recorder from "../support/Recorder.ts"
import * as RedisServer from "../support/RedisServer.ts"
import { isMissing, servers } from "../support/Servers.ts"
import { listen, loginOf, standing } from "./SessionContract.ts"

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const realServer = Effect.suspend(() => {
  const server = servers.redis
  return isMissing(server) ? Effect.die(new Error(server.missing)) : Effect.succeed(server)
})

/** A login as its caller saw it. */
interface Attempt {
  readonly session: Omit<SessionData, "epoch">
  /** Undefined while it is not known. */
  readonly epoch: number | undefined
  readonly outcome: "acked" | "unknown" | "failed"
}

const lostReplies = Fault.scenario({
  id: "F01-session",
  room: "session",
  title: "players log in again and again while replies are lost and connections are cut",
  servers: ["redis"],
  scaled: { players: 20, rounds: 4 },
  full: { players: 50, rounds: 20 },
  run: ({ players, rounds }, seed) =>
    Effect.gen(function* () {
      const server = yield* realServer
      const proxy = yield* FaultProxy.make({ ...server, seed })
      const keyPrefix = freshPrefix()
      const open = (address: { readonly host: string; readonly port: number }) =>
        Effect.flatMap(client(single(address), { keyPrefix }), (redis) => Effect.provide(makeLive(), redis))
      const faulty = yield* open({ host: "127.0.0.1", port: proxy.port })
      const direct = yield* open(server)
      // The gateway hears through the faulty link too.
      const heard = yield* listen(faulty, "gw-1")
      const attempts = Array.from({ length: players }, (): Array<Attempt> => [])

      let isOver = false
      const once = (player: number) =>
        Effect.gen(function* () {
          const login = loginOf(`p${player}`, "gw-1", { text: `token ${attempts[player]!.length}` })
          const session = { ...login, device: "", loginTime: undefined }
          const attempt = yield* Effect.match(faulty.login(login), {
            onSuccess: ({ epoch }): Attempt => ({ session, epoch, outcome: "acked" }),
            onFailure: ({ isSafeToRetry }): Attempt => ({
              session,
              epoch: undefined,
              outcome: isSafeToRetry ? "failed" : "unknown"
            })
          })
          attempts[player]!.push(attempt)
          yield* Effect.sleep(5 + 20 * (yield* Random.next))
        })
      const load = yield* Effect.forkScoped(
        Effect.forEach(attempts, (_, player) => Effect.repeat(once(player), { until: () => isOver }), {
          concurrency: "unbounded",
          discard: true
        })
      )
      for (let round = 0; round < rounds; round++) {
        yield* Effect.sleep(100 + 100 * (yield* Random.next))
        yield* proxy.dropReplies
        yield* Effect.sleep("150 millis")
        yield* proxy.heal
      }
      yield* Effect.sleep("300 millis")
      isOver = true
      yield* Fiber.join(load)

      const all = attempts.flat()
      const count = (outcome: Attempt["outcome"]) => all.filter((one) => one.outcome === outcome).length
      let [lost, phantom, several] = [0, 0, 0]
      const replaced: Array<string> = []
      for (const own of attempts) {
        const verdicts = yield* Effect.forEach(own, ({ session }) => standing(direct, { ...session, epoch: 0 }))
        const valid = own.flatMap((_, index) => (verdicts[index] === "valid" ? [index] : []))
        const lastAcked = own.findLastIndex(({ outcome }) => outcome === "acked")
        if (valid.length !== 1) several++
        if ((valid[0] ?? -1) < lastAcked) lost++
        if (valid.some((index) => own[index]!.outcome === "failed")) phantom++
        const ended = own.filter(({ epoch }, index) => epoch !== undefined && !valid.includes(index))
        replaced.push(...ended.map(({ epoch, session }) => `${session.playerId} ${epoch}`))
      }
      // Nobody is left who thinks that a session goes on which does not.
      const untold = Effect.map(heard.all, (kicks) => {
        const told = new Set(kicks.map(({ epoch, playerId }) => `${playerId} ${epoch}`))
        return replaced.filter((session) => !told.has(session)).length
      })
      const left = yield* Effect.repeat(untold, {
        until: (number) => number === 0,
        schedule: Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(100)])
      })
      return {
        acked: count("acked"),
        unknown: count("unknown"),
        lost,
        phantom,
        duplicated: 0,
        maxOutageMs: 0,
        recoverMs: 0,
        extra: { failed: count("failed"), several, untold: left }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ acked, extra, unknown }) => [
    ...(acked > 0 && unknown > 0 ? [] : [`${acked} acknowledged, ${unknown} unknown: nothing was met`]),
    ...(extra!["several"] === 0 ? [] : [`${extra!["several"]} players do not have exactly one session`]),
    ...(extra!["untold"] === 0 ? [] : [`a gateway was not told of ${extra!["untold"]} sessions within 2 s`])
  ]
})

const later = (millis: number) => Effect.flatMap(Random.next, (share) => Effect.sleep(millis * (0.5 + share)))

/** A service of its own, on a client of its own. */
const serviceOn = (options: Options, keyPrefix: string, session: Partial<SessionOptions> = {}) =>
  Effect.flatMap(client(options, { keyPrefix }), (redis) => Effect.provide(makeLive(session), redis))

const gateways = ["gw-0", "gw-1"] as const

/** What is left to publication, and to looking again where it may have failed. */
const noSweep = { sweepInterval: Duration.minutes(5) }

/** A session that a login has given, and what has been acknowledged of it since. */
interface Given {
  readonly session: SessionData
  /** Whether a kick, or another login, was acknowledged that ends it; `perhaps` where a reply was lost. */
  ended: "no" | "perhaps" | "superseded" | "kicked"
  /** When its kick was acknowledged. */
  kickedAt: number | undefined
}

const nameOf = ({ epoch, playerId }: Pick<Kick, "playerId" | "epoch">): string => `${playerId} ${epoch}`

/**
 * Players who log in at one gateway and the other, are checked and are kicked, each by one fiber, until told to stop.
 *
 * - `gateway`: of the process that both gateways are in; it hears their kicks
 * - `admin`: kicks
 */
const play = Effect.fnUntraced(function* (gateway: Session["Service"], admin: Session["Service"], players: number) {
  const heard = yield* Recorder.make<Kick & { readonly at: number; readonly gateway: string }>()
  for (const name of gateways) {
    const record = (kick: Kick) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) => heard.record({ ...kick, at, gateway: name }))
    yield* Effect.forkScoped(Stream.runForEach(gateway.kicks(name), record))
  }
  /** How late a timer fires here that has nothing to wait for: the machine's own share of what is measured. */
  let noiseMs = 0
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.map(Effect.timed(Effect.sleep("100 millis")), ([spent]) => {
        noiseMs = Math.max(noiseMs, Math.round(Duration.toMillis(spent) - 100))
      })
    )
  )
  const logins = yield* Recorder.make<{ readonly player: number; readonly at: number }>()
  const given: Array<Given> = []
  const counts = { unknown: 0, gone: 0, back: 0, operations: 0 }
  let isOver = false

  const one = (player: number) => {
    let number = 0
    let current: Given | undefined
    /** The kicks of this player that were acknowledged. */
    const kicked: Array<Given> = []

    const login = Effect.gen(function* () {
      const text = `token ${number}`
      const made = yield* Effect.result(gateway.login(loginOf(`p${player}`, gateways[number++ % 2]!, { text })))
      if (Result.isFailure(made)) {
        if (made.failure.isSafeToRetry) return
        counts.unknown++
        if (current !== undefined) current.ended = "perhaps"
        current = undefined
        return
      }
      if (current !== undefined) current.ended = "superseded"
      current = { session: made.success, ended: "no", kickedAt: undefined }
      given.push(current)
      yield* logins.record({ player, at: yield* Clock.currentTimeMillis })
    })
    const check = Effect.gen(function* () {
      if (current === undefined) return
      if (["NotFound", "Superseded", "Revoked"].includes(yield* standing(gateway, current.session))) {
        counts.gone++
        current.ended = "perhaps"
        current = undefined
      }
    })
    const kick = Effect.gen(function* () {
      if (current === undefined) return
      const done = yield* Effect.result(admin.kick(`p${player}`))
      if (Result.isFailure(done) && done.failure.isSafeToRetry && done.failure.reason._tag !== "Unconfirmed") return
      if (Result.isFailure(done)) counts.unknown++
      current.ended = Result.isSuccess(done) ? "kicked" : "perhaps"
      if (Result.isSuccess(done)) {
        current.kickedAt = yield* Clock.currentTimeMillis
        kicked.push(current)
      }
      current = undefined
    })
    const look = Effect.gen(function* () {
      const last = kicked.at(-1)
      if (last !== undefined && (yield* standing(gateway, last.session)) === "valid") counts.back++
    })
    return Effect.gen(function* () {
      yield* login
      yield* later(5)
      yield* check
      if ((yield* Random.next) < 0.5) yield* kick
      yield* look
      yield* later(10)
      counts.operations++
    }).pipe(Effect.repeat({ until: () => isOver }))
  }

  const load = yield* Effect.forkScoped(
    Effect.forEach(Array.from({ length: players }), (_, player) => one(player), {
      concurrency: "unbounded",
      discard: true
    })
  )

  /** Stops, and counts what does not hold: by what every caller was told, and by what the gateways heard. */
  const verdict = Effect.gen(function* () {
    isOver = true
    yield* Fiber.join(load)
    const standings = yield* Effect.forEach(given, ({ session }) => standing(admin, session), { concurrency: 20 })
    const valid = given.filter((_, index) => standings[index] === "valid")
    const over = given.filter((_, index) => standings[index] !== "valid").map(({ session }) => nameOf(session))
    const untold = Effect.map(heard.all, (kicks) => {
      const told = new Set(kicks.map(nameOf))
      return over.filter((name) => !told.has(name)).length
    })
    const left = yield* Effect.repeat(untold, {
      until: (number) => number === 0,
      schedule: Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(100)])
    })
    return {
      acked: given.length,
      unknown: counts.unknown,
      /** Sessions that a kick has ended, for good, and that were good again. */
      back: counts.back + valid.filter(({ ended }) => ended === "kicked").length,
      /** The same of those that a login has ended. */
      supersededBack: valid.filter(({ ended }) => ended === "superseded").length,
      /** Sessions that were given, that nobody ended, and that were not good. */
      gone: counts.gone,
      untold: left,
      noiseMs
    }
  })

  /** From each kick that was acknowledged in that time to when its gateway heard of it, the longest, in milliseconds. */
  const heardWithin = (from: number, until: number) =>
    Effect.map(heard.all, (kicks) => {
      // The first of several: one may be told twice.
      const at = new Map(kicks.toReversed().map((kick) => [nameOf(kick), kick.at]))
      return given.reduce((longest, { kickedAt, session }) => {
        if (kickedAt === undefined || kickedAt < from || kickedAt > until) return longest
        return Math.max(longest, (at.get(nameOf(session)) ?? Infinity) - kickedAt)
      }, 0)
    })

  /** The longest that a player was without a login, in milliseconds. */
  const longestOutage = Effect.map(logins.all, (all) => {
    const last = new Map<number, number>()
    return all.reduce((longest, { at, player }) => {
      const spent = at - (last.get(player) ?? at)
      last.set(player, at)
      return Math.max(longest, spent)
    }, 0)
  })

  /** Until both gateways have heard of something: what was done before they listened is told late. */
  const listening = Effect.forEach(gateways, (name) => heard.first(({ gateway }) => gateway === name))
  return { counts, heard, logins, listening, verdict, heardWithin, longestOutage }
})

type Verdict = Effect.Success<Effect.Success<ReturnType<typeof play>>["verdict"]>

const told = ({ untold }: { readonly untold: number }) =>
  untold === 0 ? [] : [`a gateway was not told of ${untold} sessions within 2 s`]

const heardInTime = ({ kickMs, noiseMs }: { readonly kickMs: number; readonly noiseMs: number }) =>
  kickMs - noiseMs <= 1_000 ? [] : [`a gateway heard of a kick ${kickMs} ms after it (noise ${noiseMs} ms)`]

/** What a failover may undo is not lost: what was acknowledged without a replica's having it. */
const measured = ({ acked, back, gone, noiseMs, supersededBack, unknown, untold }: Verdict) => ({
  acked,
  unknown,
  lost: back,
  duplicated: 0,
  extra: { gone, supersededBack, untold, noiseMs }
})

/** A server to kill, and the players who are on it. */
interface Victim {
  readonly kill: Effect.Effect<void>
  readonly players: ReadonlyArray<number>
}

/** Plays on servers of its own, kills one, and goes on until all players log in again and kicks are heard again. */
const killed = Effect.fnUntraced(function* <E, R>(
  options: Options,
  { afterMillis, beforeMillis, players }: { players: number; beforeMillis: number; afterMillis: number },
  victimOf: (keyPrefix: string) => Effect.Effect<Victim, E, R>
) {
  const keyPrefix = freshPrefix()
  const gateway = yield* serviceOn(options, keyPrefix, noSweep)
  const admin = yield* serviceOn(options, keyPrefix, { replicas: 1 })
  const victim = yield* victimOf(keyPrefix)
  const game = yield* play(gateway, admin, players)
  yield* game.listening
  const listens = yield* Clock.currentTimeMillis
  yield* Effect.sleep(beforeMillis)
  // What is kicked later may not be heard of before the kill.
  const last = yield* Clock.currentTimeMillis
  yield* Effect.sleep("500 millis")
  yield* victim.kill
  const at = (yield* Clock.currentTimeMillis) + 200
  const backAt = (player: number) =>
    Effect.map(
      game.logins.first((one) => one.player === player && one.at > at),
      (one) => one.at
    )
  const together = { concurrency: "unbounded" } as const
  const [first, all, kick] = yield* Effect.all(
    [
      Effect.raceAll(victim.players.map(backAt)),
      Effect.forEach(Array.from({ length: players }), (_, player) => backAt(player), together),
      game.heard.first((one) => one.at > at && one.reason === "revoked")
    ],
    together
  ).pipe(Effect.timeout("20 seconds"))
  yield* Effect.sleep(afterMillis)
  const verdict = measured(yield* game.verdict)
  return {
    ...verdict,
    maxOutageMs: yield* game.longestOutage,
    recoverMs: first - at + 200,
    extra: {
      ...verdict.extra,
      allBackMs: Math.max(...all) - at + 200,
      heardMs: kick.at - at + 200,
      kickMs: yield* game.heardWithin(listens, last)
    }
  }
})

type Killed = Effect.Success<ReturnType<typeof killed>>

const judgeKilled = ({ acked, extra, recoverMs }: Killed) => [
  ...(acked > 0 && recoverMs > 300 ? [] : ["the load met no failover"]),
  ...(recoverMs <= 6_000 ? [] : [`first login after ${recoverMs} ms, not within 6000`]),
  ...(extra.heardMs <= recoverMs + 3_000 ? [] : [`a gateway heard again ${extra.heardMs} ms after the kill`]),
  ...heardInTime(extra),
  ...told(extra)
]

const sentinelFailover = Fault.scenario({
  id: "F05-session",
  room: "session",
  title: "the primary that sentinels watch is killed while players log in, are checked and are kicked",
  servers: ["redisSentinel"],
  scaled: { players: 10, beforeMillis: 300, afterMillis: 300 },
  full: { players: 40, beforeMillis: 3_000, afterMillis: 3_000 },
  run: (params, seed) =>
    Effect.gen(function* () {
      const own = yield* RedisServer.sentinel()
      const { kill } = yield* own.primary
      const players = Array.from({ length: params.players }, (_, player) => player)
      return yield* killed(sentinel(own.name, own.sentinels), params, () => Effect.succeed({ kill: kill(), players }))
    }).pipe(Random.withSeed(seed), quiet),
  judge: judgeKilled
})

const primaryKilled = Fault.scenario({
  id: "F03-session",
  room: "session",
  title: "a primary of a cluster is killed while players log in, are checked and are kicked",
  servers: ["redisCluster"],
  scaled: { players: 12, beforeMillis: 300, afterMillis: 300, nodeTimeout: 500 },
  full: { players: 40, beforeMillis: 3_000, afterMillis: 3_000, nodeTimeout: 2_000 },
  run: ({ nodeTimeout, ...params }, seed) =>
    Effect.gen(function* () {
      const own = yield* RedisServer.cluster({
        args: ["--cluster-node-timeout", String(nodeTimeout), "--cluster-require-full-coverage", "no"]
      })
      const victimOf = (keyPrefix: string) =>
        Effect.gen(function* () {
          const names = Array.from({ length: 5 }, (_, player) => `${keyPrefix}session:p${player}`)
          const nodes = yield* Effect.forEach(names, own.primaryOf, { concurrency: "unbounded" })
          const players = nodes.flatMap((node, player) => (node === nodes[0] ? [player] : []))
          return { kill: nodes[0]!.kill(), players }
        })
      return yield* killed(cluster(own.nodes), params, victimOf)
    }).pipe(Random.withSeed(seed), quiet),
  judge: judgeKilled
})

const cuts = Fault.scenario({
  id: "F12-session",
  room: "session",
  title: "every connection lives a second while players log in, are checked and are kicked",
  servers: ["redis"],
  scaled: { players: 20, millis: 2_000 },
  full: { players: 40, millis: 120_000 },
  run: ({ millis, players }, seed) =>
    Effect.gen(function* () {
      const server = yield* realServer
      const proxy = yield* FaultProxy.make({ ...server, seed })
      const keyPrefix = freshPrefix()
      const gateway = yield* serviceOn(single({ host: "127.0.0.1", port: proxy.port }), keyPrefix, noSweep)
      const admin = yield* serviceOn(single(server), keyPrefix)
      // A link that takes its time, so that a cut meets what is on its way.
      yield* proxy.delay(2)
      const game = yield* play(gateway, admin, players)
      yield* game.listening
      const [listens, none] = [yield* Clock.currentTimeMillis, game.counts.operations]
      const cleanMillis = Math.min(1_000, millis / 2)
      yield* Effect.sleep(cleanMillis)
      const last = yield* Clock.currentTimeMillis
      const clean = game.counts.operations - none
      yield* Effect.sleep("500 millis")
      const before = game.counts.operations
      const faults = yield* Effect.forkScoped(
        Effect.forever(
          Effect.andThen(
            later(600),
            Effect.suspend(() => proxy.cut)
          )
        )
      )
      yield* Effect.sleep(millis)
      yield* Fiber.interrupt(faults)
      const faulty = game.counts.operations - before
      const { extra, lost, ...verdict } = measured(yield* game.verdict)
      return {
        ...verdict,
        // No server has lost anything.
        lost: lost + extra.gone + extra.supersededBack,
        maxOutageMs: yield* game.longestOutage,
        recoverMs: 0,
        extra: {
          ...extra,
          kickMs: yield* game.heardWithin(listens, last),
          throughput: Math.round((100 * faulty * cleanMillis) / (clean * millis))
        }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ extra, unknown }) => [
    ...(unknown > 0 ? [] : ["no operation met a cut"]),
    ...(extra.throughput >= 30 ? [] : [`${extra.throughput} % of the clean throughput, not 30`]),
    ...heardInTime(extra),
    ...told(extra)
  ]
})

export default [lostReplies, primaryKilled, sentinelFailover, cuts]

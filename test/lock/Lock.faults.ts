// What room lock promises while holders are stopped or killed and replies are lost: npm run faults -- F06 --seed 1
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as SqlClient from "effect/sql/SqlClient"
import { CurrentLease, Fence, Lock } from "xdooria/lock"
import { layerLive } from "xdooria/lock/live"
import { Pg } from "xdooria/pg"
import { layerLive as pgLive } from "xdooria/pg/live"
import { Key, Redis } from "xdooria/redis"
import * as Fault from "../faults/Fault.ts"
import { addressOf, fresh } from "../pg/Database.ts"
import { client, driver, eventually, single } from "../support/RedisBackends.ts"
import { makeNoise } from "../redis/FaultKit.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as History from "../support/History.ts"
import * as Recorder from "../support/Recorder.ts"
import { isMissing, servers } from "../support/Servers.ts"
import * as Child from "../support/Child.ts"
import type { Report as ContenderReport, Settings as ContenderSettings } from "./Contender.ts"
import { type Report, type Settings, write } from "./Pausable.ts"

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const redisAddress = Effect.suspend(() => {
  const server = servers.redis
  return isMissing(server) ? Effect.die(new Error(server.missing)) : Effect.succeed(server)
})

/** Redis with keys of its own, and locks on it. */
const lockOn = Effect.fnUntraced(function* (address: { readonly host: string; readonly port: number }) {
  const redis = yield* client(single(address))
  const lock = yield* Layer.build(Layer.provide(layerLive(), Layer.succeedContext(redis)))
  return Context.merge(redis, lock)
})

/** PostgreSQL with a list of what was written, which guarded writes are added to. */
const listOfWrites = Effect.gen(function* () {
  const server = servers.postgres
  if (isMissing(server)) return yield* Effect.die(new Error(server.missing))
  const address = yield* fresh(addressOf(server))
  const services = yield* Layer.build(pgLive({ ...address, maxConns: 4 }))
  yield* Effect.provide(
    Pg.migrate([
      Fence.migration(1),
      { id: 2, name: "create_writes", up: "CREATE TABLE writes (id serial PRIMARY KEY, fence bigint NOT NULL)" }
    ]),
    services
  )
  const sql = Context.get(services, SqlClient.SqlClient)
  const fences = Effect.map(sql<{ fence: bigint }>`SELECT fence FROM writes ORDER BY id`, (rows) =>
    rows.map(({ fence }) => fence)
  )
  return { address, services, fences }
})

type Measured = Readonly<Record<string, number>> | undefined

/**
 * What is wrong when something took longer than it may. Taken out is the machine's own lateness, once for each of the
 * timers that it waits for one after the other.
 */
const longerThan = (
  limit: number,
  { spent, timers, extra }: { readonly spent: number; readonly timers: number; readonly extra: Measured },
  say: (told: string) => string
): ReadonlyArray<string> =>
  spent - timers * extra!["noiseMs"]! <= limit ? [] : [say(`${spent} ms (noise ${extra!["noiseMs"]} ms)`)]

/** How many come after a higher one. */
const backwards = (fences: ReadonlyArray<bigint>): number => {
  let highest = 0n
  return fences.filter((fence) => {
    const isLower = fence < highest
    if (!isLower) highest = fence
    return isLower
  }).length
}

const stopped = Fault.scenario({
  id: "F06",
  room: "lock",
  title: "a holder is stopped for longer than its lock lives, and goes on",
  servers: ["redis", "postgres"],
  scaled: { rounds: 2, ttlMillis: 200 },
  full: { rounds: 200, ttlMillis: 200 },
  run: ({ rounds, ttlMillis }) =>
    Effect.gen(function* () {
      const noise = yield* makeNoise
      const address = yield* redisAddress
      const locks = yield* lockOn(address)
      const { address: database, fences, services } = yield* listOfWrites
      const key = yield* Effect.fromResult(Key.make("lock", "resource"))
      const settings: Settings = {
        address: `${address.host}:${address.port}`,
        keyPrefix: Context.get(locks, Redis).keyPrefix,
        key: "resource",
        ttlMillis,
        database: { ...database, password: Redacted.value(database.password) }
      }
      const child = yield* Child.start<Report>(new URL("Pausable.ts", import.meta.url), settings)
      const history = yield* History.make
      const heard = <T extends Report["_tag"]>(count: number, tag: T) =>
        Effect.map(
          child.reports.atLeast(count, ({ _tag }) => _tag === tag),
          (all) => all[count - 1] as Extract<Report, { readonly _tag: T }>
        )
      const measured = { slowest: 0, notHigher: 0, refused: 0, notRefused: 0, notLost: 0 }
      for (let round = 1; round <= rounds; round++) {
        yield* child.order
        const held = yield* heard(round, "Held")
        yield* child.signal("SIGSTOP")
        const stoppedAt = yield* Clock.currentTimeMillis
        // The next one writes while the first is stopped, and when it goes on.
        yield* Effect.gen(function* () {
          const { fence } = yield* CurrentLease
          if (fence <= BigInt(held.fence)) measured.notHigher++
          // It waits for the first one when that was stopped in the middle of a transaction.
          const writing = yield* Effect.forkChild(write)
          const left = stoppedAt + 3 * ttlMillis - (yield* Clock.currentTimeMillis)
          yield* Effect.sleep(Math.max(0, left))
          const isWritten = writing.pollUnsafe() !== undefined
          const resumedAt = yield* Clock.currentTimeMillis
          yield* child.signal("SIGCONT")
          const { at, how, late } = yield* heard(round, "Ended")
          measured.slowest = Math.max(measured.slowest, at - resumedAt)
          // A write that was on its way may be refused before the interruption comes.
          if (how !== "Lost" && how !== "Stale") measured.notLost++
          if (late === "Stale") measured.refused++
          else if (isWritten) measured.notRefused++
          yield* Fiber.join(writing)
          yield* write
          yield* history.acked(String(fence))
        }).pipe(Lock.withLock(key, { wait: "30 seconds" }), Effect.provide(Context.merge(locks, services)))
      }
      const written = yield* fences
      const verdict = yield* history.verdict(new Set(written.map(String)))
      return { ...verdict, extra: { ...measured, stale: backwards(written), noiseMs: yield* noise.worst } }
    }).pipe(quiet),
  judge: ({ acked, extra }, { rounds }) => [
    ...(acked === rounds ? [] : [`${acked} of ${rounds} rounds`]),
    ...(extra!["stale"] === 0 ? [] : [`${extra!["stale"]} stale writes were accepted`]),
    ...(extra!["notRefused"] === 0 ? [] : [`${extra!["notRefused"]} late writes were not refused as Stale`]),
    ...(extra!["refused"]! * 2 >= rounds
      ? []
      : [`only ${extra!["refused"]} late writes were made after the next one's`]),
    ...(extra!["notHigher"] === 0 ? [] : [`${extra!["notHigher"]} tokens did not rise`]),
    ...(extra!["notLost"] === 0 ? [] : [`${extra!["notLost"]} holders did not end with Lost`]),
    ...longerThan(
      100,
      { spent: extra!["slowest"]!, timers: 1, extra },
      (told) => `a holder was interrupted ${told} after it went on`
    )
  ]
})

/** What the list of the server says: entries of holders that were alive and overlapped, and tokens that did not rise. */
const readLog = (lines: ReadonlyArray<string>, killed: ReadonlySet<number>) => {
  let inside: { readonly fence: bigint; readonly id: number } | undefined
  let highest = 0n
  let overlaps = 0
  let entries = 0
  for (const line of lines) {
    const [what, text, name] = line.split(" ")
    const fence = BigInt(text!)
    if (what === "out") {
      if (inside?.fence !== fence) overlaps++
      inside = undefined
    } else {
      if (fence <= highest || (inside !== undefined && !killed.has(inside.id))) overlaps++
      entries++
      highest = fence
      inside = { fence, id: Number(name) }
    }
  }
  return { entries, overlaps }
}

interface Contest {
  readonly contenders: number
  readonly acquisitions: number
  readonly kills: number
  readonly ttlMillis: number
}

/** Processes that take the lock in turns until they have had it so often together; now and then a holder is killed. */
const contest = Effect.fnUntraced(function* (
  { acquisitions, contenders, kills }: Contest,
  settings: Omit<ContenderSettings, "id">
) {
  const clock = yield* Clock.Clock
  const deaths = yield* Recorder.make<number>()
  const finished = yield* Deferred.make<void>()
  const children = new Map<number, Child.Child<ContenderReport>>()
  const present = new Set<number>()
  const dead = new Set<number>()
  const waits: Array<number> = []
  const gaps: Array<number> = []
  let killedAt: number | undefined
  const step = Math.floor(acquisitions / (kills + 1))

  const kill = (id: number) => {
    dead.add(id)
    killedAt = clock.currentTimeMillisUnsafe()
    children.get(id)!.kill()
    deaths.recordUnsafe(id)
  }
  const heard = (id: number, { waitedMillis }: ContenderReport) => {
    if (dead.has(id)) return
    if (killedAt !== undefined) gaps.push(clock.currentTimeMillisUnsafe() - killedAt)
    killedAt = undefined
    present.add(id)
    // What those have waited who were there before the others is no measure.
    if (present.size < contenders || waits.length === acquisitions) return
    waits.push(waitedMillis)
    if (waits.length === acquisitions) Deferred.doneUnsafe(finished, Effect.void)
    else if (waits.length >= (dead.size + 1) * step && dead.size < kills) kill(id)
  }
  const enter = (id: number) =>
    Effect.map(
      Child.start<ContenderReport>(new URL("Contender.ts", import.meta.url), { ...settings, id }, (report) =>
        heard(id, report)
      ),
      (child) => void children.set(id, child)
    )
  yield* Effect.forEach(Array.from({ length: contenders }), (_, id) => enter(id), { discard: true })
  yield* Effect.forEach(
    Array.from({ length: kills }),
    (_, i) => Effect.andThen(deaths.atLeast(i + 1), enter(contenders + i)),
    { discard: true }
  ).pipe(Effect.forkScoped)
  yield* Deferred.await(finished)
  return { dead, gaps, waits }
})

const killed = Fault.scenario({
  id: "F07",
  room: "lock",
  title: "processes contend for a lock, and holders are killed",
  servers: ["redis"],
  scaled: { contenders: 3, acquisitions: 40, kills: 1, ttlMillis: 500 },
  full: { contenders: 20, acquisitions: 2_000, kills: 40, ttlMillis: 2_000 },
  run: (params, seed) =>
    Effect.gen(function* () {
      const noise = yield* makeNoise
      const address = yield* redisAddress
      const { keyPrefix } = Context.get(yield* client(single(address)), Redis)
      const native = yield* driver(single(address))
      const settings = {
        address: `${address.host}:${address.port}`,
        keyPrefix,
        key: `resource${seed}`,
        ttlMillis: params.ttlMillis
      }
      const { dead, gaps, waits } = yield* Effect.scoped(contest(params, settings))
      const lines = yield* Effect.promise(() => native.lrange(`${keyPrefix}log:${settings.key}`, 0, -1))
      const { entries, overlaps } = readLog(lines, dead)
      const mean = waits.reduce((sum, wait) => sum + wait, 0) / waits.length
      return {
        acked: waits.length,
        lost: Math.max(0, waits.length - entries),
        duplicated: overlaps,
        unknown: 0,
        maxOutageMs: Math.max(...gaps),
        recoverMs: 0,
        extra: {
          kills: dead.size,
          meanWait: Math.round(mean),
          longestWait: Math.max(...waits),
          noiseMs: yield* noise.worst
        }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ acked, extra, maxOutageMs }, { acquisitions, contenders, kills, ttlMillis }) => [
    ...(acked === acquisitions ? [] : [`${acked} of ${acquisitions} acquisitions`]),
    ...(extra!["kills"] === kills ? [] : [`${extra!["kills"]} of ${kills} kills`]),
    ...longerThan(
      ttlMillis + 500,
      { spent: maxOutageMs, timers: 1, extra },
      (told) => `nobody had the lock for ${told} after a kill`
    ),
    // Among a few, who are not all kept waiting by a kill, the mean says nothing.
    ...(contenders < 20 || extra!["longestWait"]! <= 20 * extra!["meanWait"]!
      ? []
      : [`one waited ${extra!["longestWait"]} ms, all ${extra!["meanWait"]} ms in the mean`])
  ]
})

const commandTimeout = 500

const repliesLost = Fault.scenario({
  id: "F01-lock",
  room: "lock",
  title: "replies to acquisitions and releases are lost",
  servers: ["redis"],
  scaled: { acquisitions: 200, keys: 25 },
  full: { acquisitions: 1_000, keys: 25 },
  run: ({ acquisitions, keys }, seed) =>
    Effect.gen(function* () {
      const noise = yield* makeNoise
      const address = yield* redisAddress
      const proxy = yield* FaultProxy.make({ ...address, seed })
      const redis = yield* client(single({ host: "127.0.0.1", port: proxy.port }), {
        commandTimeout: Duration.millis(commandTimeout)
      })
      const lock = yield* Layer.build(Layer.provide(layerLive(), Layer.succeedContext(redis)))
      const { keyPrefix } = Context.get(redis, Redis)
      const native = yield* driver(single(address))
      const history = yield* History.make
      const applied: Array<string> = []
      const inside = new Set<string>()
      let slowest = 0
      let overlaps = 0
      let refused = 0
      const work = (name: string, id: string) =>
        Effect.gen(function* () {
          if (inside.has(name)) overlaps++
          inside.add(name)
          yield* Effect.sleep("2 millis")
          inside.delete(name)
          applied.push(id)
        })
      const once = (name: string, id: string) =>
        Effect.gen(function* () {
          const key = yield* Effect.fromResult(Key.make("lock", name))
          const asked = yield* Clock.currentTimeMillis
          // The time until the lock is given or refused, not that of the work.
          const settled = Effect.map(Clock.currentTimeMillis, (now) => {
            slowest = Math.max(slowest, now - asked)
          })
          yield* Effect.andThen(settled, work(name, id)).pipe(
            Lock.withLock(key, { ttl: "1 minute", wait: 0 }),
            Effect.tapError(() => {
              refused++
              return settled
            })
          )
        })
      // A caller who is refused asks again, as often as it takes.
      const acquisition = (index: number) => {
        const id = String(index)
        return once(`k${index % keys}`, id).pipe(
          Effect.tapError(() => history.failed(id)),
          Effect.retry(Schedule.spaced("20 millis")),
          Effect.andThen(history.acked(id))
        )
      }
      const faults = Effect.forever(
        proxy.dropReplies.pipe(
          Effect.andThen(Effect.sleep("200 millis")),
          Effect.andThen(proxy.cut),
          Effect.andThen(proxy.heal),
          Effect.andThen(Effect.sleep("150 millis"))
        )
      )
      const faulty = yield* Effect.forkScoped(faults)
      yield* Effect.forEach(
        Array.from({ length: acquisitions }, (_, i) => i),
        acquisition,
        { concurrency: 50, discard: true }
      ).pipe(Effect.provide(lock))
      yield* Fiber.interrupt(faulty)
      yield* proxy.heal
      const left = Effect.promise(() =>
        native.exists(...Array.from({ length: keys }, (_, i) => `${keyPrefix}lock:k${i}`))
      )
      const orphans = yield* eventually(
        "no lock is left",
        Effect.map(left, (n) => n === 0)
      ).pipe(Effect.timeoutOption("3 seconds"), Effect.andThen(left))
      return {
        ...(yield* history.verdict(applied)),
        extra: { orphans, overlaps, refused, slowest, noiseMs: yield* noise.worst }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ acked, extra }, { acquisitions }) => [
    ...(acked === acquisitions ? [] : [`${acked} of ${acquisitions} acquisitions`]),
    ...(extra!["overlaps"] === 0 ? [] : [`${extra!["overlaps"]} held a lock together with another`]),
    ...(extra!["orphans"] === 0 ? [] : [`${extra!["orphans"]} locks that nobody holds`]),
    ...(extra!["refused"]! > 0 ? [] : ["no reply was lost"]),
    // The timeout of the command, which may be exceeded by 100 ms, and 100 ms for the confirmation.
    ...longerThan(
      commandTimeout + 200,
      { spent: extra!["slowest"]!, timers: 2, extra },
      (told) => `an acquisition settled after ${told}`
    )
  ]
})

export default [stopped, killed, repliesLost]

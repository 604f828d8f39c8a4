// What room leaderboard promises while those who end a season are killed: npm run faults -- SEASON-KILL --seed 1
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as References from "effect/References"
import { type Entry, Leaderboard } from "xdooria/leaderboard"
import { makeLive } from "xdooria/leaderboard/live"
import { Command, Redis } from "xdooria/redis"
import * as Fault from "../faults/Fault.ts"
import * as Child from "../support/Child.ts"
import { client, single } from "../support/RedisBackends.ts"
import * as History from "../support/History.ts"
import { isMissing, servers } from "../support/Servers.ts"
import { board, lineOf, listsOf, type Report, type Settings, type Work } from "./Settler.ts"

type Boards = Leaderboard["Service"]

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const redisAddress = Effect.suspend(() => {
  const server = servers.redis
  return isMissing(server) ? Effect.die(new Error(server.missing)) : Effect.succeed(server)
})

const begin = DateTime.makeUnsafe("2026-01-01T00:00:00Z")
const dayOf = (round: number) => DateTime.add(begin, { days: round })
const seasonOf = (round: number) => DateTime.formatIsoDateUtc(dayOf(round))

/** All of a frozen result. */
const resultOf = (boards: Boards, season: string) =>
  Effect.gen(function* () {
    const entries: Array<Entry<number>> = []
    let after: string | undefined
    do {
      const page = yield* boards.page(Leaderboard.season(board, season), {
        limit: 100,
        ...(after === undefined ? {} : { after })
      })
      entries.push(...page.entries)
      after = page.next
    } while (after !== undefined)
    return entries
  })

const writeId = (season: string, { member, score }: Pick<Entry<number>, "member" | "score">) =>
  `write ${season}/${member} ${score}`

/** Writes members of a season one after another, until all are written or it is closed. */
const write = (boards: Boards, history: History.History, season: string, from: number, to: number) =>
  Effect.gen(function* () {
    for (let index = from; index < to; index++) {
      const one = { member: `m${index}`, score: index % 50 }
      const id = writeId(season, one)
      const isOpen = yield* boards.set(board, one.member, one.score, { season }).pipe(
        Effect.andThen(Effect.as(history.acked(id), true)),
        Effect.catchReason("LeaderboardError", "SeasonClosed", () => Effect.as(history.failed(id), false))
      )
      if (!isOpen) return
    }
  })

/** Where the first one is killed: while it stands still at a reward, or some time after its order. */
const pointOf = (members: number, round: number, withinMillis: number) =>
  Effect.gen(function* () {
    const index = yield* Random.nextIntBetween(0, members)
    const isGiven = yield* Random.nextBoolean
    const afterMillis = yield* Random.nextIntBetween(0, withinMillis + 1)
    return round % 2 === 0 ? { stopAt: { index, isGiven }, afterMillis: 0 } : { stopAt: undefined, afterMillis }
  })

const settlersKilled = Fault.scenario({
  id: "SEASON-KILL",
  room: "leaderboard",
  title: "those who close a season and give its rewards are killed, and others take over",
  servers: ["redis"],
  scaled: { seasons: 2, members: 150, withinMillis: 100 },
  full: { seasons: 20, members: 350, withinMillis: 300 },
  run: ({ members, seasons, withinMillis }, seed) =>
    Effect.gen(function* () {
      const address = yield* redisAddress
      const redis = Context.get(yield* client(single(address)), Redis)
      const boards = yield* Effect.provideService(makeLive, Redis, redis)
      const { applied, delivered } = yield* listsOf
      const linesIn = (list: typeof delivered) => redis.run(Command.lrange(list, 0, -1))
      const history = yield* History.make
      const results = new Map<string, ReadonlyArray<Entry<number>>>()
      const measured = { kills: 0, cutShort: 0, changed: 0, mostRepeated: 0 }
      const keep = (season: string) =>
        Effect.map(resultOf(boards, season), (entries) => {
          const before = results.get(season) ?? entries
          if (JSON.stringify(before) !== JSON.stringify(entries)) measured.changed++
          results.set(season, before)
        })

      // What is written last races the close: fewer than all may be on the board.
      const points = yield* Effect.forEach(Array.from({ length: seasons }), (_, round) =>
        pointOf(members / 2, round, withinMillis)
      )
      const workOf = (round: number, stopAt: Work["stopAt"]): Work => ({
        instant: DateTime.formatIso(dayOf(round + 1)),
        stopAt
      })
      /** The process that takes over in a round, and is killed in the next one. */
      const start = (round: number) =>
        Child.start<Report>(new URL("Settler.ts", import.meta.url), {
          address: `${address.host}:${address.port}`,
          keyPrefix: redis.keyPrefix,
          work: [
            ...(round < 0 ? [] : [workOf(round, undefined)]),
            ...(round + 1 < seasons ? [workOf(round + 1, points[round + 1]!.stopAt)] : [])
          ]
        } satisfies Settings)

      /** Ends a season: the first one is killed, the second one takes over. */
      const end = Effect.fnUntraced(function* (round: number, first: Child.Child<Report>) {
        const season = seasonOf(round)
        const { afterMillis, stopAt } = points[round]!
        const second = yield* start(round)
        yield* second.reports.atLeast(1, ({ _tag }) => _tag === "Ready")
        // The first one has done what it took over, but in the first round.
        yield* first.reports.atLeast(round === 0 ? 1 : 2, ({ _tag }) => _tag === "Ready")
        yield* write(boards, history, season, 0, members / 2)
        const writing = yield* Effect.forkChild(write(boards, history, season, members / 2, members))
        const before = (yield* linesIn(delivered)).length
        yield* first.order
        if (stopAt === undefined) yield* Effect.sleep(afterMillis)
        else {
          yield* first.reports.first(({ _tag }) => _tag === "Stopped")
          yield* keep(season)
        }
        yield* first.signal("SIGKILL")
        measured.kills++
        const isDone = (yield* first.reports.all).at(-1)?._tag === "Done"
        if (!isDone) measured.cutShort++
        yield* second.order
        yield* second.reports.first(({ _tag }) => _tag === "Done")
        yield* Fiber.join(writing)
        yield* keep(season)
        const repeated = (yield* linesIn(delivered)).length - before - results.get(season)!.length
        measured.mostRepeated = Math.max(measured.mostRepeated, repeated)
        return second
      })

      yield* boards.reset(board, { every: "day" }, begin, () => Effect.void)
      let next = yield* start(-1)
      for (let round = 0; round < seasons; round++) next = yield* end(round, next)
      for (const season of results.keys()) yield* keep(season)
      const all = [...results].flatMap(([season, entries]) => entries.map((entry) => ({ ...entry, season })))
      // Whoever is in a result has been promised a reward, with the score and the rank that are in it.
      yield* Effect.forEach(all, (entry) => history.acked(lineOf(entry)), { discard: true })
      const unsettled = (yield* boards.seasons(board)).filter(
        ({ members, rewarded, state }) => state !== "open" && (state !== "settled" || rewarded !== members)
      )
      const done = [...all.map((entry) => writeId(entry.season, entry)), ...(yield* linesIn(applied))]
      const verdict = yield* history.verdict(done)
      return { ...verdict, extra: { ...measured, unsettled: unsettled.length, results: all.length } }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ acked, extra }, { members, seasons }) => [
    ...(acked >= seasons * members ? [] : [`only ${acked} writes and rewards`]),
    ...(extra!["kills"] === seasons ? [] : [`${extra!["kills"]} of ${seasons} kills`]),
    ...(extra!["cutShort"]! * 2 >= seasons ? [] : [`only ${extra!["cutShort"]} were killed before they were done`]),
    ...(extra!["changed"] === 0 ? [] : [`a frozen result was another one ${extra!["changed"]} times`]),
    ...(extra!["mostRepeated"]! <= 100 ? [] : [`${extra!["mostRepeated"]} rewards were handed over again`]),
    ...(extra!["unsettled"] === 0 ? [] : [`${extra!["unsettled"]} seasons were not settled`])
  ]
})

export default [settlersKilled]

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Semaphore from "effect/Semaphore"
import { Authenticator, Grpc, GrpcError, GrpcServer, RateLimits } from "xdooria/grpc"
import { layerClientLive, layerServerLive } from "xdooria/grpc/live"
import { layerLive as layerRedis } from "xdooria/redis/live"
import * as Fault from "../faults/Fault.ts"
import * as History from "../support/History.ts"
import { driver, eventually } from "../support/RedisBackends.ts"
import * as RedisServer from "../support/RedisServer.ts"
import { answering, handlers, live, player, PlayerService, start } from "./Game.ts"

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const quantile = (values: ReadonlyArray<number>, share: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
}

/** One call of a load, with what became of it. */
interface Done {
  readonly startedAt: number
  readonly millis: number
  readonly outcome: "ok" | "refused" | "failed"
}

const outcomeOf = (exit: Exit.Exit<unknown, unknown>): Done["outcome"] => {
  if (Exit.isSuccess(exit)) return "ok"
  const reason = exit.cause.reasons[0]
  const error = reason?._tag === "Fail" ? reason.error : undefined
  return error instanceof GrpcError && error.reason._tag === "ResourceExhausted" ? "refused" : "failed"
}

const timed = (call: Effect.Effect<unknown, unknown>): Effect.Effect<Done> =>
  Effect.gen(function* () {
    const startedAt = yield* Clock.currentTimeMillis
    const exit = yield* Effect.exit(call)
    return { startedAt, millis: (yield* Clock.currentTimeMillis) - startedAt, outcome: outcomeOf(exit) }
  })

/** Begins so many calls in a second, whether earlier ones have ended or not, and waits for all. */
const offer = (
  rate: number,
  seconds: number,
  call: (n: number) => Effect.Effect<unknown, unknown>
): Effect.Effect<ReadonlyArray<Done>> =>
  Effect.gen(function* () {
    const begunAt = yield* Clock.currentTimeMillis
    const done: Array<Done> = []
    let begun = 0
    while (begun < rate * seconds) {
      const due = Math.min(rate * seconds, (((yield* Clock.currentTimeMillis) - begunAt) * rate) / 1000)
      while (begun < due) {
        yield* Effect.forkScoped(Effect.map(timed(call(begun++)), (one) => done.push(one)))
      }
      yield* Effect.sleep(2)
    }
    while (done.length < begun) yield* Effect.sleep(5)
    return done
  }).pipe(Effect.scoped)

const tick = 10

/**
 * How long the process kept waiting what came while an effect took, in milliseconds, at all moments but a hundredth: it
 * is made of moments, and not of pauses, as the calls of a steady load are.
 */
const withLateness = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const moments: Array<number> = []
  const watch = yield* Effect.forkChild(
    Effect.forever(
      Effect.map(Effect.timed(Effect.sleep(tick)), ([spent]) => {
        for (let left = Duration.toMillis(spent) - tick; left > -tick; left -= tick) moments.push(Math.max(0, left))
      })
    )
  )
  const value = yield* effect
  yield* Fiber.interrupt(watch)
  return [value, Math.round(quantile(moments, 0.99))] as const
})

const latencies = (done: ReadonlyArray<Done>, outcome: Done["outcome"]): ReadonlyArray<number> =>
  done.filter((one) => one.outcome === outcome).map(({ millis }) => millis)

/** What is let in until it shows that it is too much has to wait for its turn all the same. */
const onsetMillis = 1000

/** A handler that is done with so many calls at once, each in its time; the machine may make that longer. */
const makeWorker = (atOnce: number, sleepMillis: number) =>
  Effect.map(Semaphore.make(atOnce), (semaphore) => {
    const applied: Array<string> = []
    let workedMillis = 0
    const gainExp = ({ requestId }: { readonly requestId: string }) =>
      Effect.timed(Effect.sleep(sleepMillis)).pipe(
        semaphore.withPermit,
        Effect.map(([took]) => {
          applied.push(requestId)
          workedMillis += Duration.toMillis(took)
          return { player: player("p1"), levelsGained: 0 }
        })
      )
    /** How many calls it ended, and how long it was at one. */
    const work = () => ({ calls: applied.length, millis: workedMillis })
    return { applied, gainExp, work }
  })

type Times = Readonly<Record<"acceptedP99" | "backMs" | "delayMs" | "noiseMs" | "refusedP99" | "usualP99", number>>

/** What took longer than it may. */
const tooLate = ({ acceptedP99, backMs, delayMs, noiseMs, refusedP99, usualP99 }: Times): ReadonlyArray<string> => {
  // Taken out is how late the process was before, once for each time that a call waits for it: when it is sent, served
  // and answered, and when its handler begins and ends.
  const longest = (millis: number, waits: number) => millis + waits * noiseMs
  return [
    ...(refusedP99 > longest(50, 3) ? [`it took ${refusedP99} ms to refuse`] : []),
    ...(acceptedP99 > longest(3 * usualP99, 5)
      ? [`accepted calls took ${acceptedP99} ms, usually ${usualP99} ms`]
      : []),
    ...(delayMs > longest(100, 1) ? [`the event loop was late by ${delayMs} ms`] : []),
    ...(backMs > 5000 ? [`it took ${backMs} ms until all was as usual`] : [])
  ]
}

const overload = Fault.scenario({
  id: "F49",
  room: "grpc",
  title: "three times as many calls as a handler bears",
  // Beside other tests the processor is the limit, and times are theirs.
  scaled: { atOnce: 10, sleepMillis: 60, usualSeconds: 0.6, overloadSeconds: 3.2, afterSeconds: 0.6, isTimed: false },
  full: { atOnce: 10, sleepMillis: 20, usualSeconds: 10, overloadSeconds: 60, afterSeconds: 10, isTimed: true },
  run: ({ afterSeconds, atOnce, overloadSeconds, sleepMillis, usualSeconds }) =>
    Effect.gen(function* () {
      const history = yield* History.make
      const { applied, gainExp, work } = yield* makeWorker(atOnce, sleepMillis)
      const game = yield* start(live(), handlers({ gainExp }))
      const gain = (phase: string) => (n: number) => {
        const requestId = `${phase} ${n}`
        return game.gainExp({ playerId: "p1", requestId, amount: 1n }).pipe(
          Effect.tap(() => history.acked(requestId)),
          Effect.tapError((error) =>
            error instanceof GrpcError && error.reason._tag === "OutcomeUnknown"
              ? history.unknown(requestId)
              : history.failed(requestId)
          )
        )
      }
      const usually = Effect.gen(function* () {
        // As many callers as it serves at once, each with the next call when it has the last: what it does at most.
        const calls = Math.round((usualSeconds * 1000 * atOnce) / sleepMillis)
        const [spent, busy] = yield* Effect.timed(
          Effect.forEach(Array.from({ length: calls }), (_, n) => timed(gain("peak")(n)), { concurrency: atOnce })
        )
        const peak = calls / Duration.toSeconds(spent)
        return { peak, busy, usual: yield* offer(peak / 2, usualSeconds, gain("usual")) }
      })

      const [{ busy, peak, usual }, noiseMs] = yield* withLateness(usually)
      const before = work()
      const overloadedAt = yield* Clock.currentTimeMillis
      // On a busy machine the peak was that of a cold process.
      const rate = Math.max(3 * peak, (1000 * atOnce) / sleepMillis)
      const [overloaded, delayMs] = yield* withLateness(offer(rate, overloadSeconds, gain("overload")))
      yield* history.healed
      const overAt = yield* Clock.currentTimeMillis
      const during = work()
      const after = yield* offer(peak / 2, afterSeconds, gain("after"))

      const usualP99 = quantile(latencies([...busy, ...usual], "ok"), 0.99)
      const settled = overloaded.filter(({ startedAt }) => startedAt >= overloadedAt + onsetMillis)
      const unusual = after.filter(({ millis, outcome }) => outcome !== "ok" || millis > 3 * usualP99)
      // A machine that has other work makes every call longer: then fewer are as much as it can do.
      const slower = (during.millis - before.millis) / (during.calls - before.calls) / (before.millis / before.calls)
      const goodput = latencies(overloaded, "ok").length / ((overAt - overloadedAt) / 1000)
      const verdict = yield* history.verdict(applied)
      return {
        ...verdict,
        extra: {
          peak,
          goodput,
          goodputShare: (goodput * slower) / peak,
          usualP99,
          acceptedP99: quantile(latencies(settled, "ok"), 0.99),
          acceptedP99WithOnset: quantile(latencies(overloaded, "ok"), 0.99),
          refused: latencies(overloaded, "refused").length,
          refusedP99: quantile(latencies(overloaded, "refused"), 0.99),
          refusedUsually: latencies([...busy, ...usual], "refused").length,
          failed: latencies([...busy, ...usual, ...overloaded, ...after], "failed").length,
          noiseMs,
          delayMs,
          backMs: Math.max(0, ...unusual.map(({ startedAt }) => startedAt - overAt))
        }
      }
    }).pipe(quiet),
  judge: ({ extra }, { isTimed }) => {
    const { failed, goodputShare, refused, refusedUsually } = extra
    return [
      ...(goodputShare < 0.8 ? [`${goodputShare} of what it does at best`] : []),
      ...(refused === 0 ? ["no call was refused"] : []),
      ...(failed > 0 ? [`${failed} calls failed otherwise`] : []),
      ...(refusedUsually > 0 ? [`${refusedUsually} calls were refused without an overload`] : []),
      ...(isTimed ? tooLate(extra) : [])
    ]
  }
})

const limit = 40

const LimitedApi = Grpc.api(PlayerService, {
  getPlayer: { public: true },
  gainExp: { rate: { limit, window: "1 second", by: "principal" } },
  createPlayer: { public: true },
  healthCheck: { public: true }
})

const principals = ["usual", "greedy", "back"].map(
  (playerId) => [playerId, { playerId, roles: [], tokenId: playerId }] as const
)

const redisDown = Fault.scenario({
  id: "F53",
  room: "grpc",
  title: "Redis goes down while it counts calls",
  // Beside other tests times are theirs.
  scaled: { rate: 100, upSeconds: 0.4, downSeconds: 1.2, isTimed: false },
  full: { rate: 200, upSeconds: 5, downSeconds: 30, isTimed: true },
  run: ({ downSeconds, rate, upSeconds }) =>
    Effect.gen(function* () {
      const history = yield* History.make
      const applied: Array<string> = []
      const redis = yield* RedisServer.start()
      const served = Grpc.handlers(
        LimitedApi,
        Effect.succeed({
          ...answering,
          gainExp: ({ playerId, requestId }) =>
            Effect.sync(() => {
              applied.push(requestId)
              return { player: player(playerId), levelsGained: 0 }
            })
        })
      )
      const rooms = Layer.mergeAll(
        layerServerLive({ port: 0, env: "test", drainDelay: Duration.zero }),
        layerClientLive(),
        Authenticator.layerStatic(Object.fromEntries(principals)),
        RateLimits.layerRedis.pipe(Layer.provide(layerRedis({ addrs: [`${redis.host}:${redis.port}`] })))
      )
      const context = yield* Layer.build(GrpcServer.serve(served).pipe(Layer.provideMerge(rooms)))
      const target = yield* Context.get(context, GrpcServer).address
      const game = yield* Grpc.client(LimitedApi, { target }).pipe(Effect.provide(context))
      const gain = (playerId: string, phase: string) => (n: number) => {
        const requestId = `${playerId} ${phase} ${n}`
        const metadata = { authorization: `Bearer ${playerId}` }
        return game.gainExp({ playerId, requestId, amount: 1n }, { metadata }).pipe(
          Effect.tap(() => history.acked(requestId)),
          Effect.tapError(() => history.failed(requestId))
        )
      }
      // One keeps to a quarter of the limit, the other has all the rest of the load.
      const load = (phase: string, seconds: number) =>
        Effect.all(
          [offer(limit / 4, seconds, gain("usual", phase)), offer(rate - limit / 4, seconds, gain("greedy", phase))],
          { concurrency: 2 }
        )

      const [[usualUp], noiseMs] = yield* withLateness(load("up", upSeconds))
      yield* redis.kill()
      const [usualDown, greedyDown] = yield* load("down", downSeconds)
      yield* redis.restart
      yield* history.healed
      const healedAt = yield* Clock.currentTimeMillis
      const native = yield* driver({ addrs: [`${redis.host}:${redis.port}`] })
      let back = 0
      yield* eventually(
        "counted by Redis",
        Effect.andThen(
          Effect.exit(Effect.suspend(() => gain("back", "back")(back++))),
          Effect.promise(async () => (await native.keys("*{back}")).length > 0)
        )
      )
      const backMs = (yield* Clock.currentTimeMillis) - healedAt
      const [usualBack] = yield* load("back", upSeconds)

      const usual = [...usualUp, ...usualDown, ...usualBack]
      const verdict = yield* history.verdict(applied)
      return {
        ...verdict,
        extra: {
          downP99: quantile(
            [...usualDown, ...greedyDown].map(({ millis }) => millis),
            0.99
          ),
          refusedUsual: latencies(usual, "refused").length,
          failed: latencies([...usual, ...greedyDown], "failed").length,
          greedyPassed: latencies(greedyDown, "ok").length,
          greedyRefused: latencies(greedyDown, "refused").length,
          noiseMs,
          backMs
        }
      }
    }).pipe(quiet),
  judge: ({ extra }, { downSeconds, isTimed }) => {
    const { backMs, downP99, failed, greedyPassed, greedyRefused, noiseMs, refusedUsual } = extra
    return [
      ...(isTimed && downP99 > 100 + 3 * noiseMs ? [`calls took ${downP99} ms without Redis`] : []),
      ...(refusedUsual > 0 ? [`${refusedUsual} calls of a caller within the limit were refused`] : []),
      ...(failed > 0 ? [`${failed} calls failed otherwise`] : []),
      // A window may begin before and end after.
      ...(greedyPassed > limit * (downSeconds + 2) ? [`${greedyPassed} calls of one caller passed without Redis`] : []),
      ...(greedyRefused === 0 ? ["no call was refused without Redis"] : []),
      ...(backMs > 10_000 ? [`it took ${backMs} ms until Redis counted again`] : [])
    ]
  }
})

export default [overload, redisDown]

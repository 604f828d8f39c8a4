// Calls of every kind that their callers give up at random moments: nothing of them may be left, on either side.
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Grpc, GrpcError, GrpcServer } from "xdooria/grpc"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as Fault from "../faults/Fault.ts"
import * as Leaks from "../support/Leaks.ts"
import { GameApi, handlers, live, player, response, StreamApi, streamHandlers } from "./Game.ts"

/** The heap that is in use when all that is not is collected, in kilobytes. */
const heapKilobytes = (): number => {
  setFlagsFromString("--expose-gc")
  const collect = runInNewContext("gc") as () => void
  collect()
  return Math.round(process.memoryUsage().heapUsed / 1024)
}

/** Timers that keep the process alive. */
const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length

/** What there is now and was not before. A timer may be another one: the server sets its own anew. */
const remains = (before: Leaks.Snapshot, timersBefore: number): number =>
  Leaks.since(before).filter((leak) => !leak.startsWith("timer ")).length + Math.max(0, timers() - timersBefore)

const shortly = Effect.flatMap(Random.nextBetween(0, 20), (millis) => Effect.sleep(Duration.millis(millis)))

/** Something that a handler holds as long as it runs, as a connection of a pool. */
const held = () => {
  const now = { count: 0, most: 0 }
  const hold = Effect.acquireRelease(
    Effect.sync(() => {
      now.most = Math.max(now.most, ++now.count)
    }),
    () => Effect.sync(() => now.count--)
  )
  return { now, hold }
}

/** A server that is slow, as on a busy machine, may refuse some. */
const isShed = (exit: Exit.Exit<unknown, unknown>): boolean => {
  const error = Exit.findErrorOption(exit)
  return Option.isSome(error) && error.value instanceof GrpcError && error.value.reason._tag === "ResourceExhausted"
}

/** Calls that have not ended, as the metrics of a side tell. */
const activeCalls = (side: "server" | "client") =>
  Effect.map(Metric.snapshot, (metrics) =>
    metrics
      .filter(({ id }) => id === `rpc.${side}.active_calls`)
      .reduce((sum, { state }) => sum + Number((state as { readonly value: number | bigint }).value), 0)
  )

// No call ends but by itself or by its caller, however slow the machine is.
const patient = {
  concurrencyLimit: 100_000,
  deadline: Duration.minutes(5),
  maxDeadline: Duration.minutes(5),
  attemptTimeout: Duration.minutes(5)
}

const start = Effect.fnUntraced(function* (hold: Effect.Effect<unknown, never, Scope.Scope>) {
  const work = Effect.scoped(Effect.andThen(hold, shortly))
  const game = handlers({
    getPlayer: () => Effect.as(work, response("p1")),
    gainExp: () => Effect.as(work, { player: player("p1"), levelsGained: 0 })
  })
  const streams = streamHandlers({
    watch: () =>
      Stream.unwrap(Effect.as(hold, Stream.fromEffectRepeat(Effect.as(shortly, response("p1"))).pipe(Stream.take(20)))),
    sum: (requests: Stream.Stream<unknown>) =>
      Effect.scoped(Effect.andThen(hold, Effect.as(Stream.runDrain(requests), response("p1")))),
    talk: (requests: Stream.Stream<unknown>) =>
      Stream.unwrap(
        Effect.as(
          hold,
          Stream.mapEffect(requests, () => Effect.as(shortly, response("p1")))
        )
      )
  })
  const context = yield* Layer.build(GrpcServer.serve(game, streams).pipe(Layer.provideMerge(live(patient))))
  const target = yield* Context.get(context, GrpcServer).address
  const [one, many] = yield* Effect.all([Grpc.client(GameApi, { target }), Grpc.client(StreamApi, { target })]).pipe(
    Effect.provide(context)
  )
  const requests = Stream.fromEffectRepeat(Effect.as(shortly, { playerId: "p1" })).pipe(Stream.take(5))
  return [
    one.getPlayer({ playerId: "p1" }),
    one.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }),
    Stream.runDrain(many.watch({ playerId: "p1" })),
    many.sum(requests),
    Stream.runDrain(many.talk(requests))
  ] as ReadonlyArray<Effect.Effect<unknown, unknown>>
})

const cancelStorm = Fault.scenario({
  id: "F47",
  room: "grpc",
  title: "calls of every kind that are given up at random",
  scaled: { calls: 1000, concurrency: 100 },
  full: { calls: 20_000, concurrency: 200 },
  run: ({ calls, concurrency }, seed) =>
    Effect.gen(function* () {
      const { hold, now } = held()
      const kinds = yield* start(hold)
      const extra = {
        shed: 0,
        cancelled: 0,
        failed: 0,
        afterwards: 0,
        most: 0,
        left: 0,
        active: 0,
        remaining: 0,
        settleMs: 0,
        heapKilobytes: 0
      }
      let acked = 0
      const one = Effect.gen(function* () {
        const call = yield* Effect.forkChild(yield* Random.choice(kinds), { startImmediately: true })
        const patience = yield* Random.nextBetween(0, 30)
        // One of ten is left alone.
        if (patience < 27) yield* Effect.andThen(Effect.sleep(Duration.millis(patience)), Fiber.interrupt(call))
        const exit = yield* Fiber.await(call)
        if (Exit.isSuccess(exit)) acked++
        else if (isShed(exit)) extra.shed++
        else if (Exit.hasInterrupts(exit)) extra.cancelled++
        else extra.failed++
      })
      const storm = (count: number) =>
        Effect.forEach(Array.from({ length: count }), () => one, { concurrency, discard: true }).pipe(
          Random.withSeed(seed)
        )
      // What is made once, such as code and metrics, is there from now on.
      yield* storm(Math.round(calls / 10))
      yield* Effect.sleep("200 millis")
      const before = Leaks.snapshot()
      const timersBefore = timers()
      const heapBefore = heapKilobytes()
      yield* storm(calls)
      const endedAt = yield* Clock.currentTimeMillis
      const look = Effect.andThen(
        Effect.sleep("10 millis"),
        Effect.sync(() => remains(before, timersBefore))
      )
      // In this fiber: another one would be counted.
      extra.remaining = yield* Effect.repeat(look, { until: (count) => count === 0, times: 200 })
      extra.settleMs = (yield* Clock.currentTimeMillis) - endedAt
      extra.left = now.count
      extra.most = now.most
      extra.active = (yield* activeCalls("server")) + (yield* activeCalls("client"))
      extra.heapKilobytes = heapKilobytes() - heapBefore
      for (const kind of kinds) if (Exit.isFailure(yield* Effect.exit(kind))) extra.afterwards++
      return { acked, lost: 0, duplicated: 0, unknown: 0, maxOutageMs: 0, recoverMs: extra.settleMs, extra }
      // A recorder of lines would grow with the calls.
    }).pipe(Effect.provide(Logger.layer([]))),
  judge: ({ extra = {} }, { calls }) => {
    const { active, afterwards, cancelled, failed, heapKilobytes, left, remaining } = extra as Record<string, number>
    return [
      ...(cancelled! < calls / 2 ? [`only ${cancelled} of ${calls} calls were cancelled`] : []),
      ...(failed! > 0 ? [`${failed} calls failed that were not given up`] : []),
      ...(left! > 0 ? [`${left} handlers hold what they took`] : []),
      ...(active! > 0 ? [`${active} calls have not ended`] : []),
      ...(remaining! > 0 ? [`${remaining} fibers, timers or sockets more than before`] : []),
      ...(afterwards! > 0 ? [`${afterwards} kinds of calls fail afterwards`] : []),
      ...(heapKilobytes! > 8192 ? [`the heap has grown by ${heapKilobytes} KB`] : [])
    ]
  }
})

export default [cancelStorm]

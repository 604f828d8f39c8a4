// Three servers in processes of their own, and a client under load that is to notice little of what happens to them.
import * as grpc from "@grpc/grpc-js"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { Grpc, GrpcError } from "xdooria/grpc"
import { layerClientLive } from "xdooria/grpc/live"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { GameServiceService } from "../../src/gen/game.ts"
import * as Fault from "../faults/Fault.ts"
import * as Child from "../support/Child.ts"
import * as History from "../support/History.ts"
import { load } from "../support/Rate.ts"
import type { Report, Settings } from "./FleetMember.ts"
import { GameApi, StreamApi } from "./Game.ts"

const program = new URL("FleetMember.ts", import.meta.url)

interface Member {
  readonly address: string
  readonly signal: (name: NodeJS.Signals) => Effect.Effect<void>
  /** Stops it in order, and serves again at the same address. */
  readonly restart: Effect.Effect<void>
}

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "fleet-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const begin = Effect.fnUntraced(function* (settings: Settings) {
  const child = yield* Child.start<Report>(program, settings)
  const served = (times: number) =>
    Effect.map(
      child.reports.atLeast(times, ({ at }) => at === "listening"),
      (reports) => reports[0] as Extract<Report, { readonly at: "listening" }>
    )
  yield* child.reports.first(({ at }) => at === "loaded")
  yield* child.order
  const { address } = yield* served(1)
  const member: Member = {
    address,
    signal: child.signal,
    restart: Effect.gen(function* () {
      yield* child.signal("SIGTERM")
      yield* child.reports.first(({ at }) => at === "stopped")
      yield* child.order
      yield* served(2)
    })
  }
  return member
})

const three = [0, 1, 2]

/** Three servers, and what they applied. */
const fleet = Effect.gen(function* () {
  const path = yield* folder
  const members = yield* Effect.forEach(
    three,
    (i) => begin({ file: join(path, `${i}`), drainSeconds: 0.2, graceSeconds: 2 }),
    { concurrency: "unbounded" }
  ).pipe(Effect.timeout("20 seconds"))
  const applied = Effect.sync(() =>
    readdirSync(path).flatMap((name) => readFileSync(join(path, name), "utf8").trim().split("\n"))
  )
  return { members, applied }
})

interface Params {
  readonly reads: number
  readonly writes: number
  readonly streams: number
  readonly millis: number
  readonly faultAtMillis: number
  readonly deadlineMillis: number
  /** Whether a server may refuse calls as too many: beside other tests it has little of the processor. */
  readonly mayRefuse: boolean
}

type Fleet = Effect.Success<typeof fleet>

/** Runs reads, writes and streams against the fleet while something happens to it. */
const underLoad = (params: Params, happen: (fleet: Fleet) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    const history = yield* History.make
    const running = yield* fleet
    const context = yield* Layer.build(layerClientLive())
    const target = Grpc.endpoints(
      running.members.map(({ address }) => address),
      { keepalive: "true" }
    )
    const [game, streams] = yield* Effect.all([
      Grpc.client(GameApi, { target }),
      Grpc.client(StreamApi, { target })
    ]).pipe(Effect.provide(context))
    const deadline = Duration.millis(params.deadlineMillis)
    const failures = new Map<string, number>()
    const seen = { slowest: 0, longestGap: 0, streamsBroken: 0 }
    const count = (what: string) => failures.set(what, (failures.get(what) ?? 0) + 1)

    const read = Effect.fnUntraced(function* () {
      const startedAt = yield* Clock.currentTimeMillis
      const exit = yield* Effect.exit(game.getPlayer({ playerId: "p1" }, { deadline }))
      seen.slowest = Math.max(seen.slowest, (yield* Clock.currentTimeMillis) - startedAt)
      if (Exit.isSuccess(exit)) return
      const error = Option.getOrUndefined(Exit.findErrorOption(exit))
      const isRefused = error instanceof GrpcError && error.reason._tag === "ResourceExhausted"
      count(isRefused ? "refused reads" : "failed reads")
    })
    const write = Effect.fnUntraced(function* (i: number) {
      const requestId = `w${i}`
      const exit = yield* Effect.exit(game.gainExp({ playerId: "p1", requestId, amount: 1n }, { deadline }))
      if (Exit.isSuccess(exit)) return yield* history.acked(requestId)
      const error = Option.getOrUndefined(Exit.findErrorOption(exit))
      if (error instanceof GrpcError && error.reason._tag === "OutcomeUnknown") return yield* history.unknown(requestId)
      const isRefused = error instanceof GrpcError && error.reason._tag === "ResourceExhausted"
      count(isRefused ? "refused writes" : "writes that failed with a known outcome")
      yield* history.failed(requestId)
    })
    // A stream that breaks is opened again at once; what counts is how long nothing came.
    const follow = Effect.gen(function* () {
      let last = yield* Clock.currentTimeMillis
      const once = streams.watch({ playerId: "p1" }).pipe(
        Stream.runForEach(() =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            seen.longestGap = Math.max(seen.longestGap, now - last)
            last = now
          })
        )
      )
      return yield* Effect.forever(
        Effect.catch(once, () =>
          Effect.andThen(
            Effect.sleep("20 millis"),
            Effect.sync(() => void seen.streamsBroken++)
          )
        )
      )
    })

    // Everything is connected before the first call counts.
    yield* Effect.forEach(three, () => game.getPlayer({ playerId: "p1" }, { waitForReady: true }))
    const following = yield* Effect.forEach(Array.from({ length: params.streams }), () => Effect.forkChild(follow))
    const fault = yield* Effect.forkChild(Effect.andThen(Effect.sleep(params.faultAtMillis), happen(running)))
    yield* Effect.all([load(params.reads, params.millis, read), load(params.writes, params.millis, write)], {
      concurrency: 2
    })
    yield* Fiber.join(fault)
    yield* Fiber.interruptAll(following)
    const verdict = yield* history.verdict(yield* running.applied)
    return { ...verdict, extra: { ...seen, ...Object.fromEntries(failures) } }
  })

const complaintsOf = ({ extra = {} }: Fault.Measured, { mayRefuse }: Params): ReadonlyArray<string> =>
  [
    "failed reads",
    "writes that failed with a known outcome",
    ...(mayRefuse ? [] : ["refused reads", "refused writes"])
  ].flatMap((what) => ((extra[what] ?? 0) > 0 ? [`${extra[what]} ${what}`] : []))

const scaled: Params = {
  reads: 100,
  writes: 20,
  streams: 4,
  millis: 1800,
  faultAtMillis: 400,
  deadlineMillis: 2000,
  mayRefuse: true
}
const full: Params = {
  reads: 500,
  writes: 100,
  streams: 50,
  millis: 20_000,
  faultAtMillis: 5000,
  deadlineMillis: 2000,
  mayRefuse: false
}

const rollingRestart = Fault.scenario({
  id: "F43",
  room: "grpc",
  title: "servers are restarted one after the other",
  scaled,
  full,
  run: (params) =>
    underLoad(params, ({ members }) => Effect.forEach(members, ({ restart }) => restart, { discard: true })),
  judge: (measured, params) => [
    ...complaintsOf(measured, params),
    ...(measured.unknown > 0 ? [`${measured.unknown} writes of unknown outcome`] : []),
    ...(measured.extra["longestGap"]! > 2000 ? [`a stream stood for ${measured.extra["longestGap"]} ms`] : [])
  ]
})

const killed = Fault.scenario({
  id: "F44",
  room: "grpc",
  title: "one of three servers is killed",
  scaled,
  full,
  run: (params) => underLoad(params, ({ members }) => members[1]!.signal("SIGKILL")),
  judge: (measured, params) => [
    ...complaintsOf(measured, params),
    // What was under way there: a handler takes 20 ms, and a busy machine has some more.
    ...(measured.unknown > params.writes / 10 ? [`${measured.unknown} writes of unknown outcome`] : [])
  ]
})

const frozen = Fault.scenario({
  id: "F45",
  room: "grpc",
  title: "one of three servers is frozen",
  scaled,
  full,
  run: (params) =>
    Effect.gen(function* () {
      const thaw = params.millis > 15_000 ? 15_000 : params.millis
      return yield* underLoad(params, ({ members }) =>
        Effect.acquireUseRelease(
          members[1]!.signal("SIGSTOP"),
          () => Effect.sleep(thaw),
          () => members[1]!.signal("SIGCONT")
        )
      )
    }),
  judge: (measured, params) => [
    ...complaintsOf(measured, params),
    // Until reads have found out, every third write goes there.
    ...(measured.unknown > params.writes / 2 ? [`${measured.unknown} writes of unknown outcome`] : [])
  ]
})

/** A server that says UNAVAILABLE to every second call, and counts them. */
const failing = (random: () => boolean) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<readonly [grpc.Server, string, () => number]>((resume) => {
        let calls = 0
        const server = new grpc.Server()
        server.addService({ getPlayer: GameServiceService.getPlayer } as unknown as grpc.ServiceDefinition, {
          getPlayer: (_: unknown, reply: grpc.sendUnaryData<unknown>) => {
            calls++
            if (random()) reply({ code: grpc.status.UNAVAILABLE, details: "" })
            else reply(null, { player: undefined })
          }
        })
        server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_, port) =>
          resume(Effect.succeed([server, `127.0.0.1:${port}`, () => calls]))
        )
      }),
      ([server]) => Effect.sync(() => server.forceShutdown())
    ),
    ([, address, calls]) => ({ address, calls })
  )

const retryStorm = Fault.scenario({
  id: "F52",
  room: "grpc",
  title: "half of all calls fail: retries do not add to it",
  scaled: { rate: 300, millis: 1500 },
  full: { rate: 300, millis: 30_000 },
  run: ({ millis, rate }, seed) =>
    Effect.gen(function* () {
      const random = yield* Random.Random
      const { address, calls } = yield* failing(() => random.nextDoubleUnsafe() < 0.5)
      const context = yield* Layer.build(layerClientLive())
      const game = yield* Grpc.client(GameApi, { target: address }).pipe(Effect.provide(context))
      let failed = 0
      const made = yield* load(rate, millis, () =>
        Effect.catch(Effect.asVoid(game.getPlayer({ playerId: "p1" })), () => Effect.sync(() => void failed++))
      )
      return {
        acked: made - failed,
        lost: 0,
        duplicated: 0,
        unknown: 0,
        maxOutageMs: 0,
        recoverMs: 0,
        extra: { amplification: calls() / made, failed: failed / made }
      }
    }).pipe(Random.withSeed(seed)),
  judge: ({ extra: { amplification, failed } }) => [
    ...(amplification > 1.1 ? [`${amplification.toFixed(3)} calls arrived for each that was made`] : []),
    ...(amplification < 1.05 ? [`hardly any call was repeated`] : []),
    ...(failed > 0.55 ? [`${failed} of the calls failed`] : [])
  ]
})

export default [rollingRestart, killed, frozen, retryStorm]

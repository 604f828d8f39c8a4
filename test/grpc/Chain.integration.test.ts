// What every call passes on its way, wired, over real sockets: traces, metrics, shedding, rates.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { Authenticator, Grpc, GrpcError, GrpcServer } from "xdooria/grpc"
import { layerClientLive, layerServerLive } from "xdooria/grpc/live"
import { LoggerTest } from "xdooria/logger"
import * as Recorder from "../support/Recorder.ts"
import {
  answering,
  Banned,
  handlers,
  live,
  player,
  PlayerNotFound,
  PlayerService,
  response,
  start,
  StreamService
} from "./Game.ts"
import * as Raw from "./Raw.ts"
import { recorder } from "./Spans.ts"

/** Metrics of this test alone. */
const isolated = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(Effect.provideService(Metric.MetricRegistry, new Map()), Effect.provide(LoggerTest), Effect.scoped)

/** A server that passes getPlayer on to a second, where `seen` gets the span that its handler is in. */
const hop = Effect.fnUntraced(function* (seen: (span: Tracer.AnySpan | undefined) => void) {
  const last = yield* start(
    live(),
    handlers({
      getPlayer: () =>
        Effect.map(Effect.context<never>(), (context) => {
          seen(Context.getOrUndefined(context, Tracer.ParentSpan))
          return response("p1")
        })
    })
  )
  return yield* start(live(), handlers({ getPlayer: (request: never) => Effect.orDie(last.getPlayer(request)) }))
})

describe("a trace", () => {
  it.live("goes through a hop, with a span for each side of each call", () => {
    const { spans, tracer } = recorder()
    return Effect.gen(function* () {
      let innermost: Tracer.AnySpan | undefined
      const first = yield* hop((span) => (innermost = span))
      yield* first.getPlayer({ playerId: "p1" }).pipe(Effect.withSpan("root"))
      const calls = spans.filter(({ name }) => name !== "root")
      assert.deepStrictEqual(
        calls.map(({ kind, name }) => [kind, name]),
        ["client", "server", "client", "server"].map((kind) => [kind, "game.GameService/GetPlayer"])
      )
      const root = spans.find(({ name }) => name === "root")!
      const chain = [root, ...calls]
      calls.forEach((span, i) => {
        const parent = Option.getOrThrow(span.parent)
        assert.strictEqual(parent.spanId, chain[i]!.spanId)
        assert.strictEqual(span.traceId, root.traceId)
        assert.strictEqual(span.status._tag, "Ended")
        assert.strictEqual(span.attributes.get("rpc.response.status_code"), "OK")
      })
      assert.strictEqual(innermost, calls[3])
    }).pipe(Effect.withTracer(tracer), isolated)
  })

  it.live("passes a service that records none as it came", () =>
    Effect.gen(function* () {
      const seen: Array<Tracer.AnySpan | undefined> = []
      const first = yield* hop((span) => seen.push(span))
      const raw = yield* Raw.connect(first.address)
      const ask = (traceparent?: string) =>
        raw.call("/game.GameService/GetPlayer", Raw.frame(new Uint8Array()), {
          headers: traceparent === undefined ? {} : { traceparent }
        })
      const [trace, span] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"]
      for (const traceparent of [`00-${trace}-${span}-01`, `00-${trace}-${span}-00`, "00-garbage", undefined]) {
        assert.strictEqual((yield* ask(traceparent)).status, 0)
      }
      assert.deepStrictEqual(
        seen.map((span) => span && [span.traceId, span.spanId, span.sampled]),
        [[trace, span, true], [trace, span, false], undefined, undefined]
      )
    }).pipe(isolated)
  )

  it.live("is not recorded when its caller did not want it, and passes on so", () => {
    const { spans, tracer } = recorder()
    return Effect.gen(function* () {
      const seen: Array<Tracer.AnySpan | undefined> = []
      const first = yield* hop((span) => seen.push(span))
      const raw = yield* Raw.connect(first.address)
      const headers = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00" }
      yield* raw.call("/game.GameService/GetPlayer", Raw.frame(new Uint8Array()), { headers })
      assert.strictEqual(seen[0]?.spanId, "b7ad6b7169203331")
      assert.strictEqual(seen[0]?.sampled, false)
      assert.deepStrictEqual(spans, [])
    }).pipe(Effect.withTracer(tracer), isolated)
  })

  it.live("says which side is to blame", () => {
    const { spans, tracer } = recorder()
    return Effect.gen(function* () {
      const game = yield* start(
        live(),
        handlers({
          getPlayer: () => Effect.fail(new Banned({ until: 1 })),
          gainExp: () => Effect.die(new Error("a bug"))
        })
      )
      yield* Effect.exit(game.getPlayer({ playerId: "p1" }))
      yield* Effect.exit(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }))
      const ends = spans.map(({ attributes, kind, status }) => [
        kind,
        attributes.get("rpc.response.status_code"),
        attributes.get("error.type"),
        status._tag === "Ended" && Exit.isFailure(status.exit)
      ])
      assert.deepStrictEqual(ends, [
        ["client", "PERMISSION_DENIED", "PERMISSION_DENIED", true],
        ["server", "PERMISSION_DENIED", undefined, false],
        ["client", "INTERNAL", "INTERNAL", true],
        ["server", "INTERNAL", "INTERNAL", true]
      ])
    }).pipe(Effect.withTracer(tracer), isolated)
  })
})

/** How many calls ended so, by side, method and status; and how many have not ended. */
const counts = Effect.map(Metric.snapshot, (snapshot) => {
  const ended: Record<string, number> = {}
  let active = 0
  for (const { attributes, id, state } of snapshot) {
    if (id.endsWith(".active_calls")) active += (state as { readonly value: number }).value
    if (!id.endsWith(".call.duration")) continue
    const [, side] = id.split(".")
    const method = attributes!["rpc.method"]!.split("/")[1]
    ended[`${side} ${method} ${attributes!["rpc.response.status_code"]}`] = (state as Metric.HistogramState).count
  }
  return { ended, active }
})

describe("metrics", () => {
  it.live("count calls by side, method and status", () =>
    Effect.gen(function* () {
      const entered = yield* Deferred.make<void>()
      const left = yield* Deferred.make<void>()
      const game = yield* start(
        live({ maxMessageSize: 1000 }),
        handlers({
          getPlayer: ({ playerId }: { readonly playerId: string }) =>
            playerId === "p1"
              ? Effect.succeed(response("p1"))
              : Effect.fail(new PlayerNotFound({ playerId, at: new Date(0), seen: 1n })),
          gainExp: () => Effect.die(new Error("a bug")),
          createPlayer: () =>
            Effect.onInterrupt(Effect.andThen(Deferred.succeed(entered, undefined), Effect.never), () =>
              Deferred.succeed(left, undefined)
            )
        })
      )
      yield* game.getPlayer({ playerId: "p1" })
      yield* game.getPlayer({ playerId: "p1" })
      yield* Effect.exit(game.getPlayer({ playerId: "p2" }))
      yield* Effect.exit(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }))
      yield* Effect.exit(game.getPlayer({ playerId: "p".repeat(2000) }))
      const cancelled = yield* Effect.forkChild(game.createPlayer({ playerId: "p1", name: "Ann" }))
      yield* Deferred.await(entered)
      assert.strictEqual((yield* counts).active, 2)
      yield* Fiber.interrupt(cancelled)
      yield* Deferred.await(left)
      assert.deepStrictEqual(yield* counts, {
        active: 0,
        ended: {
          "client GetPlayer OK": 2,
          "server GetPlayer OK": 2,
          "client GetPlayer NOT_FOUND": 1,
          "server GetPlayer NOT_FOUND": 1,
          "client GetPlayer RESOURCE_EXHAUSTED": 1,
          "client GainExp INTERNAL": 1,
          "server GainExp INTERNAL": 1,
          "client CreatePlayer CANCELLED": 1,
          "server CreatePlayer CANCELLED": 1
        }
      })
    }).pipe(isolated)
  )

  it.live("count streams once, when they have ended", () =>
    Effect.gen(function* () {
      const api = Grpc.api(StreamService, { watch: { public: true }, sum: { public: true }, talk: { public: true } })
      const served = Grpc.handlers(
        api,
        Effect.succeed({
          watch: () => Stream.fromIterable([response("p1"), response("p2")]),
          sum: (requests) => Effect.as(Stream.runDrain(requests), response("p1")),
          talk: (requests) => Stream.map(requests, () => response("p1"))
        })
      )
      const context = yield* Layer.build(GrpcServer.serve(served).pipe(Layer.provideMerge(live())))
      const target = yield* Context.get(context, GrpcServer).address
      const client = yield* Grpc.client(api, { target }).pipe(Effect.provide(context))
      const requests = Stream.fromIterable([{ playerId: "p1" }, { playerId: "p2" }])
      yield* Stream.runDrain(client.watch({ playerId: "p1" }))
      yield* client.sum(requests)
      yield* Stream.runDrain(client.talk(requests))
      assert.deepStrictEqual(yield* counts, {
        active: 0,
        ended: {
          "client Watch OK": 1,
          "server Watch OK": 1,
          "client Sum OK": 1,
          "server Sum OK": 1,
          "client Talk OK": 1,
          "server Talk OK": 1
        }
      })
    }).pipe(isolated)
  )
})

/** Why a call was refused. */
const refusal = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert(error instanceof GrpcError)
    return [error.reason._tag, "details" in error.reason && error.reason.details]
  })

describe("too many calls at once", () => {
  it.live("are refused at once, while those inside and other methods go on", () =>
    Effect.gen(function* () {
      const entered = yield* Recorder.make<string>()
      const gate = yield* Deferred.make<void>()
      const game = yield* start(
        live({ concurrencyLimit: 2 }),
        handlers({
          gainExp: ({ requestId }: { readonly requestId: string }) =>
            entered
              .record(requestId)
              .pipe(Effect.andThen(Deferred.await(gate)), Effect.as({ player: player("p1"), levelsGained: 0 }))
        })
      )
      const gain = (requestId: string) => game.gainExp({ playerId: "p1", requestId, amount: 1n })
      const inside = yield* Effect.forEach(["r1", "r2"], (id) => Effect.forkChild(gain(id)))
      yield* entered.atLeast(2)
      assert.deepStrictEqual(yield* refusal(gain("r3")), ["ResourceExhausted", "overloaded"])
      yield* game.getPlayer({ playerId: "p1" })
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(inside, Fiber.join)
      yield* gain("r4")
      assert.deepStrictEqual(yield* entered.all, ["r1", "r2", "r4"])
      assert.strictEqual((yield* counts).ended["server GainExp RESOURCE_EXHAUSTED"], 1)
    }).pipe(isolated)
  )

  it.live("leave room again when they are cancelled, or die", () =>
    Effect.gen(function* () {
      const entered = yield* Recorder.make<string>()
      const left = yield* Recorder.make<string>()
      const game = yield* start(
        live({ concurrencyLimit: 1 }),
        handlers({
          gainExp: ({ requestId }: { readonly requestId: string }) => {
            if (requestId === "dies") return Effect.die(new Error("a bug"))
            if (requestId === "answers") return Effect.succeed({ player: player("p1"), levelsGained: 0 })
            return Effect.onInterrupt(Effect.andThen(entered.record(requestId), Effect.never), () =>
              left.record(requestId)
            )
          }
        })
      )
      const gain = (requestId: string) => game.gainExp({ playerId: "p1", requestId, amount: 1n })
      for (const id of ["waits", "waits", "waits"]) {
        const before = (yield* left.all).length
        const fiber = yield* Effect.forkChild(gain(id))
        yield* entered.atLeast(before + 1)
        yield* Fiber.interrupt(fiber)
        yield* left.atLeast(before + 1)
        yield* Effect.exit(gain("dies"))
        yield* gain("answers")
      }
    }).pipe(isolated)
  )

  it.live("are no matter of streams of responses", () =>
    Effect.gen(function* () {
      const api = Grpc.api({ watch: StreamService.watch }, { watch: { public: true } })
      const served = Grpc.handlers(
        api,
        Effect.succeed({ watch: () => Stream.concat(Stream.succeed(response("p1")), Stream.never) })
      )
      const context = yield* Layer.build(
        GrpcServer.serve(served).pipe(Layer.provideMerge(live({ concurrencyLimit: 1 })))
      )
      const target = yield* Context.get(context, GrpcServer).address
      const client = yield* Grpc.client(api, { target }).pipe(Effect.provide(context))
      const open = Effect.forEach(
        [1, 2, 3],
        () => Effect.flatMap(Stream.toPull(client.watch({ playerId: "p1" })), (pull) => pull),
        { concurrency: 3 }
      )
      assert.strictEqual((yield* open).length, 3)
    }).pipe(isolated)
  )
})

describe("too many calls in a time", () => {
  const api = Grpc.api(PlayerService, {
    getPlayer: {},
    gainExp: { rate: { limit: 2, window: "1 hour", by: "all" } },
    createPlayer: { public: true, rate: { limit: 2, window: "1 hour", by: "principal" } },
    healthCheck: { public: true }
  })
  const served = Grpc.handlers(api, Effect.succeed(answering))
  const principal = (playerId: string) => ({ playerId, roles: [], tokenId: playerId })
  const serve = Effect.fnUntraced(function* (rateLimit: number) {
    const rooms = Layer.mergeAll(
      layerServerLive({ port: 0, env: "test", drainDelay: Duration.zero, rateLimit }),
      layerClientLive(),
      Authenticator.layerStatic({ ann: principal("ann"), annAgain: principal("ann"), bob: principal("bob") })
    )
    const context = yield* Layer.build(GrpcServer.serve(served).pipe(Layer.provideMerge(rooms)))
    const target = yield* Context.get(context, GrpcServer).address
    return yield* Grpc.client(api, { target }).pipe(Effect.provide(context))
  })
  const as = (token: string) => ({ metadata: { authorization: `Bearer ${token}` } })
  const exceeded = ["ResourceExhausted", "rate limit exceeded"]

  it.live("are counted for each principal, whatever its token, and each method", () =>
    Effect.gen(function* () {
      const game = yield* serve(2)
      const get = (token: string) => game.getPlayer({ playerId: "p1" }, as(token))
      // Two, of one moment, within a second: the others are refused however fast this runs.
      const [first, second, third, bob] = yield* Effect.forEach(
        [get("ann"), get("annAgain"), get("ann"), get("bob")],
        Effect.exit,
        { concurrency: "unbounded" }
      )
      assert.strictEqual([first, second, third].filter((exit) => Exit.isSuccess(exit!)).length, 2)
      assert.isTrue(Exit.isSuccess(bob!))
      yield* game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }, as("ann"))
    }).pipe(isolated)
  )

  it.live("are counted for all together when the rule of a method says so", () =>
    Effect.gen(function* () {
      const game = yield* serve(0)
      const gain = (token: string) => game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }, as(token))
      yield* gain("ann")
      yield* gain("bob")
      assert.deepStrictEqual(yield* refusal(gain("ann")), exceeded)
      for (let call = 0; call < 20; call++) yield* game.getPlayer({ playerId: "p1" }, as("ann"))
    }).pipe(isolated)
  )

  it.live("are counted by the peer in a public method, and only if its rule says so", () =>
    Effect.gen(function* () {
      const game = yield* serve(1)
      const create = game.createPlayer({ playerId: "p1", name: "Ann" })
      yield* create
      yield* create
      assert.deepStrictEqual(yield* refusal(create), exceeded)
      for (let call = 0; call < 20; call++) yield* game.healthCheck({})
    }).pipe(isolated)
  )

  it.live("do not count who is not known", () =>
    Effect.gen(function* () {
      const game = yield* serve(0)
      const gain = (token: string) => game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }, as(token))
      for (let call = 0; call < 5; call++) assert.strictEqual((yield* refusal(gain("eve")))[0], "Unauthenticated")
      yield* gain("ann")
      yield* gain("ann")
    }).pipe(isolated)
  )
})

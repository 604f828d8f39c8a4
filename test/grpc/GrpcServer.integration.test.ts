// What only a server on a socket promises: listening, health, reflection, and the end of it.
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { service as healthService } from "grpc-health-check"
import { ConfigTest } from "xdooria/config"
import { Grpc, GrpcError, GrpcServer, type ServeOptions } from "xdooria/grpc"
import { GrpcClientLive, GrpcServerLive, type GrpcServerOptions, layerServerLive } from "xdooria/grpc/live"
import { Health } from "xdooria/health"
import { HealthLive } from "xdooria/health/live"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import { descriptors } from "../../src/gen/descriptors.ts"
import * as Recorder from "../support/Recorder.ts"
import * as Raw from "./Raw.ts"
import { dial, GameApi, handlers, live, player, response, start, streamHandlers } from "./Game.ts"

const reasonOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.instanceOf(error, GrpcError)
    return error.reason
  })

/** Serves on a host and a port of its own. */
const serveOn = Effect.fnUntraced(function* (
  host: string,
  port: number,
  changes: Partial<GrpcServerOptions> = {},
  options: ServeOptions = {}
) {
  const layer = layerServerLive({ host, port, env: "test", drainDelay: Duration.zero, ...changes })
  const context = yield* Layer.build(GrpcServer.serve(handlers({}), options).pipe(Layer.provideMerge(layer)))
  return yield* Context.get(context, GrpcServer).address
})

/** A client of grpc-js itself, closed with the scope. */
const bare = (address: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new grpc.Client(address, grpc.credentials.createInsecure())),
    (client) => Effect.sync(() => client.close())
  )

describe("listening", () => {
  it.live("on a port that is taken fails with its address and what to do", () =>
    Effect.gen(function* () {
      const address = yield* serveOn("127.0.0.1", 0)
      const reason = yield* reasonOf(serveOn("127.0.0.1", Number(address.split(":")[1])))
      assert.strictEqual(reason._tag, "AddressInUse")
      assert.include(reason.message, address)
      for (const variable of ["XDOORIA_SERVER_PORT", "XDOORIA_<SERVICE>__SERVER_PORT"]) {
        assert.include(reason.message, variable)
      }
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("on an address of another machine fails with the system's word", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(serveOn("203.0.113.1", 0, { allowInsecure: true }))
      assert.include(reason, { _tag: "CannotListen", address: "203.0.113.1:0", code: "EADDRNOTAVAIL" })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("in plain text is refused in prod and beyond loopback, but when it is allowed", () =>
    Effect.gen(function* () {
      const prod = yield* reasonOf(serveOn("127.0.0.1", 0, { env: "prod" }))
      const open = yield* reasonOf(serveOn("0.0.0.0", 0))
      assert.deepStrictEqual([prod._tag, open._tag], ["InsecureTransport", "InsecureTransport"])
      assert.match(yield* serveOn("0.0.0.0", 0, { env: "prod", allowInsecure: true }), /^0\.0\.0\.0:\d+$/)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("works on IPv6", () =>
    Effect.gen(function* () {
      const address = yield* serveOn("::1", 0)
      assert.match(address, /^\[::1\]:\d+$/)
      const game = yield* dial(address)
      assert.strictEqual((yield* game.healthCheck({})).status, "SERVING")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("and calling follow the configuration", () =>
    Effect.gen(function* () {
      const server = GrpcServer.serve(handlers({})).pipe(
        Layer.provideMerge(GrpcServerLive),
        Layer.provide(ConfigTest({ server: { port: 0 }, grpc: { drain_delay: 0 } }))
      )
      const target = yield* Context.get(yield* Layer.build(server), GrpcServer).address
      const client = GrpcClientLive.pipe(Layer.provide(ConfigTest({ grpc: { target } })))
      const game = yield* Grpc.client(GameApi).pipe(Effect.provide(yield* Layer.build(client)))
      assert.strictEqual((yield* game.healthCheck({})).status, "SERVING")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("replaces connections that are old, and fails no call by that", () =>
    Effect.gen(function* () {
      const { address } = yield* start(
        live({ maxConnectionAge: Duration.millis(40) }),
        handlers({ getPlayer: () => Effect.as(Effect.sleep(5), response("p1")) })
      )
      const raw = yield* Raw.connect(address)
      const replaced = yield* Deferred.make<void>()
      raw.session.on("goaway", () => Deferred.doneUnsafe(replaced, Effect.void))
      const game = yield* dial(address)
      const load = yield* Effect.forkChild(Effect.forever(game.getPlayer({ playerId: "p1" })))
      yield* Effect.raceFirst(Deferred.await(replaced), Fiber.join(load))
      yield* Effect.replicateEffect(game.getPlayer({ playerId: "p1" }), 20, { discard: true })
      yield* Fiber.interrupt(load)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("can be interrupted, and leaves nothing", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.scoped(serveOn("localhost", 0)), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(LoggerTest))
  )
})

type Status = { readonly status: string }

const { Check, List, Watch } = healthService as unknown as Record<string, grpc.MethodDefinition<object, never>>

const ask = (client: grpc.Client, method: grpc.MethodDefinition<object, never>, request: object) =>
  Effect.callback<unknown, grpc.ServiceError>((resume) => {
    client.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, request, (error, value) =>
      resume(error === null ? Effect.succeed(value) : Effect.fail(error))
    )
  })

/** Records the states that Watch tells, and at last the code that it ends with. */
const watch = Effect.fnUntraced(function* (client: grpc.Client, service: string) {
  const states = yield* Recorder.make<string | number>()
  const { path, requestSerialize, responseDeserialize } = Watch!
  const stream = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, { service })
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const record = (state: string | number) => void run(states.record(state))
  stream.on("data", ({ status }: Status) => record(status))
  stream.on("error", ({ code }: grpc.ServiceError) => record(code))
  return states
})

describe("health", () => {
  it.live("is told to those who ask, for the server and each service", () =>
    Effect.gen(function* () {
      const { address } = yield* start(live(), handlers({}))
      const client = yield* bare(address)
      assert.deepStrictEqual(yield* ask(client, Check!, { service: "" }), { status: "SERVING" })
      assert.deepStrictEqual(yield* ask(client, Check!, { service: "game.GameService" }), { status: "SERVING" })
      assert.strictEqual(
        (yield* Effect.flip(ask(client, Check!, { service: "game.Nope" }))).code,
        grpc.status.NOT_FOUND
      )
      assert.deepStrictEqual(yield* ask(client, List!, {}), {
        statuses: { "": { status: "SERVING" }, "game.GameService": { status: "SERVING" } }
      })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("follows the components, each change once, until the server stops", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { address } = yield* start(live(), handlers({})).pipe(Scope.provide(scope))
      const client = yield* bare(address)
      const [all, game, other] = yield* Effect.forEach(["", "game.GameService", "game.Nope"], (name) =>
        watch(client, name)
      )
      yield* all!.atLeast(1)
      yield* Health.report("pg", { status: "down", detail: "away" })
      yield* all!.atLeast(2)
      yield* Health.report("pg", { status: "down", detail: "still away" })
      yield* Health.report("pg", { status: "up" })
      yield* all!.atLeast(3)
      yield* Scope.close(scope, Exit.void)
      const end = ["NOT_SERVING", grpc.status.UNAVAILABLE]
      const expected = ["SERVING", "NOT_SERVING", "SERVING", ...end]
      assert.deepStrictEqual(yield* all!.atLeast(5), expected)
      assert.deepStrictEqual(yield* game!.atLeast(5), expected)
      assert.deepStrictEqual(yield* other!.atLeast(2), ["SERVICE_UNKNOWN", grpc.status.UNAVAILABLE])
    }).pipe(Effect.provide(Layer.merge(LoggerTest, HealthLive)))
  )

  it.live("of a service follows the components that it stands on, and no others", () =>
    Effect.gen(function* () {
      const components = { "game.GameService": ["pg"], "game.StreamService": [] }
      const context = yield* Layer.build(
        GrpcServer.serve(handlers({}), streamHandlers({}), { health: components }).pipe(Layer.provideMerge(live()))
      )
      const client = yield* bare(yield* Context.get(context, GrpcServer).address)
      const [all, game, streams] = yield* Effect.forEach(["", "game.GameService", "game.StreamService"], (name) =>
        watch(client, name)
      )
      yield* Effect.all([all!.atLeast(1), game!.atLeast(1), streams!.atLeast(1)])
      yield* Health.report("redis", { status: "down", detail: "away" })
      yield* all!.atLeast(2)
      yield* Health.report("pg", { status: "down", detail: "away" })
      yield* game!.atLeast(2)
      assert.deepStrictEqual(yield* ask(client, List!, {}), {
        statuses: {
          "": { status: "NOT_SERVING" },
          "game.GameService": { status: "NOT_SERVING" },
          "game.StreamService": { status: "SERVING" }
        }
      })
      yield* Health.report("pg", { status: "up" })
      assert.deepStrictEqual(yield* game!.atLeast(3), ["SERVING", "NOT_SERVING", "SERVING"])
      assert.deepStrictEqual(yield* all!.atLeast(2), ["SERVING", "NOT_SERVING"])
      assert.deepStrictEqual(yield* streams!.atLeast(1), ["SERVING"])
    }).pipe(Effect.provide(Layer.merge(LoggerTest, HealthLive)))
  )

  it.live("of a service that is not served is refused", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(start(live(), handlers({}), { health: { "game.Nope": ["pg"] } }))
      assert.strictEqual(reason._tag, "InvalidService")
      assert.include(reason.message, "game.Nope")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("is neither counted nor logged as the calls of the service are", () =>
    Effect.gen(function* () {
      const log = yield* LogRecorder
      const { address } = yield* start(live({ concurrencyLimit: 1, rateLimit: 1 }), handlers({}))
      const client = yield* bare(address)
      const check = ask(client, Check!, { service: "" })
      yield* Effect.replicateEffect(check, 50, { concurrency: "unbounded", discard: true })
      assert.isFalse((yield* log.lines).some(({ msg }) => msg.startsWith("grpc call")))
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("refuses too much metadata as every call does", () =>
    Effect.gen(function* () {
      const { address } = yield* start(live(), handlers({}))
      const client = yield* bare(address)
      const metadata = new grpc.Metadata()
      metadata.set("note", "x".repeat(9000))
      const code = yield* Effect.callback<number>((resume) => {
        const { path, requestSerialize, responseDeserialize } = Watch!
        const stream = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {}, metadata)
        stream.on("error", ({ code }: grpc.ServiceError) => resume(Effect.succeed(code)))
      })
      assert.strictEqual(code, grpc.status.RESOURCE_EXHAUSTED)
    }).pipe(Effect.provide(LoggerTest))
  )
})

describe("stopping", () => {
  const stuck = Effect.gen(function* () {
    const started = yield* Deferred.make<void>()
    const gate = yield* Deferred.make<void>()
    const handler = () =>
      Deferred.succeed(started, undefined).pipe(Effect.andThen(Deferred.await(gate)), Effect.as(response("p1")))
    return { started: Deferred.await(started), release: Deferred.succeed(gate, undefined), handler }
  })

  it.effect("goes on as before for the drain delay, unhealthy", () =>
    Effect.gen(function* () {
      const log = yield* LogRecorder
      const scope = yield* Scope.make()
      const { address } = yield* start(live({ drainDelay: Duration.seconds(30) }), handlers({})).pipe(
        Scope.provide(scope)
      )
      const client = yield* bare(address)
      const stopping = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* log.find(({ msg }) => msg === "grpc server stopping")
      assert.deepStrictEqual(yield* ask(client, Check!, {}), { status: "NOT_SERVING" })
      // A new connection is taken as well.
      const game = yield* TestClock.withLive(dial(address))
      assert.strictEqual((yield* game.healthCheck({})).status, "SERVING")
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(stopping)
      // A client waits a moment for a server that it has just lost.
      assert.strictEqual((yield* TestClock.withLive(reasonOf(game.healthCheck({}))))._tag, "Unavailable")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("cuts what has not ended after the grace: with a status if it can be interrupted", () =>
    Effect.gen(function* () {
      const { handler, started } = yield* stuck
      const scope = yield* Scope.make()
      const { address } = yield* start(
        live({ grace: Duration.millis(50) }),
        handlers({ getPlayer: handler, gainExp: handler })
      ).pipe(Scope.provide(scope))
      const game = yield* dial(address)
      const read = yield* Effect.forkChild(reasonOf(game.getPlayer({ playerId: "p1" })))
      const write = yield* Effect.forkChild(reasonOf(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n })))
      yield* started
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(read))._tag, "Unavailable")
      assert.include(yield* Fiber.join(write), { _tag: "OutcomeUnknown", code: "UNAVAILABLE" })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("is bounded even when a handler and a request never end", () =>
    Effect.gen(function* () {
      const { handler, release, started } = yield* stuck
      const scope = yield* Scope.make()
      const { address } = yield* start(
        live({ grace: Duration.millis(50) }),
        handlers({ getPlayer: () => Effect.uninterruptible(handler()) })
      ).pipe(Scope.provide(scope))
      const game = yield* dial(address)
      const raw = yield* Raw.connect(address)
      const disconnected = yield* Deferred.make<void>()
      raw.session.on("close", () => Deferred.doneUnsafe(disconnected, Effect.void))
      yield* Effect.forkScoped(raw.call("/game.GameService/GainExp", Buffer.alloc(0), { end: false }))
      const read = yield* Effect.forkChild(reasonOf(game.getPlayer({ playerId: "p1" })))
      yield* started
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(read))._tag, "Unavailable")
      yield* Deferred.await(disconnected)
      yield* release
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("is bounded when streams of every kind stay open, whatever their handlers do", () =>
    Effect.gen(function* () {
      const log = yield* LogRecorder
      const entered = yield* Recorder.make<string>()
      const release = yield* Deferred.make<void>()
      const stay = (name: string) => Effect.andThen(entered.record(name), Effect.never)
      const scope = yield* Scope.make()
      const { address } = yield* start(
        live({ grace: Duration.millis(50) }),
        streamHandlers({
          watch: () =>
            Stream.fromEffect(Effect.uninterruptible(Effect.andThen(entered.record("watch"), Deferred.await(release)))),
          sum: () => stay("sum"),
          talk: () => Stream.fromEffect(stay("talk"))
        })
      ).pipe(Scope.provide(scope))
      const raw = yield* Raw.connect(address)
      const body = Raw.frame(Buffer.alloc(0))
      const open = (name: string, end: boolean) =>
        Effect.forkChild(raw.call(`/game.StreamService/${name}`, body, { end }), { startImmediately: true })
      const calls = yield* Effect.all([open("Watch", true), open("Sum", false), open("Talk", false)])
      const many = yield* Effect.all(Array.from({ length: 200 }, () => open("Talk", false)))
      yield* entered.atLeast(203)
      yield* Scope.close(scope, Exit.void)
      const replies = yield* Effect.forEach([...calls, ...many], Fiber.join)
      assert.deepStrictEqual([...new Set(replies.map(({ status }) => status))], [grpc.status.UNAVAILABLE])
      const lines = (yield* log.lines).filter(({ code }) => code !== undefined)
      assert.strictEqual(lines.length, 203)
      yield* Deferred.succeed(release, undefined)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("ends streams at once, and waits for what has one response", () =>
    Effect.gen(function* () {
      const { handler, release, started } = yield* stuck
      const scope = yield* Scope.make()
      const context = yield* Layer.build(
        GrpcServer.serve(handlers({ getPlayer: handler }), streamHandlers({ watch: () => Stream.never })).pipe(
          Layer.provideMerge(live({ grace: Duration.seconds(30) }))
        )
      ).pipe(Scope.provide(scope))
      const raw = yield* Raw.connect(yield* Context.get(context, GrpcServer).address)
      const body = Raw.frame(Buffer.alloc(0))
      const held = yield* Effect.forkChild(raw.call("/game.GameService/GetPlayer", body), { startImmediately: true })
      const watching = yield* Effect.forkChild(raw.call("/game.StreamService/Watch", body), { startImmediately: true })
      yield* started
      const stopping = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      assert.strictEqual((yield* Fiber.join(watching)).status, grpc.status.UNAVAILABLE)
      yield* release
      assert.strictEqual((yield* Fiber.join(held)).status, 0)
      yield* Fiber.join(stopping)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("under load fails no call, and no call is done twice", () =>
    Effect.gen(function* () {
      const applied = new Map<string, number>()
      const gainExp = ({ requestId }: { readonly requestId: string }) =>
        Effect.map(Effect.sleep(2), () => {
          applied.set(requestId, (applied.get(requestId) ?? 0) + 1)
          return { player: player("p1"), levelsGained: 0 }
        })
      const serveOne = Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { address } = yield* start(live(), handlers({ gainExp })).pipe(Scope.provide(scope))
        return { address, stop: Scope.close(scope, Exit.void) }
      })
      const [first, second] = yield* Effect.all([serveOne, serveOne])
      yield* Effect.addFinalizer(() => second.stop)
      const game = yield* dial(`ipv4:${first.address},${second.address}`)
      let acked = 0
      const half = yield* Deferred.make<void>()
      const one = (requestId: string) =>
        Effect.map(game.gainExp({ playerId: "p1", requestId, amount: 1n }), () => {
          acked++
          if (acked === 500) Deferred.doneUnsafe(half, Effect.void)
        })
      const load = yield* Effect.forkChild(
        Effect.forEach(
          Array.from({ length: 1500 }, (_, i) => `r${i}`),
          one,
          { concurrency: 32, discard: true }
        )
      )
      yield* Effect.raceFirst(Deferred.await(half), Fiber.join(load))
      yield* first.stop
      yield* Fiber.join(load)
      assert.strictEqual(acked, 1500)
      assert.deepStrictEqual([...new Set(applied.values())], [1])
      assert.strictEqual(applied.size, 1500)
    }).pipe(Effect.provide(LoggerTest))
  )
})

const identity = (bytes: Buffer) => bytes

/** The names that reflection of a version lists. */
const listed = (client: grpc.Client, version: string) =>
  Effect.callback<string, grpc.ServiceError>((resume) => {
    const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`
    const stream = client.makeBidiStreamRequest<Buffer, Buffer>(path, identity, identity)
    stream.on("data", (bytes) => resume(Effect.succeed(bytes.toString("latin1"))))
    stream.on("error", (error: grpc.ServiceError) => resume(Effect.fail(error)))
    // list_services
    stream.end(Buffer.from("3a012a", "hex"))
  })

describe("reflection", () => {
  it.live("tells the services that are served, in both versions", () =>
    Effect.gen(function* () {
      const { address } = yield* start(live(), handlers({}), { descriptors })
      const client = yield* bare(address)
      for (const version of ["v1", "v1alpha"]) {
        assert.include(yield* listed(client, version), "game.GameService")
      }
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("is off in prod, and without descriptors", () =>
    Effect.gen(function* () {
      const prod = yield* serveOn("127.0.0.1", 0, { env: "prod", allowInsecure: true }, { descriptors })
      const without = yield* serveOn("127.0.0.1", 0)
      for (const address of [prod, without]) {
        const error = yield* Effect.flip(listed(yield* bare(address), "v1"))
        assert.strictEqual(error.code, grpc.status.UNIMPLEMENTED)
      }
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("is refused when its descriptors do not decode", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(start(live(), handlers({}), { descriptors: "Z2FyYmFnZQ==" }))
      assert.strictEqual(reason._tag, "InvalidService")
    }).pipe(Effect.provide(LoggerTest))
  )
})

// What the gateway promises its players, on a transport and rooms of the caller's choice.
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { randomUUID } from "node:crypto"
import { Auth, type AuthError } from "xdooria/auth"
import { ConfigTest, type ConfigValues, type InvalidConfig } from "xdooria/config"
import { Grpc, type GrpcClient, GrpcError, GrpcServer } from "xdooria/grpc"
import { LoggerTest } from "xdooria/logger"
import type { RedisFailure } from "xdooria/redis"
import type { Registry } from "xdooria/registry"
import { Session, type SessionError } from "xdooria/session"
import type { ConnectRequest, ConnectResponse, Welcome } from "../../src/gen/gateway.ts"
import { GatewayApi } from "../../src/services/gateway/api.ts"
import { GatewayApp } from "../../src/services/gateway/app.ts"
import { Connections, GatewayConfig } from "../../src/services/gateway/Connections.ts"
import { Push } from "../../src/services/gateway/Push.ts"
import * as Recorder from "../support/Recorder.ts"

type Rooms = Auth | Session | Push | Registry

/** What the suite is run on; the rooms read their configuration. */
export interface Backend {
  readonly transport: Layer.Layer<GrpcServer | GrpcClient, InvalidConfig>
  readonly rooms: Layer.Layer<Rooms, AuthError | InvalidConfig | RedisFailure | SessionError>
  /** `test` where their time is TestClock's. */
  readonly clock: "test" | "live"
}

type Message = NonNullable<ConnectResponse["message"]>

/** The first message of a client. */
export const hello = (lastSequence = 0, device = "", series = ""): ConnectRequest => ({
  message: { $case: "hello", hello: { lastSequence: BigInt(lastSequence), device, series } }
})

const renew = (accessToken: string): ConnectRequest => ({ message: { $case: "renew", renew: { accessToken } } })

const ping = (id: bigint): ConnectRequest => ({ message: { $case: "ping", ping: { id } } })

/** The numbers from 1. */
export const times = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

/** Whether it is a push. */
export const isPushed = (message: Message) => message.$case === "pushed"

/** The numbers of those that are pushes. */
export const sequencesOf = (messages: ReadonlyArray<Message>) =>
  messages.flatMap((message) => (message.$case === "pushed" ? [Number(message.pushed.sequence)] : []))

const bearer = (token: string) => ({ metadata: { authorization: `Bearer ${token}` } })

/** Until something holds; the test's own timeout bounds it. */
const eventually = <E, R>(holds: Effect.Effect<boolean, E, R>) =>
  Effect.repeat(Effect.andThen(Effect.yieldNow, holds), { until: (is) => is })

/** Rooms, and the gateways on them. */
export const fleet = Effect.fnUntraced(function* ({ clock, rooms, transport }: Backend, values: ConfigValues = {}) {
  const config = ConfigTest(
    {
      server: { name: "gateway-service", port: 0 },
      ...values,
      auth: { secret: "a-secret-of-tests-alone-0123456789", ...values["auth"] },
      grpc: { drain_delay: 0, ...values["grpc"] },
      session: { online_ttl: 6, ...values["session"] }
    },
    { sections: [GatewayConfig] }
  )
  const base = Layer.merge(LoggerTest, config)
  const context = yield* Layer.build(Layer.fresh(Layer.provide(rooms, base)))
  const auth = Context.get(context, Auth)
  const push = Context.get(context, Push)
  return {
    auth,
    push,
    session: Context.get(context, Session),
    /** Lets time pass: the one permitted wait. */
    pass: (time: Duration.Input) => (clock === "test" ? TestClock.adjust(time) : Effect.sleep(time)),
    /** A gateway, until the test ends or it is closed. */
    open: Effect.gen(function* () {
      const scope = yield* Scope.make()
      const close = Scope.close(scope, Exit.void)
      yield* Effect.addFinalizer(() =>
        clock === "live" ? close : Effect.asVoid(Effect.all([close, TestClock.adjust("3 seconds")], { concurrency: 2 }))
      )
      const app = GatewayApp.pipe(
        Layer.provideMerge(transport),
        Layer.provideMerge(Auth.layerAuthenticator),
        Layer.provideMerge(Layer.merge(Layer.succeedContext(context), base))
      )
      const server = yield* Layer.buildWithScope(Layer.fresh(app), scope)
      const target = yield* Context.get(server, GrpcServer).address
      const client = yield* Grpc.client(GatewayApi, { target }).pipe(Effect.provide(server))
      return { client, name: Context.get(server, Connections).gateway, close }
    }),
    /** A player's id and access token. */
    player: Effect.fnUntraced(function* (roles: ReadonlyArray<string> = [], playerId = `p-${randomUUID()}`) {
      const { access } = yield* auth.issue({ playerId, roles })
      return { playerId, token: Redacted.value(access) }
    }),
    send: (playerId: string, n: number) => push.send(playerId, { topic: "test", payload: String(n) })
  }
})

type Gateway = Effect.Success<Effect.Success<ReturnType<typeof fleet>>["open"]>

/** A client that is connected, or about to be; it sends what it is given first. */
export const connect = Effect.fnUntraced(function* (
  { client }: Gateway,
  token: string,
  {
    first = [hello()],
    reads = Effect.void
  }: { readonly first?: ReadonlyArray<ConnectRequest>; readonly reads?: Effect.Effect<void> } = {}
) {
  const requests = yield* Queue.unbounded<ConnectRequest, Cause.Done>()
  const received = yield* Recorder.make<Message>()
  yield* Queue.offerAll(requests, first)
  const fiber = yield* client.connect(Stream.fromQueue(requests), bearer(token)).pipe(
    Stream.runForEach(({ message }) => Effect.andThen(received.record(message!), reads)),
    Effect.exit,
    Effect.forkScoped
  )
  const ended = Fiber.join(fiber)
  return {
    received,
    ask: (request: ConnectRequest) => Queue.offer(requests, request),
    /** Says that it sends no more. */
    leave: Queue.end(requests),
    /** Cancels the call, as a client does that is gone. */
    cut: Fiber.interrupt(fiber),
    ended,
    /** The declared error that it ended with. */
    error: Effect.map(ended, (exit) => {
      assert.isTrue(Exit.isFailure(exit), "it ended without an error")
      const error = Exit.isFailure(exit) ? Cause.findErrorOption(exit.cause) : undefined
      const found = error?._tag === "Some" ? error.value : undefined
      if (found instanceof GrpcError) assert.fail(`undeclared: ${found.message}`)
      return found
    }),
    /** The answer to its hello. */
    welcome: Effect.map(
      Effect.raceFirst(
        received.first(({ $case }) => $case === "welcome"),
        Effect.flatMap(ended, (exit) => Effect.die(new Error(`it ended before its welcome: ${String(exit)}`)))
      ),
      (message): Welcome => (message.$case === "welcome" ? message.welcome : assert.fail())
    )
  }
})

/** The promises. */
export const suite = (name: string, backend: Backend) => {
  const test = backend.clock === "test" ? it.effect : it.live
  const passing = <E>(what: string, body: Effect.Effect<unknown, E, Scope.Scope>) =>
    test(what, () => Effect.scoped(body))

  describe(name, () => {
    passing(
      "answers the health check of anybody, and nothing else",
      Effect.gen(function* () {
        const gateway = yield* (yield* fleet(backend)).open
        assert.deepStrictEqual(yield* gateway.client.healthCheck({}), { status: "SERVING" })
        const error = yield* Effect.flip(gateway.client.getPresence({ playerId: "" }))
        assert.isTrue(error instanceof GrpcError && error.reason._tag === "Unauthenticated")
      })
    )

    passing(
      "welcomes a player, who is online until it leaves",
      Effect.gen(function* () {
        const { open, player, session } = yield* fleet(backend)
        const gateway = yield* open
        const { playerId, token } = yield* player()
        const presence = gateway.client.getPresence({ playerId: "" }, bearer(token))
        assert.deepStrictEqual(yield* presence, { online: false, lastSeen: 0n })
        const one = yield* connect(gateway, token)
        const { epoch, ...welcome } = yield* one.welcome
        assert.deepStrictEqual(welcome, { playerId, gateway: gateway.name, sequence: 0n, missed: false, series: "" })
        const stored = yield* session.get(playerId)
        assert.deepStrictEqual([stored?.gateway, BigInt(stored?.epoch ?? 0)], [gateway.name, epoch])
        const { online } = yield* presence
        assert.isTrue(online)
        yield* one.leave
        assert.isTrue(Exit.isSuccess(yield* one.ended))
        yield* eventually(Effect.map(session.get(playerId), (session) => session === undefined))
        assert.isFalse((yield* presence).online)
      })
    )

    passing(
      "logs a player out whose call is cut, but never a newer connection of it",
      Effect.gen(function* () {
        const { open, player, session } = yield* fleet(backend)
        const gateways = yield* Effect.all([open, open])
        const { playerId, token } = yield* player()
        const one = yield* connect(gateways[0], token)
        yield* one.welcome
        const two = yield* connect(gateways[1], token)
        yield* two.welcome
        yield* one.error
        assert.isTrue((yield* session.presence(playerId)).online)
        yield* two.cut
        yield* eventually(Effect.map(session.presence(playerId), ({ online }) => !online))
      })
    )

    passing(
      "pushes what comes from anywhere, in order and without gaps",
      Effect.gen(function* () {
        const { open, player, send } = yield* fleet(backend)
        const gateway = yield* open
        const { playerId, token } = yield* player()
        const one = yield* connect(gateway, token)
        yield* one.welcome
        // So many at once as are kept, whatever falls behind.
        for (const wave of times(4)) {
          yield* Effect.forEach(times(75), (n) => send(playerId, n), { concurrency: 25 })
          yield* one.received.atLeast(75 * wave, isPushed)
        }
        assert.deepStrictEqual(sequencesOf(yield* one.received.all), times(300))
        yield* send(playerId, 301)
        assert.deepStrictEqual((yield* one.received.atLeast(301, isPushed)).at(-1), {
          $case: "pushed",
          pushed: { sequence: 301n, topic: "test", payload: "301" }
        })
      })
    )

    passing(
      "gives who connects again what came meanwhile, wherever it connects, and says what is missed",
      Effect.gen(function* () {
        const { open, player, send } = yield* fleet(backend)
        const gateways = yield* Effect.all([open, open])
        const { playerId, token } = yield* player()
        yield* Effect.forEach(times(3), (n) => send(playerId, n))
        const one = yield* connect(gateways[0], token)
        assert.deepInclude(yield* one.welcome, { sequence: 0n, missed: false })
        yield* one.received.atLeast(3, isPushed)
        yield* one.cut
        yield* Effect.forEach(times(2), (n) => send(playerId, n))
        const two = yield* connect(gateways[1], token, { first: [hello(3)] })
        assert.deepInclude(yield* two.welcome, { sequence: 3n, missed: false })
        assert.deepStrictEqual(sequencesOf(yield* two.received.atLeast(2, isPushed)), [4, 5])
        yield* two.cut
        yield* Effect.forEach(times(101), (n) => send(playerId, n))
        const three = yield* connect(gateways[0], token, { first: [hello(5)] })
        assert.deepInclude(yield* three.welcome, { sequence: 6n, missed: true })
        assert.deepStrictEqual(sequencesOf(yield* three.received.atLeast(100, isPushed)).slice(0, 2), [7, 8])
        const four = yield* connect(gateways[1], token, { first: [hello(5_000)] })
        assert.deepInclude(yield* four.welcome, { sequence: 106n, missed: true })
      })
    )

    passing(
      "gives who has seen numbers that were lost all that is kept, and says that more is missed",
      Effect.gen(function* () {
        const { open, player, send } = yield* fleet(backend)
        const gateway = yield* open
        const { playerId, token } = yield* player()
        const one = yield* connect(gateway, token)
        assert.deepInclude(yield* one.welcome, { sequence: 0n, missed: false, series: "" })
        yield* send(playerId, 1)
        yield* one.received.first(isPushed)
        const [, again] = yield* one.received.atLeast(2, ({ $case }) => $case === "welcome")
        const series = again?.$case === "welcome" ? again.welcome.series : ""
        assert.notStrictEqual(series, "")
        yield* Effect.forEach(times(3), (n) => send(playerId, n + 1))
        yield* one.received.atLeast(4, isPushed)
        yield* one.cut
        const two = yield* connect(gateway, token, { first: [hello(3, "", series)] })
        assert.deepInclude(yield* two.welcome, { sequence: 3n, missed: false, series })
        assert.deepStrictEqual(sequencesOf(yield* two.received.atLeast(1, isPushed)), [4])
        // What a store tells that has begun anew since.
        const three = yield* connect(gateway, token, { first: [hello(3, "", "another")] })
        assert.deepInclude(yield* three.welcome, { sequence: 0n, missed: true, series })
        assert.deepStrictEqual(sequencesOf(yield* three.received.atLeast(4, isPushed)), times(4))
      })
    )

    passing(
      "tells everybody what is for everybody, and only admins may",
      Effect.gen(function* () {
        const { open, player } = yield* fleet(backend)
        const gateways = yield* Effect.all([open, open])
        const [one, two, admin] = yield* Effect.all([player(), player(), player(["admin"])])
        const connected = yield* Effect.all([connect(gateways[0], one.token), connect(gateways[1], two.token)])
        yield* Effect.forEach(connected, ({ welcome }) => welcome)
        const message = { topic: "news", payload: '{"a":1}' }
        for (const call of [
          Effect.asVoid(gateways[0].client.broadcast(message, bearer(one.token))),
          Effect.asVoid(gateways[0].client.push({ playerId: one.playerId, ...message }, bearer(one.token)))
        ]) {
          assert.deepInclude(yield* Effect.flip(call), { _tag: "NotAllowed", role: "admin" })
        }
        yield* gateways[0].client.broadcast(message, bearer(admin.token))
        for (const { received } of connected) {
          assert.deepStrictEqual(yield* received.first(isPushed), {
            $case: "pushed",
            pushed: { sequence: 0n, ...message }
          })
        }
        const pushed = yield* gateways[1].client.push({ playerId: one.playerId, ...message }, bearer(admin.token))
        assert.deepStrictEqual(pushed, { sequence: 1n })
        yield* connected[0].received.first((one) => sequencesOf([one])[0] === 1)
        assert.deepStrictEqual(sequencesOf(yield* connected[1].received.all), [0])
      })
    )

    passing(
      "lets a player be connected once: a newer connection ends it, here and elsewhere",
      Effect.gen(function* () {
        const { open, player } = yield* fleet(backend)
        const gateways = yield* Effect.all([open, open])
        const { token } = yield* player()
        const one = yield* connect(gateways[0], token)
        yield* one.welcome
        const two = yield* connect(gateways[0], token)
        const second = yield* two.welcome
        assert.deepInclude(yield* one.error, { _tag: "SessionEnded", reason: "superseded" })
        const three = yield* connect(gateways[1], token, { first: [hello(0, "phone")] })
        const third = yield* three.welcome
        assert.deepInclude(yield* two.error, { _tag: "SessionEnded", reason: "superseded" })
        assert.isTrue(third.epoch > second.epoch)
      })
    )

    passing(
      "lets a player be connected with several devices where that is configured, and pushes to each",
      Effect.gen(function* () {
        const { open, pass, player, send } = yield* fleet(backend, { session: { max_devices: 2, online_ttl: 3 } })
        const gateways = yield* Effect.all([open, open])
        const { playerId, token } = yield* player()
        const [one, two] = yield* Effect.all([
          connect(gateways[0], token, { first: [hello(0, "phone")] }),
          connect(gateways[0], token, { first: [hello(0, "tablet")] })
        ])
        yield* one.welcome
        yield* two.welcome
        yield* send(playerId, 1)
        yield* one.received.first(isPushed)
        yield* two.received.first(isPushed)
        const three = yield* connect(gateways[1], token, { first: [hello(1, "tablet")] })
        yield* three.welcome
        assert.deepInclude(yield* two.error, { _tag: "SessionEnded", reason: "superseded" })
        // The newest one is told at once, the other when it is looked at.
        yield* send(playerId, 2)
        yield* three.received.first((one) => sequencesOf([one])[0] === 2)
        const other = yield* Effect.forkScoped(one.received.first((one) => sequencesOf([one])[0] === 2))
        yield* pass("2 seconds")
        yield* Fiber.join(other)
      })
    )

    const ends = [
      ["revoked", (session: Session["Service"], playerId: string) => session.kick(playerId)],
      ["banned", (session: Session["Service"], playerId: string) => session.ban(playerId, "forever")],
      [
        "moved",
        (session: Session["Service"], _: string, gateway: string) =>
          session.drain(gateway, { perSecond: 100, to: "g2" })
      ]
    ] as const
    for (const [reason, end] of ends) {
      passing(
        `ends a connection whose session is ${reason}, and says so`,
        Effect.gen(function* () {
          const { open, player, session } = yield* fleet(backend)
          const gateway = yield* open
          const { playerId, token } = yield* player()
          const one = yield* connect(gateway, token)
          yield* one.welcome
          const ending = yield* Effect.forkScoped(
            Effect.asVoid<unknown, SessionError, never>(end(session, playerId, gateway.name))
          )
          const error = yield* one.error
          assert.deepInclude(error, { _tag: "SessionEnded", reason, ...(reason === "moved" ? { to: "g2" } : {}) })
          if (backend.clock === "test") yield* TestClock.adjust("1 second")
          yield* Fiber.join(ending)
          const stored = yield* Effect.orElseSucceed(session.get(playerId), () => undefined)
          assert.strictEqual(stored?.gateway, reason === "moved" ? "g2" : undefined)
        })
      )
    }

    passing(
      "lets nobody in who is banned, and says so",
      Effect.gen(function* () {
        const { open, player, session } = yield* fleet(backend)
        const gateway = yield* open
        const { playerId, token } = yield* player()
        yield* session.ban(playerId, DateTime.makeUnsafe("2100-01-01T00:00:00Z"))
        const one = yield* connect(gateway, token)
        assert.deepInclude(yield* one.error, { _tag: "SessionEnded", reason: "banned" })
      })
    )

    passing(
      "ends a connection whose token is over, unless it was renewed",
      Effect.gen(function* () {
        const { open, pass, player, session } = yield* fleet(backend, { auth: { access_ttl: 3, clock_skew: 0 } })
        const gateway = yield* open
        const [one, two] = yield* Effect.all([player(), player()])
        const [lasting, ending] = yield* Effect.all([connect(gateway, one.token), connect(gateway, two.token)])
        yield* lasting.welcome
        yield* ending.welcome
        yield* pass("1 seconds")
        const { token } = yield* player([], one.playerId)
        yield* lasting.ask(renew(token))
        yield* lasting.ask(ping(1n))
        yield* lasting.received.first(({ $case }) => $case === "pong")
        const error = yield* Effect.forkScoped(ending.error)
        yield* pass("2500 millis")
        assert.deepInclude(yield* Fiber.join(error), { _tag: "SessionEnded", reason: "expired" })
        yield* eventually(Effect.map(session.get(two.playerId), (session) => session === undefined))
        assert.isDefined(yield* session.get(one.playerId))
        yield* lasting.ask(ping(2n))
        yield* lasting.received.atLeast(2, ({ $case }) => $case === "pong")
      })
    )

    passing(
      "ends a connection whose token was revoked, within a second",
      Effect.gen(function* () {
        const { auth, open, pass, player } = yield* fleet(backend)
        const gateway = yield* open
        const { playerId, token } = yield* player()
        const one = yield* connect(gateway, token)
        yield* one.welcome
        const error = yield* Effect.forkScoped(one.error)
        yield* auth.logoutAll(playerId)
        yield* pass("1 second")
        assert.deepInclude(yield* Fiber.join(error), { _tag: "SessionEnded", reason: "revoked" })
      })
    )

    passing(
      "takes a newer token of the same player only",
      Effect.gen(function* () {
        const { open, player } = yield* fleet(backend)
        const gateway = yield* open
        const [mine, others] = yield* Effect.all([player(), player()])
        for (const token of [others.token, "", "x.y.z", mine.token.slice(0, -2)]) {
          const one = yield* connect(gateway, mine.token)
          yield* one.welcome
          yield* one.ask(renew(token))
          assert.deepInclude(yield* one.error, { _tag: "TokenRefused" })
        }
      })
    )

    passing(
      "expects a hello, once and in time",
      Effect.gen(function* () {
        const { open, pass, player } = yield* fleet(backend)
        const gateway = yield* open
        const { token } = yield* player()
        const expected = (expected: "hello" | "renew or ping") => ({ _tag: "UnexpectedMessage" as const, expected })
        const early = yield* connect(gateway, token, { first: [ping(1n)] })
        assert.deepInclude(yield* early.error, expected("hello"))
        const empty = yield* connect(gateway, token, { first: [{ message: undefined }] })
        assert.deepInclude(yield* empty.error, expected("hello"))
        const gone = yield* connect(gateway, token, { first: [] })
        yield* gone.leave
        assert.deepInclude(yield* gone.error, expected("hello"))
        const twice = yield* connect(gateway, token, { first: [hello(), hello()] })
        assert.deepInclude(yield* twice.error, expected("renew or ping"))
        if (backend.clock === "live") return
        const late = yield* connect(gateway, token, { first: [] })
        const error = yield* Effect.forkScoped(late.error)
        yield* pass("10 seconds")
        assert.deepInclude(yield* Fiber.join(error), expected("hello"))
      })
    )

    passing(
      "refuses a hello that there cannot be, naming the field",
      Effect.gen(function* () {
        const { open, player } = yield* fleet(backend)
        const gateway = yield* open
        const { token } = yield* player()
        for (const [first, field] of [
          [hello(0, "a b"), "message.hello.device"],
          [hello(-1), "message.hello.last_sequence"],
          [hello(0, "", "a b"), "message.hello.series"]
        ] as const) {
          const one = yield* connect(gateway, token, { first: [first] })
          const exit = yield* one.ended
          const error = Exit.isFailure(exit) ? Cause.findErrorOption(exit.cause) : undefined
          const found = error?._tag === "Some" ? error.value : undefined
          assert.isTrue(found instanceof GrpcError && found.reason._tag === "InvalidArgument")
          if (found instanceof GrpcError && found.reason._tag === "InvalidArgument") {
            assert.deepStrictEqual(
              found.reason.violations.map((violation) => violation.field),
              [field]
            )
          }
        }
      })
    )

    passing(
      "answers pings, and ends a connection that sends too much",
      Effect.gen(function* () {
        const { open, player } = yield* fleet(backend, { gateway: { max_messages: 5 } })
        const gateway = yield* open
        const { token } = yield* player()
        const one = yield* connect(gateway, token)
        yield* one.welcome
        yield* one.ask(ping(7n))
        assert.deepStrictEqual(yield* one.received.first(({ $case }) => $case === "pong"), {
          $case: "pong",
          pong: { id: 7n }
        })
        yield* Effect.forEach(times(20), (n) => one.ask(ping(BigInt(n))))
        assert.deepInclude(yield* one.error, { _tag: "TooManyMessages" })
      })
    )

    passing(
      "takes so many connections, and another one when one has left",
      Effect.gen(function* () {
        const { open, player } = yield* fleet(backend, { gateway: { max_connections: 2 } })
        const gateway = yield* open
        const players = yield* Effect.all([player(), player(), player()])
        const [one, two] = yield* Effect.all([connect(gateway, players[0].token), connect(gateway, players[1].token)])
        yield* one.welcome
        yield* two.welcome
        const three = yield* connect(gateway, players[2].token)
        assert.deepInclude(yield* three.error, { _tag: "GatewayFull" })
        yield* one.leave
        yield* one.ended
        const again = yield* connect(gateway, players[2].token)
        yield* again.welcome
      })
    )

    passing(
      "does not wait for a client that does not read: its connection ends, and its place and session are free",
      Effect.gen(function* () {
        const { auth, open, pass, player, push, session } = yield* fleet(backend, { gateway: { max_connections: 1 } })
        const gateway = yield* open
        const { playerId, token } = yield* player()
        const reads = yield* Latch.make(false)
        const one = yield* connect(gateway, token, { reads: reads.await })
        yield* one.welcome
        const payload = JSON.stringify("x".repeat(16_000))
        yield* Effect.forEach(times(95), () => push.send(playerId, { topic: "large", payload }))
        yield* auth.logoutAll(playerId)
        const soon = <E>(holds: Effect.Effect<boolean, E, Scope.Scope>) =>
          Effect.repeat(Effect.andThen(pass("500 millis"), holds), { until: (is) => is, times: 10 })
        const gets = Effect.gen(function* () {
          const { ended, received } = yield* connect(gateway, (yield* player()).token)
          const welcome = received.first(({ $case }) => $case === "welcome")
          return yield* Effect.raceFirst(Effect.as(welcome, true), Effect.as(ended, false))
        })
        assert.isTrue(yield* soon(gets))
        assert.isTrue(yield* soon(Effect.map(session.get(playerId), (stored) => stored === undefined)))
        yield* reads.open
        const exit = yield* one.ended
        const error = Exit.isFailure(exit) ? Cause.findErrorOption(exit.cause) : undefined
        assert.isTrue(error?._tag === "Some" && error.value instanceof GrpcError)
      })
    )

    passing(
      "gives a slow reader everything, in order, and keeps little of it meanwhile",
      Effect.gen(function* () {
        const { open, player, push } = yield* fleet(backend)
        const gateway = yield* open
        const { playerId, token } = yield* player()
        const reads = yield* Queue.unbounded<void>()
        const one = yield* connect(gateway, token, { reads: Queue.take(reads) })
        yield* one.welcome
        // Far more than the transport holds for a client that does not read.
        const payload = JSON.stringify("x".repeat(16_000))
        yield* Effect.forEach(times(95), () => push.send(playerId, { topic: "large", payload }))
        yield* Effect.forEach(times(200), () => Queue.offer(reads, undefined))
        assert.deepStrictEqual(sequencesOf(yield* one.received.atLeast(95, isPushed)), times(95))
      })
    )

    passing(
      "sends everybody elsewhere when it stops, where they go on; nobody is offline meanwhile",
      Effect.gen(function* () {
        const { open, pass, player, send, session } = yield* fleet(backend, { gateway: { drain_time: 0.2 } })
        const gateways = yield* Effect.all([open, open])
        const players = yield* Effect.forEach(times(25), () => player())
        const before = yield* Effect.forEach(players, ({ token }) => connect(gateways[0], token))
        yield* Effect.forEach(before, ({ welcome }) => welcome)
        const closing = yield* Effect.forkScoped(gateways[0].close)
        const errors = yield* Effect.forkScoped(Effect.forEach(before, ({ error }) => error))
        yield* pass("1 second")
        for (const error of yield* Fiber.join(errors)) assert.deepInclude(error, { _tag: "GatewayDraining" })
        for (const { playerId } of players) assert.isTrue((yield* session.presence(playerId)).online)
        yield* Effect.forEach(players, ({ playerId }) => send(playerId, 1))
        const after = yield* Effect.forEach(players, ({ token }) => connect(gateways[1], token))
        for (const { received } of after) assert.deepStrictEqual(sequencesOf([yield* received.first(isPushed)]), [1])
        yield* Fiber.join(closing)
        for (const { playerId } of players)
          assert.strictEqual((yield* session.get(playerId))?.gateway, gateways[1].name)
      })
    )

    passing(
      "keeps its players online for as long as they are connected",
      Effect.gen(function* () {
        const { open, pass, player, session } = yield* fleet(backend, { session: { online_ttl: 2, ttl: 3 } })
        const gateway = yield* open
        const { playerId, token } = yield* player()
        const one = yield* connect(gateway, token)
        yield* one.welcome
        for (const _ of times(6)) {
          yield* pass("600 millis")
          assert.isTrue((yield* session.presence(playerId)).online)
        }
        assert.isDefined(yield* session.get(playerId))
      })
    )

    passing(
      "refuses what cannot be pushed, naming the field",
      Effect.gen(function* () {
        const { open, player } = yield* fleet(backend)
        const gateway = yield* open
        const { token } = yield* player(["admin"])
        const good = { playerId: "p", topic: "t", payload: "1" }
        for (const [field, bad] of [
          ["player_id", { playerId: "a:b" }],
          ["player_id", { playerId: "" }],
          ["topic", { topic: "a b" }],
          ["payload", { payload: "{" }]
        ] as const) {
          const error = yield* Effect.flip(gateway.client.push({ ...good, ...bad }, bearer(token)))
          assert.isTrue(error instanceof GrpcError && error.reason._tag === "InvalidArgument")
          if (error instanceof GrpcError && error.reason._tag === "InvalidArgument") {
            assert.deepStrictEqual(
              error.reason.violations.map((violation) => violation.field),
              [field]
            )
          }
        }
      })
    )
  })
}

import type * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Pull from "effect/Pull"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { Auth } from "../../auth/Auth.ts"
import type { AuthError } from "../../auth/AuthError.ts"
import * as Config from "../../config/Config.ts"
import type { InvalidConfig } from "../../config/ConfigError.ts"
import type { ConnectRequest, Hello } from "../../gen/gateway.ts"
import { Authenticator, Principal } from "../../grpc/Authenticator.ts"
import { Call } from "../../grpc/Call.ts"
import { type Kick, Session, SessionConfig } from "../../session/Session.ts"
import type { SessionError } from "../../session/SessionError.ts"
import * as Uuid from "../../utils/Uuid.ts"
import { StorageUnavailable } from "../errors.ts"
import { Connection } from "./Connection.ts"
import { Connections, GatewayConfig } from "./Connections.ts"
import {
  type ConnectError,
  GatewayDraining,
  GatewayFull,
  SessionEnded,
  TokenRefused,
  TooManyMessages,
  toUnavailable,
  UnexpectedMessage
} from "./errors.ts"
import { type Heard, Push } from "./Push.ts"
import { Roster } from "./Roster.ts"

/** Who connects by which call, and the token that it showed. */
interface Caller {
  readonly call: Call["Service"]
  readonly playerId: string
  readonly token: Redacted.Redacted
}

/** How long a client may take to say hello. */
const helloTime = Duration.seconds(10)

/** How long a start waits until it hears what is pushed. */
const listenTime = Duration.seconds(5)

/** How often tokens are looked at again, which asks no server, and who has ended and does not read is hung up. */
const verifyInterval = Duration.seconds(1)

/** How often some of the sessions are touched, and how often each is in `session.online_ttl`. */
const touchTick = Duration.seconds(1)
const touchesInOnlineTtl = 3

/** How long the end of a session may take. */
const logoutTime = Duration.seconds(2)

/** How long a drain waits for streams to end, after it has ended them. */
const drainedTime = Duration.seconds(1)

/** In how many steps a drain goes. */
const drainSteps = 20

/** How many players' messages are read, or sessions touched, at once. */
const concurrency = 64

const connected = Metric.gauge("gateway_connections", { description: "Players that are connected" })

/** How a session has ended, where an operation on it says so. */
const endedBy = ({ reason }: SessionError): SessionEnded | undefined => {
  switch (reason._tag) {
    case "Superseded":
      return new SessionEnded({ reason: "superseded" })
    case "Revoked":
      return new SessionEnded({ reason: "revoked" })
    case "Banned":
      return new SessionEnded({ reason: "banned" })
    case "NotFound":
      return new SessionEnded({ reason: "ended" })
    default:
      return undefined
  }
}

const unavailable = new StorageUnavailable({ outcome: "not_applied" })
const noHello = new UnexpectedMessage({ expected: "hello" })

/** Sends a player elsewhere, where its session goes on. */
const leaveToNext = (connection: Connection): void => {
  connection.isOver = true
  connection.end(new GatewayDraining())
}

/** A name that can be a part of a key. */
const nameOf = (service: string, id: string): string =>
  `${service.replaceAll(/[^A-Za-z0-9_-]/g, "-").slice(0, 64)}-${id.slice(0, 8)}`

/** What goes on as long as the gateway does; one that fails leaves its part to the others. */
const watching = <A, E extends { readonly message: string }>(
  what: string,
  stream: Stream.Stream<A, E>,
  each: (one: A) => void
) =>
  Effect.forkScoped(
    Stream.runForEach(stream, (one) => Effect.sync(() => each(one))).pipe(
      Effect.catch((error) => Effect.logError(`the gateway does not hear ${what}: ${error.message}`))
    )
  )

const make = Effect.gen(function* () {
  const settings = yield* Config.get(GatewayConfig)
  const { onlineTtl } = yield* Config.get(SessionConfig)
  const gateway = nameOf((yield* Config.get(Config.ServerConfig)).name, yield* Uuid.v4)
  const auth = yield* Auth
  const session = yield* Session
  const push = yield* Push
  const roster = new Roster()
  let isDraining = false

  const reading = yield* Semaphore.make(concurrency)
  const since = (playerId: string, sequence: number, series: string) =>
    Effect.retry(
      reading.withPermit(push.since(playerId, sequence, series)),
      Schedule.jittered(Schedule.spaced("1 second"))
    ).pipe(
      // It is retried for ever.
      Effect.orDie
    )

  // --- a connection

  const login = ({ playerId, token }: Caller, { device }: Hello) =>
    session.login({ playerId, token, gateway, device }).pipe(
      Effect.catchTag("SessionError", (error): Effect.Effect<never, ConnectError> => {
        const ended = endedBy(error)
        return ended === undefined ? toUnavailable(error) : Effect.fail(ended)
      })
    )

  const touch = (connection: Connection) =>
    Effect.catchTag(session.touch(connection.session), "SessionError", (error) =>
      Effect.sync(() => {
        const ended = endedBy(error)
        if (ended === undefined) return
        connection.isOver = true
        connection.end(ended)
      })
    )

  const enter = Effect.fnUntraced(function* (caller: Caller, hello: Hello) {
    if (isDraining) return yield* new GatewayDraining()
    if (roster.size >= settings.maxConnections) return yield* new GatewayFull()
    roster.size++
    const connection = new Connection(
      caller.call,
      yield* Effect.onError(login(caller, hello), () => Effect.sync(() => roster.size--)),
      hello,
      since
    )
    roster.add(connection)
    if (isDraining) leaveToNext(connection)
    yield* Metric.update(connected, roster.size)
    return connection
  })

  const leave = Effect.fnUntraced(function* (connection: Connection) {
    connection.end("done")
    roster.leave()
    yield* Metric.update(connected, roster.size)
    if (connection.isOver) return
    yield* session.logout(connection.session).pipe(
      Effect.timeout(logoutTime),
      Effect.catch(({ message }) => Effect.logWarning(`a session is left to expire: ${message}`))
    )
  })

  /** It may be that its session ended before it was there to be told. */
  const open = (caller: Caller, hello: Hello) => Effect.tap(Effect.acquireRelease(enter(caller, hello), leave), touch)

  const renew = Effect.fnUntraced(function* (connection: Connection, accessToken: string) {
    const token = Redacted.make(accessToken)
    const { playerId } = yield* auth
      .verify(token)
      .pipe(Effect.mapError((error) => (error.isRetryable ? unavailable : new TokenRefused())))
    if (playerId !== connection.session.playerId) return yield* new TokenRefused()
    connection.token = token
  })

  const take = Effect.fnUntraced(function* (connection: Connection, { message }: ConnectRequest) {
    if (!connection.admits(yield* Clock.currentTimeMillis, settings.maxMessages)) return yield* new TooManyMessages()
    if (message?.$case === "ping") connection.pong(message.ping.id)
    else if (message?.$case === "renew") yield* renew(connection, message.renew.accessToken)
    else return yield* new UnexpectedMessage({ expected: "renew or ping" })
  })

  // --- all of them

  const hear = (heard: Heard) => {
    switch (heard._tag) {
      case "Message":
        return roster.of(heard.playerId).forEach((one) => one.push(heard.message, heard.series))
      case "Broadcast":
        return roster.all.forEach((one) => one.broadcast(heard.message))
      case "Gap":
        return roster.all.forEach((one) => one.fallBehind())
    }
  }
  const kicked = ({ epoch, playerId, reason, to }: Kick) => {
    for (const one of roster.of(playerId)) {
      if (one.session.epoch !== epoch) continue
      one.isOver = true
      one.end(new SessionEnded(to === undefined ? { reason } : { reason, to }))
    }
  }
  /** Who does not read what it ended with is not waited for. */
  const hangUp = Effect.suspend(() => Effect.forEach(roster.overdue(), ({ call }) => call.hangUp, { discard: true }))
  const verify = (connection: Connection) =>
    Effect.catchTag(Effect.asVoid(auth.verify(connection.token)), "AuthError", (error: AuthError) =>
      Effect.sync(() => {
        // What cannot be told now will be told.
        if (error.isRetryable) return
        connection.end(new SessionEnded({ reason: error.reason._tag === "Expired" ? "expired" : "revoked" }))
      })
    )
  const touchSome = Effect.suspend(() => {
    const perRound = Duration.toMillis(onlineTtl) / touchesInOnlineTtl / Duration.toMillis(touchTick)
    const some = roster.oldest(Math.ceil(roster.all.size / Math.max(1, perRound)))
    // A message whose publication was lost is found so.
    for (const one of some) one.fallBehind()
    return Effect.forEach(some, touch, { concurrency, discard: true })
  })

  yield* watching("which sessions end", session.kicks(gateway), kicked)
  // Whoever connects is told of all that is pushed from then on.
  const hears = yield* Latch.make(false)
  yield* watching(
    "messages",
    Stream.onFirst(push.listen(gateway), () => hears.open),
    hear
  )
  yield* Effect.timeoutOrElse(hears.await, {
    duration: listenTime,
    orElse: () => Effect.logWarning("the gateway starts without hearing messages")
  })
  yield* Effect.forkScoped(
    Effect.repeat(
      Effect.andThen(
        hangUp,
        // What is remembered of a token is enough for most of them, and needs no effect.
        Effect.suspend(() => {
          const others = [...roster.all].filter(({ token }) => auth.recall(Redacted.value(token)) === undefined)
          return Effect.forEach(others, verify, { discard: true })
        })
      ),
      Schedule.spaced(verifyInterval)
    )
  )
  yield* Effect.forkScoped(Effect.repeat(touchSome, Schedule.spaced(touchTick)))

  const empty = Effect.callback<void>((resume) => {
    roster.onEmpty = () => resume(Effect.void)
    if (roster.isEmpty) resume(Effect.void)
  })
  const drain = Effect.gen(function* () {
    isDraining = true
    const all = [...roster.all]
    const step = Math.ceil(all.length / drainSteps)
    for (let from = 0; from < all.length; from += step) {
      if (from > 0) yield* Effect.sleep(Duration.divideUnsafe(settings.drainTime, drainSteps))
      all.slice(from, from + step).forEach(leaveToNext)
    }
    yield* Effect.timeoutOption(empty, drainedTime)
  })

  /** Takes what a client sends, until it says no more. It waits with one step alone on the stack of its fiber. */
  const serve = (connection: Connection, next: Pull.Pull<ReadonlyArray<ConnectRequest>>): Effect.Effect<void> => {
    const end = (how: "done" | Cause.Cause<ConnectError>) => Effect.sync(() => connection.end(how))
    const taking: Effect.Effect<void> = Effect.matchCauseEffect(next, {
      onFailure: (cause) => {
        const exit = Pull.doneExitFromCause(cause)
        return end(Exit.isSuccess(exit) ? "done" : exit.cause)
      },
      onSuccess: (requests) =>
        Effect.matchCauseEffect(
          Effect.forEach(requests, (request) => take(connection, request), { discard: true }),
          { onFailure: end, onSuccess: () => taking }
        )
    })
    return taking
  }

  const start = Effect.fnUntraced(function* (requests: Stream.Stream<ConnectRequest>, scope: Scope.Scope) {
    const { playerId } = yield* Principal
    const call = yield* Call
    // The Authenticator has read it from there.
    const token = yield* Effect.orDie(Authenticator.token(call))
    // One fiber at a time pulls: first this one, then that which serves.
    const next = yield* Channel.toPullScoped(requests.channel, scope)
    const [first, ...others] = yield* Effect.timeoutOrElse(
      Pull.catchDone(next, () => Effect.fail(noHello)),
      { duration: helloTime, orElse: () => Effect.fail(noHello) }
    )
    if (first.message?.$case !== "hello") return yield* noHello
    const connection = yield* open({ call, playerId, token }, first.message.hello)
    for (const request of others) yield* take(connection, request)
    yield* Effect.forkScoped(serve(connection, next))
    return connection
  })

  return Connections.of({
    gateway,
    // Without the layers of Stream.unwrap, which thousands of players would hold.
    connect: (requests) =>
      Stream.fromChannel(
        Channel.fromTransform((_, scope) =>
          Effect.map(Effect.provideService(start(requests, scope), Scope.Scope, scope), ({ pull }) => pull)
        )
      ),
    drain
  })
})

/** Keeps the connections on rooms session and auth, and on {@link Push}, as sections `gateway` and `session` say. */
export const ConnectionsLive: Layer.Layer<Connections, InvalidConfig, Auth | Session | Push> = Layer.effect(
  Connections,
  make
)

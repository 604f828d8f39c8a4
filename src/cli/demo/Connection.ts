import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type { ConnectRequest, ConnectResponse, Welcome } from "../../gen/gateway.ts"
import type { Account } from "./Account.ts"
import { type Failure, kindOf, type Tally } from "./Tally.ts"

/** How long nothing may be heard before a connection counts as dead, in milliseconds. It is asked every second. */
const silence = 3_000

/** How long to wait after so many connections in a row that were not made. */
const delayOf = (failed: number): number => (failed === 0 ? 0 : Math.min(1_000, 25 * 2 ** failed))

/** Nothing was heard of the gateway, though it was asked. */
const silent: Failure = { _tag: "Silent" }

/**
 * Keeps a player connected in the scope of the caller: after every end it connects again, and is told what it missed.
 *
 * - `reconnect`: ends the connection, so that another is made
 * - `renew`: shows the newest access token
 */
export const make = Effect.fnUntraced(function* (account: Account, tally: Tally) {
  let lastSequence = 0n
  let series = ""
  let heardAt = yield* Clock.currentTimeMillis
  let lostAt: number | undefined
  let isConnected = false
  let requests: Queue.Queue<ConnectRequest> | undefined
  let hungUp: Deferred.Deferred<void> | undefined

  const say = (message: ConnectRequest["message"]): Effect.Effect<void> =>
    Effect.sync(() => {
      if (requests !== undefined) Queue.offerUnsafe(requests, { message })
    })

  const welcome = (told: Welcome): void => {
    const { missed, sequence } = told
    series = told.series
    if (missed) tally.missed++
    // What follows is told from the number that it was asked for; another one is one that it never heard of.
    else if (lastSequence !== 0n && sequence !== lastSequence) tally.failed({ _tag: "OutOfOrder" })
    lastSequence = sequence
    if (isConnected) return
    isConnected = true
    tally.connected++
    tally.connections++
    if (lostAt !== undefined) tally.away(heardAt - lostAt)
    lostAt = undefined
  }

  const hear = ({ message }: ConnectResponse): Effect.Effect<void> =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      heardAt = now
      if (message?.$case === "welcome") welcome(message.welcome)
      if (message?.$case !== "pushed") return
      tally.pushes++
      const { sequence } = message.pushed
      if (sequence === 0n) return
      if (sequence !== lastSequence + 1n) tally.failed({ _tag: "OutOfOrder" })
      lastSequence = sequence
    })

  /** Asks every second, and fails when there is no answer. */
  const listenIn = Effect.gen(function* () {
    for (let id = 1n; ; id++) {
      yield* Effect.sleep("1 second")
      const now = yield* Clock.currentTimeMillis
      if (now - heardAt > silence) return yield* Effect.fail(silent)
      if (isConnected) yield* say({ $case: "ping", ping: { id } })
    }
  })

  /** One connection, until it ends. */
  const once = Effect.gen(function* () {
    const sent = (requests = yield* Queue.unbounded<ConnectRequest>())
    const ended = (hungUp = yield* Deferred.make<void>())
    heardAt = yield* Clock.currentTimeMillis
    yield* say({ $case: "hello", hello: { lastSequence, series, device: "" } })
    const { metadata } = account.identity()
    yield* account.gateway
      .connect(Stream.fromQueue(sent), { metadata: metadata! })
      .pipe(Stream.runForEach(hear), Effect.raceFirst(listenIn), Effect.raceFirst(Deferred.await(ended)))
  })

  /** What its end was, and from when on the player was away. */
  const over = Effect.fnUntraced(function* (exit: Exit.Exit<void, Failure>) {
    const failure = Option.getOrUndefined(Exit.findErrorOption(exit))
    if (failure !== undefined) tally.failed(failure)
    lostAt ??= failure === silent ? heardAt : yield* Clock.currentTimeMillis
    const wasConnected = isConnected
    isConnected = false
    if (wasConnected) tally.connected--
    if (failure !== undefined && /^(Unauthenticated|SessionEnded)/.test(kindOf(failure))) {
      yield* Effect.ignore(account.refresh)
    }
    return wasConnected
  })

  const forEver = Effect.gen(function* () {
    for (let failed = 0; ; failed++) {
      yield* Effect.sleep((yield* Random.next) * delayOf(failed))
      const exit = yield* Effect.exit(once)
      if (yield* over(exit)) failed = -1
    }
  })

  yield* Effect.forkScoped(
    Effect.ensuring(
      forEver,
      Effect.sync(() => {
        if (isConnected) tally.connected--
      })
    )
  )
  return {
    reconnect: Effect.suspend(() => (hungUp === undefined ? Effect.void : Deferred.succeed(hungUp, undefined))),
    renew: Effect.suspend(() => say({ $case: "renew", renew: { accessToken: account.accessToken() } }))
  }
})

// How a gateway learns which of its sessions have ended: by what is published for it, and by looking at those that it
// knows whenever something may have been missed.
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Kick, KickReason, SessionData } from "../Session.ts"
import type { SessionError, SessionErrorReason } from "../SessionError.ts"
import { judge, movedTo } from "./judge.ts"
import { mayComeBack, type Member, memberOfNotice, type Notice, parse } from "./members.ts"
import type { Store } from "./store.ts"

/** How many sessions are looked at in one round trip. */
const page = 256

const reasonOf = ({ _tag }: SessionErrorReason): KickReason =>
  _tag === "Superseded"
    ? "superseded"
    : _tag === "Banned"
      ? "banned"
      : _tag === "Revoked" || _tag === "Unreadable"
        ? "revoked"
        : "ended"

/** What has become of a session of a gateway: it is good, or this has ended it. */
type Verdict = Result.Result<SessionData, Pick<Kick, "reason" | "to">>

/** The verdict on each member; nothing where the store did not say. */
export const verify = Effect.fnUntraced(function* (store: Store, members: ReadonlyArray<Member>) {
  const readings = yield* store.readAll(members)
  return members.map(({ claim, epoch, player }, index): Verdict | undefined => {
    const reading = readings[index]!
    if (Result.isFailure(reading)) {
      const { reason } = reading.failure
      return reason._tag === "Unreadable" ? Result.fail({ reason: reasonOf(reason) }) : undefined
    }
    const to = movedTo(reading.success, epoch)
    return Result.mapError(judge(player.id, reading.success, store.floor(), claim), (reason) =>
      to === undefined ? { reason: reasonOf(reason) } : { reason: "moved", to }
    )
  })
})

/**
 * When a gateway looks again after it has missed something: what others note of its sessions takes a moment, and the
 * store may not have answered.
 */
const secondLook = "400 millis"

/** The gateways that this process serves, by what they know of their sessions. */
export interface Kicks {
  readonly stream: (gateway: string) => Stream.Stream<Kick, SessionError>
  /** A gateway has a session. */
  readonly learn: (gateway: string, member: string) => void
  /** A gateway ends a session itself, and is not to be told. */
  readonly forget: (gateway: string, member: string) => void
  /** It is not known whether the gateway has ended the session: it is to be told when it ends, or has. */
  readonly doubt: (gateway: string, member: string) => void
}

/** How many kicks wait at most for a gateway; behind them the store's own subscription keeps as many messages as it does. */
const mostKicks = 1_024

/** How many sessions that have ended are remembered, so that none is told twice. */
const mostTold = 4_096

/** What one listener of a gateway knows, by members. */
class Watch {
  readonly known = new Set<string>()
  /** Wants another look soon. */
  readonly again: () => void
  /** Ends the listener's stream. */
  readonly close: () => void
  private readonly told = new Set<string>()

  constructor(again: () => void, close: () => void) {
    this.again = again
    this.close = close
  }

  /** There is a session. One of a Go service may have ended before, and come back. */
  learn(member: string): void {
    this.known.add(member)
    if (mayComeBack(member)) this.told.delete(member)
  }

  /** A session that was taken for ended may not have. */
  doubt(member: string): void {
    this.known.add(member)
    this.told.delete(member)
    this.again()
  }

  /** Whether it is news that a session has ended. */
  end(member: string): boolean {
    this.known.delete(member)
    if (this.told.has(member)) return false
    this.told.add(member)
    if (this.told.size > mostTold) {
      const [oldest] = this.told
      this.told.delete(oldest!)
    }
    return true
  }
}

/** Listeners end when the scope closes. */
export const make = (store: Store, sweepInterval: Duration.Duration): Effect.Effect<Kicks, never, Scope.Scope> =>
  Effect.gen(function* () {
    const watched = new Map<string, Set<Watch>>()
    let isClosed = false
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isClosed = true
        watched.forEach((all) => all.forEach(({ close }) => close()))
      })
    )
    const each = (gateway: string, act: (watch: Watch) => void) => watched.get(gateway)?.forEach(act)

    const watching = (gateway: string, watch: Watch) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          watched.set(gateway, (watched.get(gateway) ?? new Set()).add(watch))
          if (isClosed) watch.close()
        }),
        () =>
          Effect.sync(() => {
            const all = watched.get(gateway)!
            all.delete(watch)
            if (all.size === 0) watched.delete(gateway)
          })
      )

    return {
      stream: (gateway) =>
        Stream.unwrap(
          Effect.gen(function* () {
            const missed = yield* Queue.sliding<void>(1)
            const looks = yield* Queue.sliding<void>(1)
            const kicks = yield* Queue.bounded<Kick, SessionError | Cause.Done>(mostKicks)
            const watch = new Watch(
              () => Queue.offerUnsafe(missed, undefined),
              () => Queue.endUnsafe(kicks)
            )
            yield* watching(gateway, watch)
            const look = Effect.sync(() => Queue.offerUnsafe(looks, undefined))
            const gap = Effect.andThen(Effect.sync(watch.again), look)
            yield* Effect.forEach(
              [
                Stream.runForEach(store.floorChanges, () => gap),
                Stream.runForEach(Stream.debounce(Stream.fromQueue(missed), secondLook), () => look),
                Effect.repeat(look, Schedule.spaced(sweepInterval))
              ],
              (task) => Effect.forkScoped(task)
            )
            // By fibers of their own: a look at many sessions takes long, and holds up no message.
            const messages = Stream.runForEach(store.subscribe(gateway), (event) =>
              event._tag === "Gap"
                ? gap
                : Effect.asVoid(Queue.offerAll(kicks, hear(store, gateway, watch, event.value)))
            )
            const sweeps = Effect.forever(Effect.andThen(Queue.take(looks), sweep(store, gateway, watch, kicks)))
            yield* Effect.forEach([messages, sweeps], (task) => Effect.forkScoped(Queue.into(task, kicks)))
            return Stream.fromQueue(kicks)
          })
        ),
      learn: (gateway, member) => each(gateway, (watch) => watch.learn(member)),
      forget: (gateway, member) => each(gateway, (watch) => watch.end(member)),
      doubt: (gateway, member) => each(gateway, (watch) => watch.doubt(member))
    }
  })

/** What a message says to a listener: nothing when it knows. */
const hear = (store: Store, gateway: string, watch: Watch, notice: Notice): ReadonlyArray<Kick> => {
  const { of: _, ...kick } = notice
  const member = memberOfNotice(notice)
  store.note(gateway, member, "gone")
  return watch.end(member) ? [kick] : []
}

/** Looks at what is listed and known, and tells of what has ended. While the store is away it asks again soon. */
const sweep = (store: Store, gateway: string, watch: Watch, kicks: Queue.Enqueue<Kick, SessionError | Cause.Done>) =>
  Effect.gen(function* () {
    const listed = new Set<string>()
    yield* Stream.runForEach(store.members(gateway), (members) =>
      Effect.sync(() => members.forEach((member) => listed.add(member)))
    ).pipe(
      // Something else stands at the key of the list: what is known is looked at all the same.
      Effect.catchIf(
        ({ reason }) => reason._tag === "Unreadable",
        () => Effect.void
      )
    )
    const names = [...new Set([...watch.known, ...listed])]
    for (let from = 0; from < names.length; from += page) {
      // What is no member is nobody's session.
      const some = names.slice(from, from + page).flatMap((name) => {
        const member = parse(name, gateway)
        return member === undefined ? [] : [{ ...member, name }]
      })
      some.forEach(({ name }) => {
        if (listed.has(name)) watch.known.add(name)
      })
      const verdicts = yield* verify(store, some)
      const ended = some.flatMap(({ device, epoch, name, player }, index): ReadonlyArray<Kick> => {
        const verdict = verdicts[index]
        if (verdict === undefined) watch.again()
        else if (Result.isSuccess(verdict)) {
          // The gateway may have ended it in the meantime.
          if (watch.known.has(name)) watch.learn(name)
          if (!listed.has(name)) store.note(gateway, name, "listed")
        } else {
          store.note(gateway, name, "gone")
          if (watch.end(name)) return [{ playerId: player.id, device, epoch, ...verdict.failure }]
        }
        return []
      })
      yield* Queue.offerAll(kicks, ended)
    }
  }).pipe(
    Effect.catchIf(
      (error) => error.isRetryable,
      () => Effect.sync(watch.again)
    )
  )

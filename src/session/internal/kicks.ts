// How a gateway learns which of its sessions have ended: by what is published for it, and by looking at those that it
// knows whenever something may have been missed.
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Event } from "../../redis/Channel.ts"
import type { Kick, KickReason, SessionData } from "../Session.ts"
import type { SessionError, SessionErrorReason } from "../SessionError.ts"
import { playerOf } from "./input.ts"
import { judge, movedTo } from "./judge.ts"
import { type Member, memberOfKick, parse } from "./members.ts"
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
  const of = members.map(({ device, playerId }) => ({ player: Result.getOrThrow(playerOf(playerId)), device }))
  const readings = yield* store.readAll(of)
  return members.map(({ claim, epoch, playerId }, index): Verdict | undefined => {
    const reading = readings[index]!
    if (Result.isFailure(reading)) {
      const { reason } = reading.failure
      return reason._tag === "Unreadable" ? Result.fail({ reason: reasonOf(reason) }) : undefined
    }
    const to = movedTo(reading.success, epoch)
    return Result.mapError(judge(playerId, reading.success, store.floor(), claim), (reason) =>
      to === undefined ? { reason: reasonOf(reason) } : { reason: "moved", to }
    )
  })
})

/**
 * When a gateway looks again after it has missed something: what others note of its sessions takes a moment, and the
 * store may not have answered.
 */
const secondLook = "400 millis"

type Cue = Event<Kick> | { readonly _tag: "Look" }

const gap: Cue = { _tag: "Gap" }
const look: Cue = { _tag: "Look" }

/** The gateways that this process serves, by what they know of their sessions. */
export interface Kicks {
  readonly stream: (gateway: string) => Stream.Stream<Kick, SessionError>
  /** A gateway has a session. */
  readonly learn: (gateway: string, member: string) => void
  /** A gateway ends a session itself, and is not to be told. */
  readonly forget: (gateway: string, member: string) => void
}

/** How many cues wait at most; behind them the store's own subscription keeps as many messages as it does. */
const mostCues = 1_024

/** How many sessions that have ended are remembered, so that none is told twice. */
const mostTold = 4_096

/** What one listener of a gateway knows, by members. */
class Watch {
  readonly known = new Set<string>()
  /** Wants another look soon. */
  readonly again: () => void
  private readonly told = new Set<string>()

  constructor(again: () => void) {
    this.again = again
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

export const make = (store: Store, sweepInterval: Duration.Duration): Kicks => {
  const watched = new Map<string, Set<Watch>>()

  const watching = (gateway: string, again: () => void) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const watch = new Watch(again)
        watched.set(gateway, (watched.get(gateway) ?? new Set()).add(watch))
        return watch
      }),
      (watch) =>
        Effect.sync(() => {
          const all = watched.get(gateway)!
          all.delete(watch)
          if (all.size === 0) watched.delete(gateway)
        })
    )

  const sweep = Effect.fnUntraced(function* (gateway: string, watch: Watch) {
    const listed = new Set<string>()
    yield* Stream.runForEach(store.members(gateway), (members) =>
      Effect.sync(() => members.forEach((member) => listed.add(member)))
    )
    listed.forEach((member) => watch.known.add(member))
    const kicks: Array<Kick> = []
    // What is no member is nobody's session.
    const all = [...watch.known].map((name) => ({ name, member: parse(name, gateway) }))
    const members = all.flatMap(({ member, name }) => (member === undefined ? [] : [{ ...member, name }]))
    for (let from = 0; from < members.length; from += page) {
      const some = members.slice(from, from + page)
      const verdicts = yield* verify(store, some)
      for (const [index, { device, epoch, name, playerId }] of some.entries()) {
        const verdict = verdicts[index]
        if (verdict === undefined) {
          watch.again()
          continue
        }
        if (Result.isSuccess(verdict)) {
          if (!listed.has(name)) store.note(gateway, name, "listed")
          continue
        }
        store.note(gateway, name, "gone")
        if (watch.end(name)) kicks.push({ playerId, device, epoch, ...verdict.failure })
      }
    }
    return kicks
  })

  const hear = (gateway: string, watch: Watch, kick: Kick): ReadonlyArray<Kick> => {
    // Of a session without an epoch it cannot be said which one it is; the next look forgets it.
    if (kick.epoch === 0) return [kick]
    const member = memberOfKick(kick)
    store.note(gateway, member, "gone")
    return watch.end(member) ? [kick] : []
  }

  /** While the store is away nothing can be said: it is asked again. */
  const patiently = (gateway: string, watch: Watch) =>
    Effect.catchIf(
      sweep(gateway, watch),
      (error) => error.isRetryable,
      () =>
        Effect.sync(() => {
          watch.again()
          return []
        })
    )

  return {
    stream: (gateway) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const missed = yield* Queue.sliding<void>(1)
          const watch = yield* watching(gateway, () => Queue.offerUnsafe(missed, undefined))
          // One queue, filled by fibers of their own: streams merged would hand over one message at a time, and fall behind.
          const cues = yield* Queue.bounded<Cue, SessionError | Cause.Done>(mostCues)
          const looks: ReadonlyArray<Stream.Stream<Cue>> = [
            Stream.map(store.floorChanges, () => gap),
            Stream.map(Stream.debounce(Stream.fromQueue(missed), secondLook), () => look),
            Stream.map(Stream.fromSchedule(Schedule.spaced(sweepInterval)), () => look)
          ]
          yield* Effect.forEach(looks, (cue) =>
            Effect.forkScoped(Stream.runForEach(cue, (one) => Queue.offer(cues, one)))
          )
          yield* Effect.forkScoped(Stream.runIntoQueue(store.subscribe(gateway), cues))
          return Stream.fromQueue(cues).pipe(
            Stream.mapEffect((cue: Cue) => {
              if (cue._tag === "Message") return Effect.succeed(hear(gateway, watch, cue.value))
              if (cue._tag === "Gap") watch.again()
              return patiently(gateway, watch)
            }),
            Stream.flattenIterable
          )
        })
      ),
    learn: (gateway, member) => watched.get(gateway)?.forEach(({ known }) => known.add(member)),
    forget: (gateway, member) => watched.get(gateway)?.forEach((watch) => watch.end(member))
  }
}

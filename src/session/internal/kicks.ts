// How a gateway learns which of its sessions have ended: by what is published for it, and by looking at those that it
// knows whenever something may have been missed.
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
import { type Member, memberOf, memberOfKick, parse } from "./members.ts"
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

/** When a gateway looks again after it has missed something: what others note of its sessions takes a moment. */
const secondLook = "400 millis"

type Cue = Event<Kick> | { readonly _tag: "Look" }

const gap: Cue = { _tag: "Gap" }
const look: Cue = { _tag: "Look" }

/** The gateways that this process serves, by what they know of their sessions. */
export interface Kicks {
  readonly stream: (gateway: string) => Stream.Stream<Kick, SessionError>
  /** A gateway has a session. */
  readonly learn: (session: SessionData) => void
  /** A gateway ends a session itself, and is not to be told; false when it is not of this process. */
  readonly forget: (session: SessionData) => boolean
}

export const make = (store: Store, sweepInterval: Duration.Duration): Kicks => {
  const watched = new Map<string, Set<Set<string>>>()

  const watch = (gateway: string) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const known = new Set<string>()
        const all = watched.get(gateway) ?? new Set()
        watched.set(gateway, all.add(known))
        return known
      }),
      (known) =>
        Effect.sync(() => {
          const all = watched.get(gateway)!
          all.delete(known)
          if (all.size === 0) watched.delete(gateway)
        })
    )

  const sweep = Effect.fnUntraced(function* (gateway: string, known: Set<string>) {
    yield* Stream.runForEach(store.members(gateway), (members) =>
      Effect.sync(() => members.forEach((member) => known.add(member)))
    )
    const kicks: Array<Kick> = []
    const look = [...known]
    for (let from = 0; from < look.length; from += page) {
      const names = look.slice(from, from + page)
      const members = names.map((name) => parse(name, gateway))
      const readable = members.filter((member) => member !== undefined)
      const verdicts = yield* verify(store, readable)
      for (const [index, name] of names.entries()) {
        const member = members[index]
        const verdict = member === undefined ? undefined : verdicts[readable.indexOf(member)]
        // Not known: the next sweep asks again. What is no member at all is nobody's session.
        if (member !== undefined && (verdict === undefined || Result.isSuccess(verdict))) continue
        const isKnown = known.delete(name)
        store.note(gateway, name, "gone")
        if (member !== undefined && verdict !== undefined && Result.isFailure(verdict) && isKnown) {
          const { device, epoch, playerId } = member
          kicks.push({ playerId, device, epoch, ...verdict.failure })
        }
      }
    }
    return kicks
  })

  const hear = (gateway: string, known: Set<string>, kick: Kick): ReadonlyArray<Kick> => {
    const member = memberOfKick(kick)
    known.delete(member)
    store.note(gateway, member, "gone")
    return [kick]
  }

  /** While the store is away nothing can be said: it will be asked again. */
  const patiently = (gateway: string, known: Set<string>) =>
    Effect.catchIf(
      sweep(gateway, known),
      (error) => error.isRetryable,
      () => Effect.succeed([])
    )

  return {
    stream: (gateway) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const known = yield* watch(gateway)
          const missed = yield* Queue.sliding<void>(1)
          return store.subscribe(gateway).pipe(
            Stream.merge(Stream.map(store.floorChanges, () => gap)),
            Stream.merge(Stream.map(Stream.debounce(Stream.fromQueue(missed), secondLook), () => look)),
            Stream.merge(Stream.map(Stream.fromSchedule(Schedule.spaced(sweepInterval)), () => look)),
            Stream.mapEffect((cue: Cue) => {
              if (cue._tag === "Message") return Effect.succeed(hear(gateway, known, cue.value))
              if (cue._tag === "Gap") Queue.offerUnsafe(missed, undefined)
              return patiently(gateway, known)
            }),
            Stream.flattenIterable
          )
        })
      ),
    learn: (session) => watched.get(session.gateway)?.forEach((known) => known.add(memberOf(session))),
    forget: (session) => {
      const all = watched.get(session.gateway)
      all?.forEach((known) => known.delete(memberOf(session)))
      return all !== undefined
    }
  }
}

import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import * as Reason from "../../utils/Reason.ts"

/** A player, topic or payload cannot be used. Nothing was sent. `problem`: says what is wrong, not the value. */
export class InvalidInput extends Reason.permanent<InvalidInput>("xdooria/services/gateway/InvalidInput")(
  "InvalidInput",
  { problem: Schema.String }
) {
  override get message(): string {
    return `it cannot be pushed: ${this.problem}`
  }
}

/** The store of the messages does not answer; the message was not kept. `detail`: how. */
export class Unavailable extends Reason.transient<Unavailable>("xdooria/services/gateway/Unavailable")("Unavailable", {
  detail: Schema.String
}) {
  override get message(): string {
    return `the store of the messages does not answer (${this.detail})`
  }
}

/** The reply of the store was lost: the message may have been kept. `detail`: how. */
export class OutcomeUnknown extends Reason.ambiguous<OutcomeUnknown>("xdooria/services/gateway/OutcomeUnknown")(
  "OutcomeUnknown",
  { detail: Schema.String }
) {
  override get message(): string {
    return `the reply was lost (${this.detail}), the message may arrive`
  }
}

/** The store refuses it: a permission, a password, its memory. `detail`: which refusal. */
export class Refused extends Reason.permanent<Refused>("xdooria/services/gateway/Refused")("Refused", {
  detail: Schema.String
}) {
  override get message(): string {
    return `the store of the messages refuses it (${this.detail})`
  }
}

/** Why a message could not be pushed, or messages not be heard. */
export const PushErrorReason = Schema.Union([InvalidInput, Unavailable, OutcomeUnknown, Refused])

/** The error of {@link Push}. */
export class PushError extends Reason.error<PushError>("xdooria/services/gateway/PushError")("PushError", {
  reason: PushErrorReason
}) {
  override get message(): string {
    return `push: ${this.reason.message}`
  }
}

/** The largest payload, in bytes of UTF-8. */
const longestPayload = 16 * 1024

const isPayload = (text: string): boolean =>
  text.length <= longestPayload &&
  Buffer.byteLength(text) <= longestPayload &&
  text.isWellFormed() &&
  Result.isSuccess(Result.try(() => JSON.parse(text) as unknown))

/**
 * What players are told.
 *
 * - `topic`: what it is about: 1 to 64 characters of `A-Z a-z 0-9 . _ -`
 * - `payload`: JSON, up to 16 KB
 */
export const Message = Schema.Struct({
  topic: Schema.String.check(
    Schema.isPattern(/^[A-Za-z0-9._-]{1,64}$/, { expected: "1 to 64 characters of A-Z a-z 0-9 . _ -" })
  ),
  payload: Schema.String.check(Schema.makeFilter(isPayload, { expected: "JSON of at most 16 KB" }))
})

/** See {@link Message}. */
export type Message = typeof Message.Type

/** A message to one player, with its place among those of the player: from 1, without gaps in a {@link Since.series}. */
export const Numbered = Schema.Struct({ sequence: Schema.Int, topic: Schema.String, payload: Schema.String })

/** See {@link Numbered}. */
export type Numbered = typeof Numbered.Type

/**
 * What a gateway hears.
 *
 * - `Message`: one for a player; it may be one who is not connected to it. A player's messages may come twice, and one
 *   may be missing: series and sequence tell, and {@link Push.since} has it
 * - `Broadcast`: one for everybody; one that is missing is lost
 * - `Gap`: from here on everything is heard, and before it messages may be missing; the first event
 */
export type Heard =
  | { readonly _tag: "Message"; readonly playerId: string; readonly series: string; readonly message: Numbered }
  | { readonly _tag: "Broadcast"; readonly message: Message }
  | { readonly _tag: "Gap" }

/**
 * The messages after a sequence number, in order.
 *
 * - `series`: the name of the numbers from 1 on, another one each time they begin anew; empty when there are none
 * - `sequence`: that of the player's last message; 0 when there was none, or none for 30 days
 * - `missed`: whether some are no longer known: of each player the last 100 are, for an hour after the last. So too when
 *   the number that was asked for is of another series, and then `messages` are all that are kept, or is higher than the
 *   last: the store has lost messages
 */
export interface Since {
  readonly series: string
  readonly messages: ReadonlyArray<Numbered>
  readonly sequence: number
  readonly missed: boolean
}

/** Tells players something, wherever they are connected. Any service may send; gateways listen. */
export class Push extends Context.Service<
  Push,
  {
    /**
     * Sends a message to a player, who gets it at once when connected, else with the next connection. Gives its sequence
     * number. Fails with `InvalidInput`, `Unavailable`, `OutcomeUnknown` or `Refused`.
     */
    readonly send: (playerId: string, message: Message) => Effect.Effect<number, PushError>
    /** Sends a message to everybody who is connected now. Fails as `send`. */
    readonly broadcast: (message: Message) => Effect.Effect<void, PushError>
    /**
     * What was sent to a player after a sequence number of a series; of the one that there is when that is left out or
     * empty. Fails with `InvalidInput`, `Unavailable` or `Refused`.
     */
    readonly since: (playerId: string, sequence: number, series?: string) => Effect.Effect<Since, PushError>
    /** What a gateway is to tell its players, for as long as the stream runs; while the store is away it waits. */
    readonly listen: (gateway: string) => Stream.Stream<Heard, PushError>
  }
>()("xdooria/services/gateway/Push") {}

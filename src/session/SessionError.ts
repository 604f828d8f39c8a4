import * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"
import * as Reason from "../utils/Reason.ts"

/** A player id cannot be a part of a key as it stands; it is refused, never encoded. `problem`: what is wrong with it. */
export class InvalidPlayerId extends Reason.permanent<InvalidPlayerId>("xdooria/session/InvalidPlayerId")(
  "InvalidPlayerId",
  { problem: Schema.String }
) {
  override get message(): string {
    return `the player id cannot be used: ${this.problem}`
  }
}

/** Another argument is refused before anything is sent. `field`: which; `problem`: what is wrong, not the value. */
export class InvalidInput extends Reason.permanent<InvalidInput>("xdooria/session/InvalidInput")("InvalidInput", {
  field: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `${this.field}: ${this.problem}`
  }
}

/** There is no such session: it was ended by its owner, it expired, or the server lost it. */
export class NotFound extends Reason.permanent<NotFound>("xdooria/session/NotFound")("NotFound", {}) {
  override get message(): string {
    return "there is no such session"
  }
}

/** A newer login has taken the place of the session, or it was handed over to another gateway. */
export class Superseded extends Reason.permanent<Superseded>("xdooria/session/Superseded")("Superseded", {}) {
  override get message(): string {
    return "a newer login has taken the place of the session"
  }
}

/** The session was ended by somebody else: kicked, revoked, or deleted by a Go service. */
export class Revoked extends Reason.permanent<Revoked>("xdooria/session/Revoked")("Revoked", {}) {
  override get message(): string {
    return "the session was revoked"
  }
}

/** The player is banned. `until`: when that ends; absent for ever. */
export class Banned extends Reason.permanent<Banned>("xdooria/session/Banned")("Banned", {
  until: Schema.optionalKey(Schema.DateTimeUtcFromString)
}) {
  override get message(): string {
    return this.until === undefined
      ? "the player is banned for ever"
      : `the player is banned until ${DateTime.formatIso(this.until)}`
  }
}

/** What stands at the player's key is not a session of the plan. A login replaces it. `problem`: what is wrong. */
export class Unreadable extends Reason.permanent<Unreadable>("xdooria/session/Unreadable")("Unreadable", {
  problem: Schema.String
}) {
  override get message(): string {
    return `what is stored is not a session: ${this.problem}`
  }
}

/** The store cannot be reached or does not take the operation now; nothing was applied. `detail`: what it met. */
export class Unavailable extends Reason.transient<Unavailable>("xdooria/session/Unavailable")("Unavailable", {
  detail: Schema.String
}) {
  override get message(): string {
    return `the store of sessions is not available: ${this.detail}`
  }
}

/** The operation was sent and its reply was lost: it may have been applied. `detail`: how it was lost. */
export class OutcomeUnknown extends Reason.ambiguous<OutcomeUnknown>("xdooria/session/OutcomeUnknown")(
  "OutcomeUnknown",
  { detail: Schema.String }
) {
  override get message(): string {
    return `the reply was lost (${this.detail}), the operation may have been applied`
  }
}

/** It was applied, but fewer replicas than `session.replicas` have confirmed it in time: a failover may undo it. */
export class Unconfirmed extends Reason.transient<Unconfirmed>("xdooria/session/Unconfirmed")("Unconfirmed", {
  confirmed: Schema.Int
}) {
  override get message(): string {
    return `applied, but confirmed by only ${this.confirmed} replicas`
  }
}

/** The store refuses the operation for good: permissions, or its configuration. `detail`: the reason of room redis. */
export class Refused extends Reason.permanent<Refused>("xdooria/session/Refused")("Refused", {
  detail: Schema.String
}) {
  override get message(): string {
    return `the store of sessions refuses the operation: ${this.detail}`
  }
}

/** Why an operation failed. */
export const SessionErrorReason = Schema.Union([
  InvalidPlayerId,
  InvalidInput,
  NotFound,
  Superseded,
  Revoked,
  Banned,
  Unreadable,
  Unavailable,
  OutcomeUnknown,
  Unconfirmed,
  Refused
])

/** See {@link SessionErrorReason}. */
export type SessionErrorReason = typeof SessionErrorReason.Type

/** The error of room session. Its message has no player id and no token. */
export class SessionError extends Reason.error<SessionError>("xdooria/session/SessionError")("SessionError", {
  reason: SessionErrorReason
}) {
  override get message(): string {
    return `session: ${this.reason.message}`
  }
}

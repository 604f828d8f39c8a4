import * as Schema from "effect/Schema"
import type { PgError } from "../pg/PgError.ts"
import type { RedisFailure, RedisFailureReason } from "../redis/RedisError.ts"
import * as Reason from "../utils/Reason.ts"

/** The lock was not free, or others wait for it, and the caller does not wait (`wait` 0). */
export class Held extends Reason.transient<Held>("xdooria/lock/Held")("Held", {}) {
  override get message(): string {
    return "another holds the lock, or waits for it"
  }
}

/** The lock did not come free in `wait`. `millis`: how long that was. */
export class Timeout extends Reason.transient<Timeout>("xdooria/lock/Timeout")("Timeout", { millis: Schema.Finite }) {
  override get message(): string {
    return `the lock did not come free in ${this.millis} ms`
  }
}

/**
 * The lease ended before what it protects did, which was interrupted, wherever it was.
 *
 * - `how`: `expired`, it could not be renewed in time; `taken`, its key is gone or another's; `released`, its scope
 *   has ended; `closed`, that of the service of the locks has
 */
export class Lost extends Reason.ambiguous<Lost>("xdooria/lock/Lost")("Lost", {
  how: Schema.Literals(["expired", "taken", "released", "closed"])
}) {
  override get message(): string {
    return `the lease was lost (${this.how}) before its work was done`
  }
}

/** A guarded write came with a fencing token that is lower than one seen before. Nothing was written. */
export class Stale extends Reason.permanent<Stale>("xdooria/lock/Stale")("Stale", {}) {
  override get message(): string {
    return "a later holder of the lock has written: the write was refused"
  }
}

/** The key or an option cannot be used. `problem`: says what is wrong, not the key. */
export class InvalidInput extends Reason.permanent<InvalidInput>("xdooria/lock/InvalidInput")("InvalidInput", {
  problem: Schema.String
}) {
  override get message(): string {
    return `a lock cannot be asked for so: ${this.problem}`
  }
}

/** The scope of the service of the locks has ended, or that of its client of Redis. The lock was not given. */
export class Closed extends Reason.permanent<Closed>("xdooria/lock/Closed")("Closed", {}) {
  override get message(): string {
    return "the service of the locks is closed"
  }
}

/** The server of the lock, or that of its tokens, does not answer now. The lock was not given. `detail`: how. */
export class Unavailable extends Reason.transient<Unavailable>("xdooria/lock/Unavailable")("Unavailable", {
  detail: Schema.String
}) {
  override get message(): string {
    return `the server is not available (${this.detail})`
  }
}

/** The reply to a guarded write was lost: it may have been applied. `detail`: how it was lost. */
export class OutcomeUnknown extends Reason.ambiguous<OutcomeUnknown>("xdooria/lock/OutcomeUnknown")("OutcomeUnknown", {
  detail: Schema.String
}) {
  override get message(): string {
    return `the reply was lost (${this.detail}), the guarded write may have been applied`
  }
}

/** The server will not do it: a permission, a password, a sequence that is missing. `detail`: which refusal. */
export class Refused extends Reason.permanent<Refused>("xdooria/lock/Refused")("Refused", { detail: Schema.String }) {
  override get message(): string {
    return `the server refuses it (${this.detail})`
  }
}

/** Why a lock was not given, was lost, or a guarded write was refused. */
export const LockErrorReason = Schema.Union([
  Held,
  Timeout,
  Lost,
  Stale,
  InvalidInput,
  Closed,
  Unavailable,
  OutcomeUnknown,
  Refused
])

/** See {@link LockErrorReason}. */
export type LockErrorReason = typeof LockErrorReason.Type

const detailOf = (reason: RedisFailureReason): string =>
  "detail" in reason ? reason.detail : "code" in reason ? reason.code : reason._tag

const reasonOf = (reason: RedisFailureReason): LockErrorReason => {
  switch (reason._tag) {
    case "OutcomeUnknown":
      return new OutcomeUnknown({ detail: reason.detail })
    case "UnexpectedReply":
      return new OutcomeUnknown({ detail: "an unexpected reply" })
    case "InvalidKey":
    case "InvalidInput":
      return new InvalidInput({ problem: reason.problem })
    case "Closed":
      return new Closed()
    default:
      return reason.isRetryable
        ? new Unavailable({ detail: detailOf(reason) })
        : new Refused({ detail: detailOf(reason) })
  }
}

/** The error of room lock. */
export class LockError extends Reason.error<LockError>("xdooria/lock/LockError")("LockError", {
  reason: LockErrorReason
}) {
  /** Classifies a failure of room redis; a pure function of its reason. */
  static fromRedis({ partial, reason }: RedisFailure): LockError {
    // A script that failed on its way is not undone.
    return new LockError({ reason: partial === true ? new OutcomeUnknown({ detail: reason._tag }) : reasonOf(reason) })
  }
  /** Classifies why a token could not be drawn from PostgreSQL; one that was drawn in vain does no harm. */
  static fromPg({ isRetryable, reason }: PgError): LockError {
    const detail = "code" in reason ? reason.code : reason._tag
    return new LockError({ reason: isRetryable ? new Unavailable({ detail }) : new Refused({ detail }) })
  }
  override get message(): string {
    return `lock: ${this.reason.message}`
  }
}

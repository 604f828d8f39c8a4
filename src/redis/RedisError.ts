import * as Schema from "effect/Schema"
import * as Reason from "../utils/Reason.ts"

/** A key cannot be built. `part`: 0 for the words, 1 for the first part. `problem`: says what is wrong, not the text. */
export class InvalidKey extends Reason.permanent<InvalidKey>("xdooria/redis/InvalidKey")("InvalidKey", {
  part: Schema.Int,
  problem: Schema.String
}) {
  override get message(): string {
    return this.part === 0 ? `a key cannot be built: ${this.problem}` : `part ${this.part} of a key: ${this.problem}`
  }
}

/** An argument has no form on the wire, such as a number that is not finite or text that is not well-formed. */
export class InvalidInput extends Reason.permanent<InvalidInput>("xdooria/redis/InvalidInput")("InvalidInput", {
  problem: Schema.String
}) {
  override get message(): string {
    return `an argument cannot be sent: ${this.problem}`
  }
}

/** The keys of one operation are in different slots. Refused before it is sent, on a single server too. */
export class CrossSlot extends Reason.permanent<CrossSlot>("xdooria/redis/CrossSlot")("CrossSlot", {}) {
  override get message(): string {
    return "the keys of one operation are in different slots"
  }
}

/** The key holds a value of another type (WRONGTYPE). */
export class WrongType extends Reason.permanent<WrongType>("xdooria/redis/WrongType")("WrongType", {}) {
  override get message(): string {
    return "the key holds a value of another type"
  }
}

/** The server does not have the script (NOSCRIPT). Handled by the room; seen with commands made by hand only. */
export class NoScript extends Reason.transient<NoScript>("xdooria/redis/NoScript")("NoScript", {}) {
  override get message(): string {
    return "the server does not have the script"
  }
}

/** A script or a module keeps the server busy (BUSY). */
export class Busy extends Reason.transient<Busy>("xdooria/redis/Busy")("Busy", {}) {
  override get message(): string {
    return "a script keeps the server busy"
  }
}

/** The server still reads its data (LOADING). */
export class Loading extends Reason.transient<Loading>("xdooria/redis/Loading")("Loading", {}) {
  override get message(): string {
    return "the server is loading its data"
  }
}

/** The server is a replica (READONLY): a primary that was demoted. The room looks for the new primary. */
export class ReadOnly extends Reason.transient<ReadOnly>("xdooria/redis/ReadOnly")("ReadOnly", {}) {
  override get message(): string {
    return "the server is a replica"
  }
}

/** The server is at its memory limit and evicts nothing (OOM). */
export class OutOfMemory extends Reason.transient<OutOfMemory>("xdooria/redis/OutOfMemory")("OutOfMemory", {}) {
  override get message(): string {
    return "the server is out of memory"
  }
}

/** The server refuses writes: it cannot save (MISCONF), or has too few replicas (NOREPLICAS). `code`: which. */
export class WritesRefused extends Reason.transient<WritesRefused>("xdooria/redis/WritesRefused")("WritesRefused", {
  code: Schema.String
}) {
  override get message(): string {
    return `the server refuses writes (${this.code})`
  }
}

/** The cluster has no node for the slot now (CLUSTERDOWN, TRYAGAIN, or too many redirections). */
export class ClusterDown extends Reason.transient<ClusterDown>("xdooria/redis/ClusterDown")("ClusterDown", {}) {
  override get message(): string {
    return "the cluster does not serve the slot"
  }
}

/** The user or the password is wrong or missing. `code`: such as `WRONGPASS` or `NOAUTH`. */
export class Authentication extends Reason.permanent<Authentication>("xdooria/redis/Authentication")("Authentication", {
  code: Schema.String
}) {
  override get message(): string {
    return `the server refuses the user or the password (${this.code})`
  }
}

/** The user may not run the command, or not on this key or channel (NOPERM). */
export class PermissionDenied extends Reason.permanent<PermissionDenied>("xdooria/redis/PermissionDenied")(
  "PermissionDenied",
  {}
) {
  override get message(): string {
    return "the user has no permission for the command, the key or the channel"
  }
}

/** TLS could not be agreed on. `detail`: Node's code, such as `CERT_HAS_EXPIRED`. */
export class TlsFailed extends Reason.permanent<TlsFailed>("xdooria/redis/TlsFailed")("TlsFailed", {
  detail: Schema.String
}) {
  override get message(): string {
    return `TLS failed: ${this.detail}`
  }
}

/** The server cannot be reached; the operation was not sent. `detail`: what the last attempt met. */
export class Unavailable extends Reason.transient<Unavailable>("xdooria/redis/Unavailable")("Unavailable", {
  detail: Schema.String
}) {
  override get message(): string {
    return `the server is not available: ${this.detail}`
  }
}

/** No reply came in time to an operation that is idempotent. */
export class Timeout extends Reason.transient<Timeout>("xdooria/redis/Timeout")("Timeout", {}) {
  override get message(): string {
    return "no reply came in time"
  }
}

/** The operation was sent and its reply was lost: it may have been applied. `detail`: how it was lost. */
export class OutcomeUnknown extends Reason.ambiguous<OutcomeUnknown>("xdooria/redis/OutcomeUnknown")("OutcomeUnknown", {
  detail: Schema.String
}) {
  override get message(): string {
    return `the reply was lost (${this.detail}), the operation may have been applied`
  }
}

/** A watched key changed during every attempt of a transaction; nothing was applied. `attempts`: how many. */
export class Conflict extends Reason.transient<Conflict>("xdooria/redis/Conflict")("Conflict", {
  attempts: Schema.Int
}) {
  override get message(): string {
    return `watched keys changed during each of ${this.attempts} attempts`
  }
}

/** All connections of `redis.pool_size` were in use for as long as a call waits. */
export class PoolExhausted extends Reason.transient<PoolExhausted>("xdooria/redis/PoolExhausted")("PoolExhausted", {}) {
  override get message(): string {
    return "all connections for blocking commands are in use (redis.pool_size)"
  }
}

/** The reply is not what the command promises, so what is stored is not what the caller expects. It was applied. */
export class UnexpectedReply extends Reason.permanent<UnexpectedReply>("xdooria/redis/UnexpectedReply")(
  "UnexpectedReply",
  { problem: Schema.String }
) {
  override get isSafeToRetry(): boolean {
    return false
  }
  override get message(): string {
    return `unexpected reply: ${this.problem}`
  }
}

/** The client is closed: the scope of its layer has ended. The operation was not sent. */
export class Closed extends Reason.permanent<Closed>("xdooria/redis/Closed")("Closed", {}) {
  override get message(): string {
    return "the client is closed"
  }
}

/** The server refuses the operation for another reason. `code`: the first word of its answer, such as `ERR`. */
export class Rejected extends Reason.permanent<Rejected>("xdooria/redis/Rejected")("Rejected", {
  code: Schema.String
}) {
  override get message(): string {
    return `the server refuses the operation (${this.code})`
  }
}

/** Why an operation failed. */
export const RedisFailureReason = Schema.Union([
  InvalidKey,
  InvalidInput,
  CrossSlot,
  WrongType,
  NoScript,
  Busy,
  Loading,
  ReadOnly,
  OutOfMemory,
  WritesRefused,
  ClusterDown,
  Authentication,
  PermissionDenied,
  TlsFailed,
  Unavailable,
  Timeout,
  OutcomeUnknown,
  Conflict,
  PoolExhausted,
  UnexpectedReply,
  Closed,
  Rejected
])

/** See {@link RedisFailureReason}. */
export type RedisFailureReason = typeof RedisFailureReason.Type

/**
 * The error of room redis; Effect's own has the name RedisError.
 *
 * - `command`: which operation, such as `GET` or a script's name, where one was run
 * - `at`: the servers as host:port, at start
 * - `partial`: true where a part of the operation is done and is not undone: it failed in the middle of a transaction, or
 *   a script raised it. Then it is not safe to retry, whatever its reason says
 */
export class RedisFailure extends Reason.error<RedisFailure>("xdooria/redis/RedisFailure")("RedisFailure", {
  reason: RedisFailureReason,
  command: Schema.optionalKey(Schema.String),
  at: Schema.optionalKey(Schema.String),
  partial: Schema.optionalKey(Schema.Boolean)
}) {
  override get isSafeToRetry(): boolean {
    return this.partial !== true && this.reason.isSafeToRetry
  }
  override get message(): string {
    return `redis ${[this.command, this.at].filter((part) => part !== undefined).join(" ")}: ${this.reason.message}`.replace(
      "redis :",
      "redis:"
    )
  }
}

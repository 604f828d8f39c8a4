import * as Schema from "effect/Schema"
import * as Reason from "../utils/Reason.ts"

/** The instance cannot be registered so. Nothing was sent. `problem`: says what is wrong. */
export class InvalidInstance extends Reason.permanent<InvalidInstance>("xdooria/registry/InvalidInstance")(
  "InvalidInstance",
  { problem: Schema.String }
) {
  override get message(): string {
    return `the instance cannot be registered: ${this.problem}`
  }
}

/** The name of a service or of an election cannot be used. Nothing was sent. `problem`: says what is wrong. */
export class InvalidName extends Reason.permanent<InvalidName>("xdooria/registry/InvalidName")("InvalidName", {
  problem: Schema.String
}) {
  override get message(): string {
    return `the name cannot be used: ${this.problem}`
  }
}

/**
 * The leadership ended before the work that it protects did, which was interrupted, wherever it was.
 *
 * - `how`: `expired`, its lease could not be kept alive in time; `taken`, its key is gone; `closed`, the scope of the
 *   election or of the room has ended
 */
export class Lost extends Reason.ambiguous<Lost>("xdooria/registry/Lost")("Lost", {
  how: Schema.Literals(["expired", "taken", "closed"])
}) {
  override get message(): string {
    return `the leadership was lost (${this.how}) before its work was done`
  }
}

/** The scope of the room has ended. */
export class Closed extends Reason.permanent<Closed>("xdooria/registry/Closed")("Closed", {}) {
  override get message(): string {
    return "the registry is closed"
  }
}

/** No member answers now, or not in time. `detail`: which, and how. What was asked is safe to ask again. */
export class Unavailable extends Reason.transient<Unavailable>("xdooria/registry/Unavailable")("Unavailable", {
  detail: Schema.String
}) {
  override get message(): string {
    return `etcd does not answer (${this.detail})`
  }
}

/** The server will not do it: a permission, a password, its space is used up. `detail`: which refusal. */
export class Refused extends Reason.permanent<Refused>("xdooria/registry/Refused")("Refused", {
  detail: Schema.String
}) {
  override get message(): string {
    return `etcd refuses it (${this.detail})`
  }
}

/** Why the registry, or an election, could not do what it was asked. */
export const RegistryErrorReason = Schema.Union([InvalidInstance, InvalidName, Lost, Closed, Unavailable, Refused])

/** See {@link RegistryErrorReason}. */
export type RegistryErrorReason = typeof RegistryErrorReason.Type

/** The error of room registry. */
export class RegistryError extends Reason.error<RegistryError>("xdooria/registry/RegistryError")("RegistryError", {
  reason: RegistryErrorReason
}) {
  override get message(): string {
    return `registry: ${this.reason.message}`
  }
}

import * as Schema from "effect/Schema"
import * as Reason from "../utils/Reason.ts"

/** There is no token. */
export class Missing extends Reason.permanent<Missing>("xdooria/auth/Missing")("Missing", {}) {
  override get message(): string {
    return "there is no token"
  }
}

/** The text is not a token of the kind that was asked for. `problem`: says what is wrong, not the text. */
export class Malformed extends Reason.permanent<Malformed>("xdooria/auth/Malformed")("Malformed", {
  problem: Schema.String
}) {
  override get message(): string {
    return `the token cannot be read: ${this.problem}`
  }
}

/** The token is longer than any of ours. */
export class TooLarge extends Reason.permanent<TooLarge>("xdooria/auth/TooLarge")("TooLarge", {}) {
  override get message(): string {
    return "the token is too large"
  }
}

/** The time of the token is over. */
export class Expired extends Reason.permanent<Expired>("xdooria/auth/Expired")("Expired", {}) {
  override get message(): string {
    return "the token has expired"
  }
}

/** The time of the token has not come. */
export class NotYetValid extends Reason.permanent<NotYetValid>("xdooria/auth/NotYetValid")("NotYetValid", {}) {
  override get message(): string {
    return "the token is not valid yet"
  }
}

/** The token names an algorithm that its key is not for. */
export class AlgorithmNotAllowed extends Reason.permanent<AlgorithmNotAllowed>("xdooria/auth/AlgorithmNotAllowed")(
  "AlgorithmNotAllowed",
  {}
) {
  override get message(): string {
    return "the algorithm of the token is not the one of its key"
  }
}

/** The token was not signed by the key that it names. */
export class SignatureInvalid extends Reason.permanent<SignatureInvalid>("xdooria/auth/SignatureInvalid")(
  "SignatureInvalid",
  {}
) {
  override get message(): string {
    return "the signature of the token is wrong"
  }
}

/** The token names a key that is not ours. */
export class KeyUnknown extends Reason.permanent<KeyUnknown>("xdooria/auth/KeyUnknown")("KeyUnknown", {}) {
  override get message(): string {
    return "the key of the token is unknown"
  }
}

/** A claim is missing or not what it must be. `claim`: its name. */
export class ClaimInvalid extends Reason.permanent<ClaimInvalid>("xdooria/auth/ClaimInvalid")("ClaimInvalid", {
  claim: Schema.String
}) {
  override get message(): string {
    return `the claim ${this.claim} of the token is missing or wrong`
  }
}

/**
 * The token was good, and is no more.
 *
 * - `how`: `ended` by a logout, `banned`, `used` when it is a refresh token that was used before: its whole family has
 *   ended then
 */
export class Revoked extends Reason.permanent<Revoked>("xdooria/auth/Revoked")("Revoked", {
  how: Schema.Literals(["ended", "banned", "used"])
}) {
  override get message(): string {
    return `the token was revoked (${this.how})`
  }
}

/** The player is banned: no token is issued. `until`: in milliseconds of the epoch; absent for ever. */
export class Banned extends Reason.permanent<Banned>("xdooria/auth/Banned")("Banned", {
  until: Schema.optionalKey(Schema.Finite)
}) {
  override get message(): string {
    return "the player is banned"
  }
}

/** Too many logins have failed for the account, or from the address. `retryAfterMillis`: when to come again. */
export class LockedOut extends Reason.transient<LockedOut>("xdooria/auth/LockedOut")("LockedOut", {
  of: Schema.Literals(["account", "address"]),
  retryAfterMillis: Schema.Finite
}) {
  override get message(): string {
    return `too many failed logins of this ${this.of}`
  }
}

/** An argument cannot be used. `problem`: says what is wrong, not the value. */
export class InvalidInput extends Reason.permanent<InvalidInput>("xdooria/auth/InvalidInput")("InvalidInput", {
  problem: Schema.String
}) {
  override get message(): string {
    return `it cannot be used: ${this.problem}`
  }
}

/**
 * What is needed for an answer cannot be had now. What was asked is safe to ask again, but for a refresh whose reply was
 * lost: within the grace it gives the same successor.
 *
 * - `detail`: what: the store of tokens, the keys of `auth.jwks_url`, or the list of what was revoked; and why
 */
export class Unavailable extends Reason.transient<Unavailable>("xdooria/auth/Unavailable")("Unavailable", {
  detail: Schema.String
}) {
  override get message(): string {
    return `unavailable now: ${this.detail}`
  }
}

/** It is refused for good: by the store of tokens, or for want of a key. `detail`: by what, and which refusal. */
export class Refused extends Reason.permanent<Refused>("xdooria/auth/Refused")("Refused", { detail: Schema.String }) {
  override get message(): string {
    return `refused: ${this.detail}`
  }
}

/** Why a token is not good, or could not be made, renewed or ended. */
export const AuthErrorReason = Schema.Union([
  Missing,
  Malformed,
  TooLarge,
  Expired,
  NotYetValid,
  AlgorithmNotAllowed,
  SignatureInvalid,
  KeyUnknown,
  ClaimInvalid,
  Revoked,
  Banned,
  LockedOut,
  InvalidInput,
  Unavailable,
  Refused
])

/** See {@link AuthErrorReason}. */
export type AuthErrorReason = typeof AuthErrorReason.Type

/** The error of room auth. It never holds a token, a secret or a claim's value. */
export class AuthError extends Reason.error<AuthError>("xdooria/auth/AuthError")("AuthError", {
  reason: AuthErrorReason
}) {
  override get message(): string {
    return `auth: ${this.reason.message}`
  }
}

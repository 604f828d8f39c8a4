import * as Schema from "effect/Schema"
import * as Reason from "./Reason.ts"

/** A key or a ring of keys cannot be used. `problem`: what is wrong with it, never a part of it. */
export class InvalidKey extends Reason.permanent<InvalidKey>("xdooria/utils/InvalidKey")("InvalidKey", {
  problem: Schema.String
}) {
  override get message(): string {
    return `the key cannot be used: ${this.problem}`
  }
}

/** A text or a password cannot be taken. `problem`: what is wrong with it, never a part of it. */
export class InvalidInput extends Reason.permanent<InvalidInput>("xdooria/utils/InvalidInput")("InvalidInput", {
  problem: Schema.String
}) {
  override get message(): string {
    return this.problem
  }
}

/** What is stored is no hash of a password, or one that costs more than is allowed. */
export class InvalidHash extends Reason.permanent<InvalidHash>("xdooria/utils/InvalidHash")("InvalidHash", {}) {
  override get message(): string {
    return "this is no hash of a password with parameters in bounds"
  }
}

/** It was not sealed so: another key, other associated data, a changed text. Which of them is not told. */
export class NotSealed extends Reason.permanent<NotSealed>("xdooria/utils/NotSealed")("NotSealed", {}) {
  override get message(): string {
    return "this does not open"
  }
}

/** Why something was not sealed, opened or hashed. */
export const CryptoErrorReason = Schema.Union([InvalidKey, InvalidInput, InvalidHash, NotSealed])

/** See {@link CryptoErrorReason}. */
export type CryptoErrorReason = typeof CryptoErrorReason.Type

/** The error of module Crypto. Nothing secret is in it. */
export class CryptoError extends Reason.error<CryptoError>("xdooria/utils/CryptoError")("CryptoError", {
  reason: CryptoErrorReason
}) {
  override get message(): string {
    return `crypto: ${this.reason.message}`
  }
}

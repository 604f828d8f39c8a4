import * as Schema from "effect/Schema"
import * as Reason from "./Reason.ts"

/** A text is no amount. `problem`: what an amount looks like, not the text. */
export class DecimalFormat extends Reason.permanent<DecimalFormat>("xdooria/utils/DecimalFormat")("DecimalFormat", {
  problem: Schema.String
}) {
  override get message(): string {
    return this.problem
  }
}

/** An amount has more digits than its currency can hold. `problem`: which limit, not the amount. */
export class DecimalRange extends Reason.permanent<DecimalRange>("xdooria/utils/DecimalRange")("DecimalRange", {
  problem: Schema.String
}) {
  override get message(): string {
    return this.problem
  }
}

/** Why there is no such amount. */
export const DecimalErrorReason = Schema.Union([DecimalFormat, DecimalRange])

/** See {@link DecimalErrorReason}. */
export type DecimalErrorReason = typeof DecimalErrorReason.Type

/** The error of module Decimal. `currency`: the code of the currency. */
export class DecimalError extends Reason.error<DecimalError>("xdooria/utils/DecimalError")("DecimalError", {
  currency: Schema.String,
  reason: DecimalErrorReason
}) {
  override get message(): string {
    return `${this.currency}: ${this.reason.message}`
  }
}

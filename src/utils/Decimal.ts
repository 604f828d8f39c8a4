import * as BigDecimal from "effect/BigDecimal"
import type * as Brand from "effect/Brand"
import * as Effect from "effect/Effect"
import type * as Order from "effect/Order"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { DecimalError, type DecimalErrorReason, DecimalFormat, DecimalRange } from "./DecimalError.ts"

/** How many digits an amount has at most, those behind the point included: PostgreSQL's `numeric(28, scale)`. */
export const digits = 28

const limit = 10n ** BigInt(digits)

/** Beyond that a text is not looked at: BigInt takes longer than linear time for it. */
const longestText = 64

/** Plain decimal text: no exponent, no group marks, no space, no digits of another script, no bare point. */
const plain = /^(-?)([0-9]+)(?:\.([0-9]+))?$/

/**
 * An exact amount of one currency, at most 28 digits, below zero too. It is a BigDecimal, so all of effect/BigDecimal
 * reads it (`BigDecimal.isNegative`, `BigDecimal.isZero`); amounts of two currencies are two types.
 */
export type Amount<Code extends string> = BigDecimal.BigDecimal & Brand.Brand<`xdooria/utils/Amount/${Code}`>

/** A currency: what makes, combines, reads and writes its amounts. No operation rounds, and none uses a float. */
export interface Currency<Code extends string> {
  readonly code: Code
  /** Digits behind the point. */
  readonly scale: number
  readonly zero: Amount<Code>
  /**
   * Reads plain decimal text such as `12`, `-0.50`. Zeros beyond the scale are no digits.
   *
   * Fails with `DecimalFormat` when it is anything else, with `DecimalRange` when it has more digits than 28 or more
   * behind the point than `scale`.
   */
  readonly parse: (text: string) => Result.Result<Amount<Code>, DecimalError>
  /** The amount of so many of the smallest unit, 0.01 with scale 2. Fails with `DecimalRange`. */
  readonly fromUnits: (units: bigint) => Result.Result<Amount<Code>, DecimalError>
  /** The sum. Fails with `DecimalRange` when it has more than 28 digits. */
  readonly add: (one: Amount<Code>, other: Amount<Code>) => Result.Result<Amount<Code>, DecimalError>
  /** `one` less `other`: below zero when `other` is more. Fails with `DecimalRange` when it has more than 28 digits. */
  readonly subtract: (one: Amount<Code>, other: Amount<Code>) => Result.Result<Amount<Code>, DecimalError>
  /** So many times the amount. Fails with `DecimalRange` when it has more than 28 digits. */
  readonly multiply: (amount: Amount<Code>, times: bigint) => Result.Result<Amount<Code>, DecimalError>
  /** Text with exactly `scale` digits behind the point, such as `12.00`: what `parse` and PostgreSQL's numeric read. */
  readonly format: (amount: Amount<Code>) => string
  /** The order of amounts. */
  readonly Order: Order.Order<Amount<Code>>
  /** `parse` and `format` as a Schema: for messages, and for columns `numeric(28, scale)`, which arrive as text. */
  readonly Amount: Schema.Codec<Amount<Code>, string>
}

/** Adds the currency to what went wrong. */
const failed = (currency: string, reason: DecimalErrorReason): Result.Result<never, DecimalError> =>
  Result.fail(new DecimalError({ currency, reason }))

const written = (value: bigint, scale: number): string => {
  const text = (value < 0n ? -value : value).toString().padStart(scale + 1, "0")
  const point = text.length - scale
  return `${value < 0n ? "-" : ""}${text.slice(0, point)}${scale === 0 ? "" : `.${text.slice(point)}`}`
}

/**
 * A currency.
 *
 * - `code`: its name, a lower-case letter, then up to 31 letters, digits or `_`
 * - `scale`: digits behind the point, 0 to 28
 *
 * Throws a RangeError for others: a currency is a constant of a program.
 */
export const currency = <const Code extends string>(options: {
  readonly code: Code
  readonly scale: number
}): Currency<Code> => {
  const { code, scale } = options
  if (!/^[a-z][a-z0-9_]{0,31}$/.test(code)) throw new RangeError("a currency's code is a lower-case name")
  if (!Number.isInteger(scale) || scale < 0 || scale > digits) throw new RangeError(`a scale is 0 to ${digits}`)

  const fromUnits = (units: bigint): Result.Result<Amount<Code>, DecimalError> =>
    units < limit && units > -limit
      ? Result.succeed(BigDecimal.make(units, scale) as Amount<Code>)
      : failed(code, new DecimalRange({ problem: `an amount has at most ${digits} digits` }))

  // BigDecimal gives zero without its scale.
  const checked = (value: BigDecimal.BigDecimal) => fromUnits(BigDecimal.scale(value, scale).value)

  const parse = (text: string): Result.Result<Amount<Code>, DecimalError> => {
    const [, sign, whole = "", behind = ""] = text.length > longestText ? [] : (plain.exec(text) ?? [])
    if (sign === undefined) {
      return failed(code, new DecimalFormat({ problem: "an amount is plain decimal text, such as -12.50" }))
    }
    const kept = behind.replace(/0+$/, "")
    if (kept.length > scale) {
      return failed(code, new DecimalRange({ problem: `an amount has at most ${scale} digits behind the point` }))
    }
    return fromUnits(BigInt(`${sign}${whole}${kept.padEnd(scale, "0")}`))
  }

  const format = (amount: Amount<Code>): string => written(BigDecimal.scale(amount, scale).value, scale)

  const isAmount = (value: unknown): value is Amount<Code> =>
    BigDecimal.isBigDecimal(value) &&
    BigDecimal.equals(value, BigDecimal.scale(value, scale)) &&
    Result.isSuccess(checked(value))

  return {
    code,
    scale,
    zero: BigDecimal.make(0n, scale) as Amount<Code>,
    parse,
    fromUnits,
    add: (one, other) => checked(BigDecimal.sum(one, other)),
    subtract: (one, other) => checked(BigDecimal.subtract(one, other)),
    multiply: (amount, times) => checked(BigDecimal.multiply(amount, BigDecimal.fromBigInt(times))),
    format,
    Order: BigDecimal.Order,
    Amount: Schema.String.pipe(
      Schema.decodeTo(
        Schema.declare(isAmount, { expected: `an amount of ${code}` }),
        SchemaTransformation.transformEffect<Amount<Code>, string>({
          decode: (text, parsing) =>
            Effect.mapError(
              Effect.fromResult(parse(text)),
              ({ reason }) => new SchemaIssue.InvalidValue({ expected: reason.message }, text, parsing)
            ),
          encode: (amount) => Effect.succeed(format(amount))
        })
      )
    )
  }
}

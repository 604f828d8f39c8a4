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
 * reads it (`BigDecimal.isNegative`, `BigDecimal.isZero`); amounts of two currencies are two types, also where these
 * have one code and different scales. A scale that is `number` is one that only the program knows when it runs.
 */
export type Amount<Code extends string, Scale extends number = number> = BigDecimal.BigDecimal &
  Brand.Brand<`xdooria/utils/Amount/${Code}/${Scale}`>

/**
 * A currency: what makes, combines, reads and writes its amounts. No operation rounds, and none uses a float. What is no
 * amount of it, whatever its type says, is refused: it has digits beyond the scale.
 */
export interface Currency<Code extends string, Scale extends number = number> {
  readonly code: Code
  /** Digits behind the point. */
  readonly scale: Scale
  readonly zero: Amount<Code, Scale>
  /**
   * Reads plain decimal text such as `12`, `-0.50`. Zeros beyond the scale are no digits.
   *
   * Fails with `DecimalFormat` when it is anything else, or longer than 64 characters, with `DecimalRange` when it has more digits than 28 or more
   * behind the point than `scale`.
   */
  readonly parse: (text: string) => Result.Result<Amount<Code, Scale>, DecimalError>
  /** The amount of so many of the smallest unit, 0.01 with scale 2. Fails with `DecimalRange`. */
  readonly fromUnits: (units: bigint) => Result.Result<Amount<Code, Scale>, DecimalError>
  /** The sum. Fails with `DecimalRange` when it, or one of them, is no amount. */
  readonly add: (
    one: Amount<Code, Scale>,
    other: Amount<Code, Scale>
  ) => Result.Result<Amount<Code, Scale>, DecimalError>
  /** `one` less `other`: below zero when `other` is more. Fails with `DecimalRange` when it, or one of them, is no amount. */
  readonly subtract: (
    one: Amount<Code, Scale>,
    other: Amount<Code, Scale>
  ) => Result.Result<Amount<Code, Scale>, DecimalError>
  /** So many times the amount. Fails with `DecimalRange` when it, or one of them, is no amount. */
  readonly multiply: (amount: Amount<Code, Scale>, times: bigint) => Result.Result<Amount<Code, Scale>, DecimalError>
  /**
   * Text with exactly `scale` digits behind the point, such as `12.00`: what `parse` and PostgreSQL's numeric
   * read. Throws a RangeError for what is no amount of the currency.
   */
  readonly format: (amount: Amount<Code, Scale>) => string
  /** The order of amounts. */
  readonly Order: Order.Order<Amount<Code, Scale>>
  /** `parse` and `format` as a Schema: for messages, and for columns `numeric(28, scale)`, which arrive as text. */
  readonly Amount: Schema.Codec<Amount<Code, Scale>, string>
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
export const currency = <const Code extends string, const Scale extends number = number>(options: {
  readonly code: Code
  readonly scale: Scale
}): Currency<Code, Scale> => {
  const { code, scale } = options
  if (!/^[a-z][a-z0-9_]{0,31}$/.test(code)) throw new RangeError("a currency's code is a lower-case name")
  if (!Number.isInteger(scale) || scale < 0 || scale > digits) throw new RangeError(`a scale is 0 to ${digits}`)

  const fromUnits = (units: bigint): Result.Result<Amount<Code, Scale>, DecimalError> =>
    units < limit && units > -limit
      ? Result.succeed(BigDecimal.make(units, scale) as Amount<Code, Scale>)
      : failed(code, new DecimalRange({ problem: `an amount has at most ${digits} digits` }))

  /** The amount in the smallest unit. No more powers of ten are computed than a text may have digits. */
  const unitsOf = ({ scale: places, value }: BigDecimal.BigDecimal): Result.Result<bigint, DecimalError> => {
    const power = 10n ** BigInt(Math.min(Math.abs(scale - places), longestText))
    if (value === 0n) return Result.succeed(0n)
    if (places <= scale && scale - places <= digits) return Result.succeed(value * power)
    return places > scale && places - scale <= longestText && value % power === 0n
      ? Result.succeed(value / power)
      : failed(code, new DecimalRange({ problem: `an amount has at most ${digits} digits, ${scale} behind the point` }))
  }

  const combine = (
    one: Amount<Code, Scale>,
    other: Amount<Code, Scale>,
    by: (one: bigint, other: bigint) => bigint
  ): Result.Result<Amount<Code, Scale>, DecimalError> =>
    Result.flatMap(unitsOf(one), (a) => Result.flatMap(unitsOf(other), (b) => fromUnits(by(a, b))))

  const parse = (text: string): Result.Result<Amount<Code, Scale>, DecimalError> => {
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

  const format = (amount: Amount<Code, Scale>): string => {
    const units = unitsOf(amount)
    if (Result.isFailure(units)) throw new RangeError(`this is no amount of ${code} with scale ${scale}`)
    return written(units.success, scale)
  }

  const isAmount = (value: unknown): value is Amount<Code, Scale> =>
    BigDecimal.isBigDecimal(value) && Result.isSuccess(Result.flatMap(unitsOf(value), fromUnits))

  return {
    code,
    scale,
    zero: BigDecimal.make(0n, scale) as Amount<Code, Scale>,
    parse,
    fromUnits,
    add: (one, other) => combine(one, other, (a, b) => a + b),
    subtract: (one, other) => combine(one, other, (a, b) => a - b),
    multiply: (amount, times) => Result.flatMap(unitsOf(amount), (units) => fromUnits(units * times)),
    format,
    Order: BigDecimal.Order,
    Amount: Schema.String.pipe(
      Schema.decodeTo(
        Schema.declare(isAmount, { expected: `an amount of ${code}` }),
        SchemaTransformation.transformEffect<Amount<Code, Scale>, string>({
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

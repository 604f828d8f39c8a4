import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as BigDecimal from "effect/BigDecimal"
import * as Equal from "effect/Equal"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Decimal, type DecimalError } from "xdooria/utils"

const gold = Decimal.currency({ code: "gold", scale: 2 })
const gems = Decimal.currency({ code: "gems", scale: 0 })
const dust = Decimal.currency({ code: "dust", scale: 28 })

const largest = 10n ** 28n - 1n

const units = Arbitrary.schema(Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: -largest, maximum: largest })))
const few = Arbitrary.schema(Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: -1000n, maximum: 1000n })))

const amount = (text: string) => Result.getOrThrow(gold.parse(text))
const of = (value: bigint) => Result.getOrThrow(gold.fromUnits(value))
const tagOf = (result: Result.Result<unknown, DecimalError>) =>
  Result.isFailure(result) ? result.failure.reason._tag : "none"

/** What is right: whole numbers of units, and no more than 28 digits. */
const expected = (value: bigint) => (value > largest || value < -largest ? "DecimalRange" : value)
const actual = (result: Result.Result<Decimal.Amount<"gold", 2>, DecimalError>) =>
  Result.isFailure(result) ? result.failure.reason._tag : result.success.value

describe("Decimal", () => {
  it.prop("writes what it reads", [units], ([value]) => {
    const writes = <Code extends string, Scale extends number>(currency: Decimal.Currency<Code, Scale>) => {
      const one = Result.getOrThrow(currency.fromUnits(value))
      const text = currency.format(one)
      assert.match(text, /^-?\d+(\.\d+)?$/)
      assert.strictEqual((text.split(".")[1] ?? "").length, currency.scale)
      assert.isTrue(Equal.equals(Result.getOrThrow(currency.parse(text)), one))
      const decoded = Schema.decodeSync(currency.Amount)(text)
      assert.strictEqual(Schema.encodeSync(currency.Amount)(decoded), text)
    }
    writes(gold)
    writes(gems)
    writes(dust)
  })

  it.prop(
    "adds, subtracts and multiplies as whole units do, within 28 digits",
    [units, units, few],
    ([a, b, times]) => {
      assert.strictEqual(actual(gold.add(of(a), of(b))), expected(a + b))
      assert.strictEqual(actual(gold.subtract(of(a), of(b))), expected(a - b))
      assert.strictEqual(actual(gold.multiply(of(a), times)), expected(a * times))
      assert.strictEqual(gold.Order(of(a), of(b)), a < b ? -1 : a > b ? 1 : 0)
    }
  )

  it.prop("keeps the laws of arithmetic", [few, few, few], ([a, b, times]) => {
    const { add, multiply, subtract } = gold
    const sum = Result.getOrThrow(add(of(a), of(b)))
    assert.isTrue(Equal.equals(sum, Result.getOrThrow(add(of(b), of(a)))))
    assert.isTrue(Equal.equals(Result.getOrThrow(subtract(sum, of(b))), of(a)))
    assert.isTrue(Equal.equals(Result.getOrThrow(add(of(a), gold.zero)), of(a)))
    const apart = Result.gen(function* () {
      return yield* add(yield* multiply(of(a), times), yield* multiply(of(b), times))
    })
    assert.isTrue(Equal.equals(Result.getOrThrow(multiply(sum, times)), Result.getOrThrow(apart)))
  })

  it.prop("never takes a text that it would not write back in value", [Schema.String], ([text]) => {
    const result = gold.parse(text)
    if (Result.isSuccess(result)) {
      assert.isTrue(BigDecimal.equals(result.success, BigDecimal.fromStringUnsafe(text)))
    }
  })

  it("is exact where a float is not", () => {
    assert.strictEqual(gold.format(Result.getOrThrow(gold.add(amount("0.10"), amount("0.20")))), "0.30")
    assert.strictEqual(gold.format(amount("90071992547409.93")), "90071992547409.93")
  })

  it("has one zero, which keeps its scale", () => {
    for (const text of ["0", "-0", "0.0", "-0.00"]) {
      assert.strictEqual(gold.format(amount(text)), "0.00")
      assert.isTrue(Equal.equals(amount(text), gold.zero))
    }
    assert.strictEqual(gold.format(Result.getOrThrow(gold.multiply(amount("7.77"), 0n))), "0.00")
    assert.strictEqual(gold.format(Result.getOrThrow(gold.subtract(amount("1"), amount("1")))), "0.00")
  })

  it("takes amounts below zero", () => {
    assert.strictEqual(gold.format(amount("-0.05")), "-0.05")
    assert.isTrue(BigDecimal.isNegative(amount("-12")))
  })

  it("takes the 28 digits that it promises", () => {
    assert.strictEqual(gold.format(amount("99999999999999999999999999.99")), "99999999999999999999999999.99")
    assert.strictEqual(gems.format(Result.getOrThrow(gems.parse("9".repeat(28)))), "9".repeat(28))
    // Zeros in front and behind are no digits.
    assert.strictEqual(gold.format(amount(`000${"9".repeat(26)}.990000`)), `${"9".repeat(26)}.99`)
  })

  it.each([
    ["", "DecimalFormat"],
    [" 1 ", "DecimalFormat"],
    ["1\n", "DecimalFormat"],
    ["1,000", "DecimalFormat"],
    ["+1", "DecimalFormat"],
    ["--1", "DecimalFormat"],
    [".5", "DecimalFormat"],
    ["5.", "DecimalFormat"],
    ["1.2.3", "DecimalFormat"],
    ["1e30", "DecimalFormat"],
    ["1e-30", "DecimalFormat"],
    ["0x10", "DecimalFormat"],
    ["NaN", "DecimalFormat"],
    ["Infinity", "DecimalFormat"],
    ["１２", "DecimalFormat"],
    ["١٢", "DecimalFormat"],
    ["−1", "DecimalFormat"],
    ["1".repeat(1_000_000), "DecimalFormat"],
    [`1.${"0".repeat(63)}`, "DecimalFormat"],
    ["1".repeat(29), "DecimalRange"],
    [`${"1".repeat(27)}.00`, "DecimalRange"],
    [`-${"1".repeat(27)}`, "DecimalRange"],
    ["0.001", "DecimalRange"],
    [`0.${"0".repeat(29)}1`, "DecimalRange"]
  ] as const)("refuses %j", (text, tag) => {
    const result = gold.parse(text)
    assert.strictEqual(tagOf(result), tag)
    // A message says what is right, and not what came.
    if (text.trim().length > 3) assert.notInclude(String(Result.isFailure(result) && result.failure.message), text)
    assert.isTrue(Result.isFailure(Schema.decodeResult(gold.Amount)(text)))
  })

  it("says when a result has no room", () => {
    const most = of(largest)
    assert.strictEqual(tagOf(gold.add(most, amount("0.01"))), "DecimalRange")
    assert.strictEqual(tagOf(gold.subtract(of(-largest), amount("0.01"))), "DecimalRange")
    assert.strictEqual(tagOf(gold.multiply(most, 2n)), "DecimalRange")
    assert.strictEqual(tagOf(gold.fromUnits(largest + 1n)), "DecimalRange")
    assert.strictEqual(tagOf(gold.fromUnits(-largest - 1n)), "DecimalRange")
  })

  it("takes as an amount only what its currency can hold", () => {
    const isGold = Schema.is(gold.Amount)
    assert.isTrue(isGold(BigDecimal.fromStringUnsafe("1.5")))
    assert.isFalse(isGold(BigDecimal.fromStringUnsafe("1.555")))
    assert.isFalse(isGold(BigDecimal.fromStringUnsafe("1e30")))
    assert.isFalse(isGold(1.5))
    assert.isTrue(isGold(BigDecimal.make(15_000n, 4)))
    assert.isTrue(isGold(BigDecimal.make(0n, 2_000_000_000)))
    for (const scale of [-2_000_000_000, 2_000_000_000, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]) {
      assert.isFalse(isGold(BigDecimal.make(1n, scale)))
      const encoded = Schema.encodeUnknownExit(gold.Amount)(BigDecimal.make(10n ** 70n, scale))
      assert.strictEqual(encoded._tag, "Failure")
    }
  })

  it("loses nothing of an amount of a currency with its code and another scale", () => {
    const finer = Decimal.currency({ code: "gold", scale: 4 })
    const most = Result.getOrThrow(finer.fromUnits(largest))
    const foreign = Result.getOrThrow(finer.parse("0.0099")) as never
    assert.strictEqual(tagOf(gold.add(foreign, gold.zero)), "DecimalRange")
    assert.strictEqual(tagOf(gold.add(gold.zero, foreign)), "DecimalRange")
    assert.strictEqual(tagOf(gold.subtract(gold.zero, foreign)), "DecimalRange")
    assert.strictEqual(tagOf(gold.multiply(foreign, 10_000n)), "DecimalRange")
    assert.throws(() => gold.format(foreign), RangeError)
    assert.throws(() => gold.format(most as never), RangeError)
    // What fits is the same amount.
    assert.strictEqual(gold.format(Result.getOrThrow(finer.parse("0.9900")) as never), "0.99")
    assert.strictEqual(
      tagOf(finer.add(Result.getOrThrow(gold.fromUnits(largest)) as never, finer.zero)),
      "DecimalRange"
    )
  })

  it("refuses a currency that cannot be", () => {
    for (const scale of [-1, 29, 0.5, Number.NaN]) {
      assert.throws(() => Decimal.currency({ code: "gold", scale }), RangeError)
    }
    for (const code of ["", "Gold", "go ld", "1gold", "g".repeat(33)]) {
      assert.throws(() => Decimal.currency({ code, scale: 2 }), RangeError)
    }
  })
})

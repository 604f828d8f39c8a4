import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Uuid } from "xdooria/utils"

const millis = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 48 - 1 }))

describe("Uuid", () => {
  it.effect("makes v4: of version 4 and variant 10, no two alike", () =>
    Effect.gen(function* () {
      const made = yield* Effect.all(Array.from({ length: 1000 }, () => Uuid.v4))
      assert.strictEqual(new Set(made).size, 1000)
      for (const one of made) {
        assert.match(one, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
        assert.deepStrictEqual(Uuid.parse(one), Option.some(one))
        assert.isTrue(Option.isNone(Uuid.timestamp(one)))
      }
      // Each of the 122 bits is chance: none is the same in a thousand.
      const bits = made.map((one) => BigInt(`0x${one.replaceAll("-", "")}`))
      const constant = ~(bits.reduce((a, b) => a | b) & ~bits.reduce((a, b) => a & b)) & (2n ** 128n - 1n)
      assert.strictEqual(constant, (0xfn << 76n) | (0b11n << 62n))
    })
  )

  it.effect.prop("has the time of the clock in v7, to the millisecond", [millis], ([now]) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now)
      const one = yield* Uuid.v7
      assert.match(one, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      const time = Option.getOrThrow(Uuid.timestamp(one))
      // What an earlier run made has gone before.
      assert.isAtLeast(DateTime.toEpochMillis(time), now)
    })
  )

  it.effect.prop(
    "orders v7: within a millisecond, over milliseconds, and when the clock goes back",
    [Arbitrary.array(Arbitrary.schema(Schema.Literals([-5, 0, 0, 0, 1, 1000])), { minLength: 2, maxLength: 50 })],
    ([steps]) =>
      Effect.gen(function* () {
        let now = 1_800_000_000_000
        let last = yield* Uuid.v7
        for (const step of steps) {
          now += step
          yield* TestClock.setTime(now)
          const next = yield* Uuid.v7
          assert.isTrue(next > last, `${next} after ${last}`)
          last = next
        }
      })
  )

  it("reads upper and lower case, and nothing else", () => {
    const text = "0190163d-8694-739b-aea5-966c26f8ad91"
    assert.deepStrictEqual(Uuid.parse(text.toUpperCase()), Uuid.parse(text))
    assert.strictEqual(Schema.decodeSync(Uuid.FromString)(text.toUpperCase()), text)
    assert.throws(() => Schema.decodeSync(Uuid.Uuid)(text.toUpperCase()))
    for (const wrong of [
      "",
      "{0190163d-8694-739b-aea5-966c26f8ad91}",
      "0190163d8694739baea5966c26f8ad91",
      "urn:uuid:0190163d-8694-739b-aea5-966c26f8ad91",
      `${text} `,
      `${text}\n`,
      text.slice(1),
      text.replace("0", "g"),
      // A variant that is not RFC 9562's, versions that it does not know, nil and max.
      "0190163d-8694-739b-cea5-966c26f8ad91",
      "0190163d-8694-039b-aea5-966c26f8ad91",
      "0190163d-8694-939b-aea5-966c26f8ad91",
      "00000000-0000-0000-0000-000000000000",
      "ffffffff-ffff-ffff-ffff-ffffffffffff"
    ]) {
      assert.isTrue(Option.isNone(Uuid.parse(wrong)), wrong)
    }
  })

  it("reads the time of the RFC's example", () => {
    // RFC 9562, A.6.
    const uuid = Option.getOrThrow(Uuid.parse("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"))
    assert.deepStrictEqual(
      Option.map(Uuid.timestamp(uuid), DateTime.formatIso),
      Option.some("2022-02-22T19:22:22.000Z")
    )
  })
})

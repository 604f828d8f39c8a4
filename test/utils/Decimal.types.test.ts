import type * as Result from "effect/Result"
import { expectTypeOf, it } from "vitest"
import { Decimal, type DecimalError } from "xdooria/utils"

const gold = Decimal.currency({ code: "gold", scale: 2 })
const gems = Decimal.currency({ code: "gems", scale: 0 })

it("keeps the amounts of two currencies apart", () => {
  expectTypeOf(gold.zero).toEqualTypeOf<Decimal.Amount<"gold", 2>>()
  expectTypeOf(gold.add(gold.zero, gold.zero)).toEqualTypeOf<Result.Result<Decimal.Amount<"gold", 2>, DecimalError>>()
  // @ts-expect-error: nor are amounts with another scale of one.
  gold.add(gold.zero, Decimal.currency({ code: "gold", scale: 4 }).zero)
  // @ts-expect-error: gems are no gold.
  gold.add(gold.zero, gems.zero)
  // @ts-expect-error: nor is their order one.
  gold.Order(gold.zero, gems.zero)
})

import type * as Result from "effect/Result"
import { expectTypeOf, it } from "vitest"
import { Decimal, type DecimalError } from "xdooria/utils"

const gold = Decimal.currency({ code: "gold", scale: 2 })
const gems = Decimal.currency({ code: "gems", scale: 0 })

it("keeps the amounts of two currencies apart", () => {
  expectTypeOf(gold.zero).toEqualTypeOf<Decimal.Amount<"gold", 2>>()
  expectTypeOf(gold.add(gold.zero, gold.zero)).toEqualTypeOf<Result.Result<Decimal.Amount<"gold", 2>, DecimalError>>()
  // @ts-expect-error an amount of another scale would lose its decimals, so that it must not compile
  gold.add(gold.zero, Decimal.currency({ code: "gold", scale: 4 }).zero)
  // @ts-expect-error gems are no gold, so that adding them must not compile
  gold.add(gold.zero, gems.zero)
  // @ts-expect-error gems and gold have no order between them, so that comparing them must not compile
  gold.Order(gold.zero, gems.zero)
})

import * as Schema from "effect/Schema"
import * as Decimal from "../../utils/Decimal.ts"

/** The currencies of the game. */
export const CurrencyCode = Schema.Literals(["gold", "gems"])

/** See {@link CurrencyCode}. */
export type CurrencyCode = typeof CurrencyCode.Type

/** An exact amount, of a currency that stands beside it. */
export type Amount = Decimal.Amount<CurrencyCode>

// Of one type, so that wallets treat them alike: what adds amounts takes both from one wallet.
const currency = (code: CurrencyCode, scale: number) => Decimal.currency<CurrencyCode>({ code, scale })

/** What makes, combines and writes the amounts of each currency. */
export const currencies: { readonly [C in CurrencyCode]: Decimal.Currency<CurrencyCode> } = {
  gold: currency("gold", 2),
  gems: currency("gems", 0)
}

const moneyOf = <const C extends CurrencyCode>(code: C) =>
  Schema.Struct({ currency: Schema.Literal(code), amount: currencies[code].Amount })

/** An amount of a currency, in messages and tables as text such as `12.50`, with as many places as the currency has. */
export const Money = Schema.Union([moneyOf("gold"), moneyOf("gems")])

/** See {@link Money}. */
export type Money = typeof Money.Type

/** As messages have it. */
export const format = ({ amount, currency }: Money): typeof Money.Encoded => ({
  currency,
  amount: currencies[currency].format(amount)
})

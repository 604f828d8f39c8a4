import * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { InvalidConfig } from "../../config/ConfigError.ts"
import { Money } from "./Money.ts"
import { readTable } from "./tables.ts"

/** The name of an item. */
export const ItemName = Schema.String.check(
  Schema.isPattern(/^[a-z0-9_]{1,64}$/, { expected: "1 to 64 characters of a-z 0-9 _" })
).pipe(Schema.brand("ItemName"))

/** See {@link ItemName}. */
export type ItemName = typeof ItemName.Type

/** The rows of the shop: each item once, with a price above 0. */
export const ShopRows = Schema.NonEmptyArray(Schema.Struct({ item: ItemName, price: Money })).check(
  Schema.makeFilter(
    (rows) =>
      new Set(rows.map(({ item }) => item)).size === rows.length &&
      rows.every(({ price }) => BigDecimal.isPositive(price.amount)),
    { expected: "different items, whose prices are above 0" }
  )
)

/** What is for sale. */
export class Shop extends Context.Service<
  Shop,
  {
    /** The price of one piece of an item; undefined when it is not for sale. */
    readonly priceOf: (item: ItemName) => Money | undefined
  }
>()("xdooria/services/game/Shop") {
  /** Makes the shop from decoded rows. */
  static readonly fromRows = (rows: typeof ShopRows.Type): Shop["Service"] => {
    const prices = new Map(rows.map(({ item, price }) => [item, price]))
    return { priceOf: (item) => prices.get(item) }
  }
}

/** Reads `config/tables/shop.json`. Fails with InvalidConfig when it cannot be read or its rows make no sense. */
export const ShopLive: Layer.Layer<Shop, InvalidConfig, FileSystem.FileSystem> = Layer.effect(
  Shop,
  Effect.map(readTable("shop", ShopRows), Shop.fromRows)
)

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import * as Pg from "../../pg/Pg.ts"
import { StorageUnavailable } from "../errors.ts"
import type { PlayerId } from "../PlayerId.ts"
import { type InsufficientFunds, ItemNotFound, PlayerNotFound, RequestIdReused } from "./errors.ts"
import { book, columns, type LedgerEntry, type LedgerRow, type RequestId, toEntry } from "./ledger.ts"
import { currencies } from "./Money.ts"
import { lockPlayer } from "./Players.ts"
import { type ItemName, Shop } from "./Shop.ts"

/** How many pieces one purchase brings. */
export const Quantity = Schema.BigInt.check(
  Schema.isBetweenBigInt({ minimum: 1n, maximum: 1_000n }, { expected: "1 to 1000" })
).pipe(Schema.brand("Quantity"))

/** See {@link Quantity}. */
export type Quantity = typeof Quantity.Type

/** Items of one kind. */
export interface Item {
  readonly item: string
  readonly quantity: bigint
}

/** What a purchase brought: how many of the item there are then, and what it took from the wallet. */
export interface Purchase {
  readonly item: Item
  readonly entry: LedgerEntry
}

/** What players have of each item, and how they come by it. */
export class Inventory extends Context.Service<
  Inventory,
  {
    /** What a player has, by the names of the items. Fails with PlayerNotFound. */
    readonly items: (id: PlayerId) => Effect.Effect<ReadonlyArray<Item>, PlayerNotFound | StorageUnavailable>
    /**
     * Buys at the price of the shop, in one transaction, once for a request id: again it answers what it answered first,
     * whatever the price is now. Fails with PlayerNotFound, with ItemNotFound when it is not for sale, with
     * InsufficientFunds, and with RequestIdReused when the id named another purchase.
     */
    readonly buy: (
      id: PlayerId,
      requestId: RequestId,
      item: ItemName,
      quantity: Quantity
    ) => Effect.Effect<
      Purchase,
      PlayerNotFound | ItemNotFound | InsufficientFunds | RequestIdReused | StorageUnavailable
    >
  }
>()("xdooria/services/game/Inventory") {}

interface PurchaseRow extends LedgerRow {
  readonly item: string
  readonly quantity: bigint
  readonly item_quantity: bigint
}

/** Keeps items in PostgreSQL, in the tables of the game, and sells those of the {@link Shop}. */
export const InventoryLive: Layer.Layer<Inventory, never, SqlClient.SqlClient | Shop> = Layer.effect(
  Inventory,
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const shop = yield* Shop

    const items = Effect.fnUntraced(
      function* (id: PlayerId) {
        const rows = yield* Pg.run(sql<Item | { readonly item: null }>`
          SELECT item, quantity FROM players LEFT JOIN inventory ON player_id = id WHERE id = ${id} ORDER BY item`)
        if (rows.length === 0) return yield* new PlayerNotFound({ playerId: id })
        return rows.filter((row) => row.item !== null)
      },
      Effect.catchTag("PgError", StorageUnavailable.from)
    )

    const applyPurchase = Effect.fnUntraced(function* (
      id: PlayerId,
      requestId: RequestId,
      item: ItemName,
      quantity: Quantity
    ) {
      yield* lockPlayer(sql, id)
      const purchases = yield* sql<PurchaseRow>`
        SELECT item, quantity, item_quantity, ${sql.literal(columns)} FROM purchases JOIN ledger ON ledger.id = ledger_id
        WHERE purchases.player_id = ${id} AND purchases.request_id = ${requestId}`
      const earlier = purchases[0]
      if (earlier !== undefined) {
        if (earlier.item !== item || earlier.quantity !== quantity) return yield* new RequestIdReused({ requestId })
        return { item: { item, quantity: earlier.item_quantity }, entry: toEntry(earlier) }
      }
      const price = shop.priceOf(item)
      if (price === undefined) return yield* new ItemNotFound({ item })
      const { multiply } = currencies[price.currency]
      const change = { ...price, amount: Result.getOrThrow(multiply(price.amount, -quantity)) }
      const entry = yield* book(sql, { playerId: id, kind: "purchase", requestId, change, reason: "purchase" })
      const owned = yield* sql<{ readonly item_quantity: bigint }>`
        WITH owned AS (
          INSERT INTO inventory (player_id, item, quantity) VALUES (${id}, ${item}, ${quantity})
          ON CONFLICT (player_id, item) DO UPDATE SET quantity = inventory.quantity + excluded.quantity
          RETURNING quantity
        )
        INSERT INTO purchases (player_id, request_id, item, quantity, item_quantity, ledger_id)
        SELECT ${id}, ${requestId}, ${item}, ${quantity}::bigint, quantity, ${entry.id}::bigint FROM owned
        RETURNING item_quantity`
      return { item: { item, quantity: owned[0]!.item_quantity }, entry }
    })

    return {
      items,
      buy: (id, requestId, item, quantity) =>
        Pg.transaction(applyPurchase(id, requestId, item, quantity)).pipe(
          Effect.provideService(SqlClient.SqlClient, sql),
          Effect.catchTag("PgError", StorageUnavailable.from)
        )
    }
  })
)

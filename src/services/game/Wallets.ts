import * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import * as Pg from "../../pg/Pg.ts"
import { StorageUnavailable } from "../errors.ts"
import type { PlayerId } from "../PlayerId.ts"
import { type InsufficientFunds, PlayerNotFound, RequestIdReused } from "./errors.ts"
import {
  book,
  type ChangeReason,
  columns,
  type LedgerEntry,
  type LedgerRow,
  type RequestId,
  toEntry,
  toMoney
} from "./ledger.ts"
import { CurrencyCode, currencies, type Money } from "./Money.ts"
import { lockPlayer } from "./Players.ts"

/** What players have of each currency, and how that came about. */
export class Wallets extends Context.Service<
  Wallets,
  {
    /** What a player has, of every currency. Fails with PlayerNotFound. */
    readonly balances: (id: PlayerId) => Effect.Effect<ReadonlyArray<Money>, PlayerNotFound | StorageUnavailable>
    /**
     * The changes of a player's wallet, the newest first.
     *
     * - `before`: those before this id; the newest when 0
     * - `limit`: how many at most
     *
     * Fails with PlayerNotFound.
     */
    readonly ledger: (
      id: PlayerId,
      page: { readonly before: bigint; readonly limit: number }
    ) => Effect.Effect<ReadonlyArray<LedgerEntry>, PlayerNotFound | StorageUnavailable>
    /**
     * Gives or takes, once for a request id: again it answers what it answered first. `change` is not 0. Fails with
     * PlayerNotFound, with InsufficientFunds when there is less than is to be taken, and with RequestIdReused when the id
     * named another change.
     */
    readonly change: (
      id: PlayerId,
      requestId: RequestId,
      change: Money,
      reason: ChangeReason
    ) => Effect.Effect<LedgerEntry, PlayerNotFound | InsufficientFunds | RequestIdReused | StorageUnavailable>
  }
>()("xdooria/services/game/Wallets") {}

/** The columns of a LEFT JOIN whose right side may have no row. */
type Optional<Row> = Row | { readonly [K in keyof Row]: null }

/** Keeps wallets in PostgreSQL, in the tables of the game. */
export const WalletsLive: Layer.Layer<Wallets, never, SqlClient.SqlClient> = Layer.effect(
  Wallets,
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient

    const balances = Effect.fnUntraced(
      function* (id: PlayerId) {
        const rows = yield* Pg.run(sql<Optional<{ readonly currency: CurrencyCode; readonly balance: string }>>`
          SELECT currency, balance FROM players LEFT JOIN wallets ON player_id = id WHERE id = ${id}`)
        if (rows.length === 0) return yield* new PlayerNotFound({ playerId: id })
        return CurrencyCode.literals.map((currency): Money => {
          const balance = rows.find((row) => row.currency === currency)?.balance
          return balance == null ? { currency, amount: currencies[currency].zero } : toMoney(currency, balance)
        })
      },
      Effect.catchTag("PgError", StorageUnavailable.from)
    )

    const ledger = Effect.fnUntraced(
      function* (id: PlayerId, { before, limit }: { readonly before: bigint; readonly limit: number }) {
        const rows = yield* Pg.run(sql<Optional<LedgerRow>>`
          SELECT ${sql.literal(columns)} FROM players LEFT JOIN LATERAL (
            SELECT * FROM ledger WHERE player_id = players.id AND (${before}::bigint = 0 OR ledger.id < ${before}::bigint)
            ORDER BY ledger.id DESC LIMIT ${limit}
          ) ledger ON true WHERE players.id = ${id} ORDER BY ledger.id DESC`)
        if (rows.length === 0) return yield* new PlayerNotFound({ playerId: id })
        return rows.filter((row) => row.id !== null).map(toEntry)
      },
      Effect.catchTag("PgError", StorageUnavailable.from)
    )

    const applyChange = Effect.fnUntraced(function* (
      id: PlayerId,
      requestId: RequestId,
      change: Money,
      reason: ChangeReason
    ) {
      yield* lockPlayer(sql, id)
      const rows = yield* sql<LedgerRow>`
        SELECT ${sql.literal(columns)} FROM ledger
        WHERE player_id = ${id} AND kind = 'change' AND request_id = ${requestId}`
      if (rows[0] === undefined) return yield* book(sql, { playerId: id, kind: "change", requestId, change, reason })
      const earlier = toEntry(rows[0])
      const isSame =
        earlier.reason === reason &&
        earlier.change.currency === change.currency &&
        BigDecimal.equals(earlier.change.amount, change.amount)
      return isSame ? earlier : yield* new RequestIdReused({ requestId })
    })

    return {
      balances,
      ledger,
      change: (id, requestId, change, reason) =>
        Pg.transaction(applyChange(id, requestId, change, reason)).pipe(
          Effect.provideService(SqlClient.SqlClient, sql),
          Effect.catchTag("PgError", StorageUnavailable.from)
        )
    }
  })
)

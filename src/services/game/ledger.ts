import * as BigDecimal from "effect/BigDecimal"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { SqlClient } from "effect/sql/SqlClient"
import type { PlayerId } from "../PlayerId.ts"
import { InsufficientFunds } from "./errors.ts"
import { currencies, type CurrencyCode, type Money } from "./Money.ts"

const Name = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9._-]{1,64}$/, { expected: "1 to 64 characters of A-Z a-z 0-9 . _ -" })
)

/** Names a request, so that sending it again does nothing more. */
export const RequestId = Name.pipe(Schema.brand("RequestId"))

/** See {@link RequestId}. */
export type RequestId = typeof RequestId.Type

/** Why a wallet was changed, in a word. */
export const ChangeReason = Name.pipe(Schema.brand("ChangeReason"))

/** See {@link ChangeReason}. */
export type ChangeReason = typeof ChangeReason.Type

/** What changes wallets: the request ids of each are its own. */
export type Kind = "level_up" | "purchase" | "change"

/**
 * A change of a wallet.
 *
 * - `id`: rises with every change of a player's wallets
 * - `change`: below 0 when it was taken
 * - `balance`: what the wallet had of the currency after it
 * - `at`: in milliseconds of the epoch
 */
export interface LedgerEntry {
  readonly id: bigint
  readonly requestId: string
  readonly change: Money
  readonly balance: Money
  readonly reason: string
  readonly at: bigint
}

/** A row of the ledger, with the {@link columns}. */
export interface LedgerRow {
  readonly id: bigint
  readonly request_id: string
  readonly currency: CurrencyCode
  readonly change: string
  readonly balance: string
  readonly reason: string
  readonly at: bigint
}

/** What of the table `ledger` makes an entry. */
export const columns =
  "ledger.id, ledger.request_id, ledger.currency, ledger.change, ledger.balance, ledger.reason, (extract(epoch FROM ledger.at) * 1000)::bigint AS at"

/** An amount as a table has it: what it cannot have is a bug of ours. */
export const toMoney = (currency: CurrencyCode, amount: string): Money => ({
  currency,
  amount: Result.getOrThrow(currencies[currency].parse(amount))
})

/** An entry as the table has it. */
export const toEntry = ({ at, balance, change, currency, id, reason, request_id }: LedgerRow): LedgerEntry => ({
  id,
  requestId: request_id,
  change: toMoney(currency, change),
  balance: toMoney(currency, balance),
  reason,
  at
})

/** What is to be done to a wallet, once for a request id of its kind. `change` is not 0. */
export interface Booking {
  readonly playerId: PlayerId
  readonly kind: Kind
  readonly requestId: RequestId
  readonly change: Money
  readonly reason: string
}

/**
 * Changes a wallet and writes it down, in the transaction of the caller, who has locked the player. Fails with
 * InsufficientFunds when the wallet does not have what is to be taken.
 */
export const book = Effect.fnUntraced(function* (
  sql: SqlClient,
  { change, kind, playerId, reason, requestId }: Booking
) {
  const { currency } = change
  const amount = currencies[currency].format(change.amount)
  // PostgreSQL adds: exactly, and to what is there then. It checks a row to insert before it finds that it is there, so
  // that what takes cannot be written like what gives.
  const wallet = BigDecimal.isNegative(change.amount)
    ? sql`
        UPDATE wallets SET balance = balance + ${amount}::numeric
        WHERE player_id = ${playerId} AND currency = ${currency} AND balance + ${amount}::numeric >= 0
        RETURNING balance`
    : sql`
        INSERT INTO wallets (player_id, currency, balance) VALUES (${playerId}, ${currency}, ${amount}::numeric)
        ON CONFLICT (player_id, currency) DO UPDATE SET balance = wallets.balance + excluded.balance
        RETURNING balance`
  const rows = yield* sql<LedgerRow>`
    WITH wallet AS (${wallet})
    INSERT INTO ledger (player_id, kind, request_id, currency, change, balance, reason)
    SELECT ${playerId}, ${kind}, ${requestId}, ${currency}, ${amount}::numeric, balance, ${reason} FROM wallet
    RETURNING ${sql.literal(columns)}`
  return rows[0] === undefined ? yield* new InsufficientFunds({ currency }) : toEntry(rows[0])
})

import * as BigDecimal from "effect/BigDecimal"
import * as Effect from "effect/Effect"
import type { LedgerEntry, ListLedgerRequest, ListLedgerResponse, Money } from "../../gen/game.ts"
import type { Player } from "./Player.ts"
import { type Failure, kindOf } from "./Tally.ts"
import type { Board, Truth } from "./Truth.ts"

/** The largest page of a ledger. */
const page = 100

/** What the services hold of a player. */
export interface Held {
  readonly exp: bigint
  readonly level: number
  readonly balances: ReadonlyArray<Money>
  /** The oldest entry first. */
  readonly ledger: ReadonlyArray<LedgerEntry>
  readonly items: ReadonlyMap<string, bigint>
  readonly best: ReadonlyMap<Board, bigint>
}

const ledgerOf = Effect.fnUntraced(function* ({
  account: { call, game }
}: Player): Effect.fn.Return<Array<LedgerEntry>, Failure> {
  const ledger: Array<LedgerEntry> = []
  for (let before: bigint | undefined = 0n; before !== undefined;) {
    const request: ListLedgerRequest = { playerId: "", before, limit: page }
    const { entries }: ListLedgerResponse = yield* call((options) => game.listLedger(request, options))
    ledger.push(...entries)
    before = entries.length < page ? undefined : entries.at(-1)!.id
  }
  return ledger.toReversed()
})

const bestOf = Effect.fnUntraced(function* ({ account: { call, game }, truth }: Player) {
  const best = new Map<Board, bigint>()
  for (const board of truth.best.keys()) {
    const { standing } = yield* call((options) => game.getRank({ playerId: "", board }, options))
    best.set(board, standing!.score)
  }
  return best
})

const heldOf = Effect.fnUntraced(function* (player: Player) {
  const { call, game } = player.account
  const { player: own } = yield* call((options) => game.getPlayer({ playerId: "" }, options))
  const { balances } = yield* call((options) => game.getWallet({ playerId: "" }, options))
  const { items } = yield* call((options) => game.getInventory({ playerId: "" }, options))
  const held: Held = {
    exp: own!.exp,
    level: own!.level,
    balances,
    ledger: yield* ledgerOf(player),
    items: new Map(items.map(({ item, quantity }) => [item, quantity])),
    best: yield* bestOf(player)
  }
  return held
})

const amountOf = (money: Money | undefined): BigDecimal.BigDecimal => BigDecimal.fromStringUnsafe(money!.amount)

/** What is wrong with a ledger by itself: each balance is the one before with its change, and the last is the wallet's. */
const ledgerFaults = ({ balances, ledger }: Held): ReadonlyArray<string> => {
  const faults: Array<string> = []
  const sums = new Map<string, BigDecimal.BigDecimal>()
  for (const { balance, change, id } of ledger) {
    const { currency } = change!
    const sum = BigDecimal.sum(sums.get(currency) ?? BigDecimal.fromBigInt(0n), amountOf(change))
    sums.set(currency, sum)
    if (!BigDecimal.equals(sum, amountOf(balance))) {
      faults.push(`entry ${id} leaves ${balance!.amount} ${currency}, the changes up to it ${BigDecimal.format(sum)}`)
    }
  }
  for (const money of balances) {
    const sum = sums.get(money.currency) ?? BigDecimal.fromBigInt(0n)
    sums.delete(money.currency)
    if (!BigDecimal.equals(sum, amountOf(money))) {
      faults.push(`has ${money.amount} ${money.currency}, its ledger ${BigDecimal.format(sum)}`)
    }
  }
  for (const [currency, sum] of sums) {
    if (!BigDecimal.isZero(sum)) faults.push(`has no ${currency}, its ledger ${BigDecimal.format(sum)}`)
  }
  return faults
}

/** What is wrong with the entries of a kind: of each request that was acknowledged one, and no other. */
const entryFaults = (what: string, expected: Iterable<string>, entries: ReadonlyArray<LedgerEntry>) => {
  const counts = new Map<string, number>()
  for (const { requestId } of entries) counts.set(requestId, (counts.get(requestId) ?? 0) + 1)
  const faults: Array<string> = []
  for (const requestId of expected) {
    const count = counts.get(requestId) ?? 0
    counts.delete(requestId)
    if (count !== 1) faults.push(`${what} ${requestId} was acknowledged and is there ${count} times`)
  }
  for (const [requestId, count] of counts) {
    faults.push(`${what} ${requestId} was never acknowledged and is there ${count} times`)
  }
  return faults
}

const differences = (
  what: string,
  told: ReadonlyMap<string, bigint>,
  held: ReadonlyMap<string, bigint>
): ReadonlyArray<string> =>
  [...new Set([...told.keys(), ...held.keys()])]
    .filter((key) => (told.get(key) ?? 0n) !== (held.get(key) ?? 0n))
    .map((key) => `${what} ${key}: ${told.get(key) ?? 0n} by the answers, ${held.get(key) ?? 0n} in the services`)

/** What the services hold that is not what they said. */
export const faultsOf = (truth: Truth, held: Held): ReadonlyArray<string> => [
  ...differences(
    "progress",
    new Map([
      ["exp", truth.exp],
      ["level", BigInt(1 + truth.levels)]
    ]),
    new Map([
      ["exp", held.exp],
      ["level", BigInt(held.level)]
    ])
  ),
  ...differences("item", truth.items, held.items),
  ...differences("score", truth.best, held.best),
  ...entryFaults(
    "purchase",
    truth.purchases,
    held.ledger.filter(({ reason }) => reason === "purchase")
  ),
  ...entryFaults(
    "reward",
    truth.promotions,
    held.ledger.filter(({ reason }) => reason === "level_up")
  ),
  ...ledgerFaults(held)
]

/**
 * Asks the services what they hold of a player, and compares it with all that they ever told it. A change that was on its
 * way is sent again first, under its own id, so that there is an answer.
 */
export const reconcile = (player: Player): Effect.Effect<ReadonlyArray<string>> =>
  Effect.gen(function* () {
    const pending = player.pending()
    if (pending !== undefined) yield* player.settle(pending)
    return faultsOf(player.truth, yield* heldOf(player))
  }).pipe(
    Effect.timeoutOrElse({
      duration: "30 seconds",
      orElse: () => Effect.succeed(["the services gave no answer for 30 s"])
    }),
    Effect.catch((failure: Failure) => Effect.succeed([`it cannot be asked: ${kindOf(failure)}`])),
    Effect.map((faults) => faults.map((fault) => `${player.name}: ${fault}`))
  )

/** The boards of the game, and whether a score is better than another. */
export const boards = {
  arena: (one: bigint, other: bigint) => one > other,
  sprint: (one: bigint, other: bigint) => one < other
} as const

/** See {@link boards}. */
export type Board = keyof typeof boards

/** What a player wants changed: it may be sent again until there is an answer, and is done once. */
export type Change =
  | { readonly _tag: "Gain"; readonly requestId: string; readonly amount: bigint }
  | { readonly _tag: "Buy"; readonly requestId: string; readonly item: string; readonly quantity: bigint }
  | { readonly _tag: "Score"; readonly board: Board; readonly score: bigint }

/** What the services told a player, and so what they must hold in the end. */
export class Truth {
  changes = 0
  exp = 0n
  levels = 0
  /** The gains that brought a level: each was rewarded. */
  readonly promotions = new Set<string>()
  /** Each was paid for. */
  readonly purchases = new Set<string>()
  readonly items = new Map<string, bigint>()
  readonly best = new Map<Board, bigint>()

  /** A gain was acknowledged. */
  gained(requestId: string, amount: bigint, levels: number): void {
    this.changes++
    this.exp += amount
    this.levels += levels
    if (levels > 0) this.promotions.add(requestId)
  }

  /** A purchase was. */
  bought(requestId: string, item: string, quantity: bigint): void {
    this.changes++
    this.purchases.add(requestId)
    this.items.set(item, (this.items.get(item) ?? 0n) + quantity)
  }

  /** A score was. */
  scored(board: Board, score: bigint): void {
    this.changes++
    const best = this.best.get(board)
    if (best === undefined || boards[board](score, best)) this.best.set(board, score)
  }
}

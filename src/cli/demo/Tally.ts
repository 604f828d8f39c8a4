/** An error of a call, by its name, and what it says of its kind. */
export interface Failure {
  readonly _tag: string
  readonly reason?: string | { readonly _tag: string }
  readonly outcome?: string
}

/** The kind of a failure, such as `Unavailable` or `StorageUnavailable (unknown)`. */
export const kindOf = ({ _tag, outcome, reason = outcome }: Failure): string => {
  if (reason === undefined) return _tag
  return typeof reason === "string" ? `${_tag} (${reason})` : reason._tag
}

/** The value below which a share of the sorted values is. */
const quantile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0

/** What happened in a second. */
export interface Second {
  readonly calls: number
  /** Milliseconds that half of the calls took, and 99 of 100, at most. */
  readonly half: number
  readonly most: number
}

/** What all players of a demo did together, and how it went. */
export class Tally {
  players = 0
  connected = 0
  connections = 0
  pushes = 0
  missed = 0
  calls = 0
  changes = 0
  /** The longest time that a player was without a connection, in milliseconds. */
  longestAway = 0
  readonly failures = new Map<string, number>()
  #took: Array<number> = []

  /** A call was answered, after so many milliseconds. */
  answered(millis: number): void {
    this.calls++
    this.#took.push(millis)
  }

  /** A try of a call failed, or a connection did. */
  failed(failure: Failure): void {
    const kind = kindOf(failure)
    this.failures.set(kind, (this.failures.get(kind) ?? 0) + 1)
  }

  /** A player was without a connection for so many milliseconds. */
  away(millis: number): void {
    this.longestAway = Math.max(this.longestAway, millis)
  }

  /** What happened since it was asked last. */
  second(): Second {
    const took = this.#took.toSorted((one, other) => one - other)
    this.#took = []
    return { calls: took.length, half: quantile(took, 0.5), most: quantile(took, 0.99) }
  }
}

import type { Connection } from "./Connection.ts"

/** The connections of this gateway that have not ended, by player; one has several only with `session.max_devices`. */
export class Roster {
  /** In the order in which they were touched last. */
  readonly all = new Set<Connection>()
  readonly #byPlayer = new Map<string, ReadonlyArray<Connection>>()
  /** Those that are logging in count as well. */
  size = 0
  /** How many streams there are, also of those that have ended. */
  #streams = 0
  #ended: Array<Connection> = []
  #endedBefore: Array<Connection> = []
  /** Called when the last stream is gone. */
  onEmpty: (() => void) | undefined

  /** One that has logged in, until it ends; its stream is there until {@link leave}. */
  add(connection: Connection): void {
    const { playerId } = connection.session
    this.#streams++
    this.all.add(connection)
    this.#byPlayer.set(playerId, [...this.of(playerId), connection])
    connection.onEnd = this.#remove
  }

  /** The stream of one is gone. */
  leave(): void {
    if (--this.#streams === 0) this.onEmpty?.()
  }

  get isEmpty(): boolean {
    return this.#streams === 0
  }

  of(playerId: string): ReadonlyArray<Connection> {
    return this.#byPlayer.get(playerId) ?? []
  }

  readonly #remove = (connection: Connection): void => {
    const { playerId } = connection.session
    this.size--
    this.all.delete(connection)
    const others = this.of(playerId).filter((one) => one !== connection)
    if (others.length === 0) this.#byPlayer.delete(playerId)
    else this.#byPlayer.set(playerId, others)
    this.#ended.push(connection)
  }

  /** Those that had ended by the time when this was called before: what was sent to them may still wait. */
  overdue(): ReadonlyArray<Connection> {
    const overdue = this.#endedBefore
    this.#endedBefore = this.#ended
    this.#ended = []
    return overdue
  }

  /** Those that were not touched for the longest, which are the last ones then. */
  oldest(count: number): ReadonlyArray<Connection> {
    const oldest: Array<Connection> = []
    for (const connection of this.all) {
      if (oldest.length >= count) break
      oldest.push(connection)
    }
    for (const connection of oldest) {
      this.all.delete(connection)
      this.all.add(connection)
    }
    return oldest
  }
}

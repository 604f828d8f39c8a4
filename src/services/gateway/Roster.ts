import type { Connection } from "./Connection.ts"

/** The connections of this gateway, by player; a player has several only with `session.max_devices`. */
export class Roster {
  /** In the order in which they were touched last. */
  readonly all = new Set<Connection>()
  readonly #byPlayer = new Map<string, ReadonlyArray<Connection>>()
  /** Those that are logging in count as well. */
  size = 0
  onEmpty: (() => void) | undefined

  add(connection: Connection): void {
    const { playerId } = connection.session
    this.all.add(connection)
    this.#byPlayer.set(playerId, [...this.of(playerId), connection])
  }

  of(playerId: string): ReadonlyArray<Connection> {
    return this.#byPlayer.get(playerId) ?? []
  }

  remove(connection: Connection): void {
    const { playerId } = connection.session
    if (!this.all.delete(connection)) return
    const others = this.of(playerId).filter((one) => one !== connection)
    if (others.length === 0) this.#byPlayer.delete(playerId)
    else this.#byPlayer.set(playerId, others)
    if (this.all.size === 0) this.onEmpty?.()
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

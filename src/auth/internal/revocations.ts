// What has ended of the access tokens that are still in time: looked up for every call, so it is in the memory of every
// service.
import * as Schema from "effect/Schema"
import type { Verified } from "./claims.ts"
import type { Until } from "./store.ts"

/** How long a token of ours may live, with what clocks may be apart, in milliseconds. */
export const ownMillis = 960_000

/** The same of profile `plan`. */
export const planMillis = 86_460_000

/** How much later than now a generation may be, in milliseconds: clocks of machines are not further apart. */
export const aheadMillis = 86_400_000

/**
 * Something has ended: a family, or all tokens of a player of a lower generation.
 *
 * - `generation`: is a time too, in milliseconds: tokens without one have ended by when they were issued; 0 ends none
 * - `ban`: until when no token is good that has no generation; 0 when a ban was lifted; absent when it is not about one
 */
export const Revocation = Schema.Union([
  Schema.Struct({ family: Schema.String }),
  Schema.Struct({
    player: Schema.String,
    generation: Schema.Int,
    ban: Schema.optionalKey(Schema.Union([Schema.Finite, Schema.Literal("forever")]))
  })
])

/** See {@link Revocation}. */
export type Revocation = typeof Revocation.Type

interface Ended {
  readonly generation: number
  readonly forgetAt: number
}

const isOver = (until: Until, now: number): boolean => until !== "forever" && until <= now

/** Takes out what nothing depends on any more. The oldest is the first in a map, as what comes again is set anew. */
const forget = <A>(all: Map<string, A>, isOld: (value: A) => boolean): void => {
  for (const [key, value] of all) {
    if (!isOld(value)) return
    all.delete(key)
  }
}

/** See the head of this file. */
export class Revocations {
  private readonly families = new Map<string, number>()
  private readonly players = new Map<string, Ended>()
  private readonly bans = new Map<string, Until>()
  private readonly playerMillis: number
  private readonly now: () => number

  /** `takesPlan`: whether tokens of profile `plan` are looked up; they live longer. */
  constructor(takesPlan: boolean, now: () => number) {
    this.playerMillis = takesPlan ? planMillis : ownMillis
    this.now = now
  }

  /** How a token has ended, if it has. */
  endOf({ family, generation, issuedAt, playerId }: Verified): "ended" | "banned" | undefined {
    if (family !== undefined && this.families.has(family)) return "ended"
    const floor = this.players.get(playerId)?.generation
    const ban = this.bans.get(playerId)
    const isBanned = ban !== undefined && !isOver(ban, this.now())
    if (generation === undefined) {
      // A Go service issues them to whoever is banned here. Their times are whole seconds.
      if (isBanned) return "banned"
      return floor !== undefined && issuedAt <= floor ? "ended" : undefined
    }
    if (floor === undefined || generation >= floor) return undefined
    return isBanned ? "banned" : "ended"
  }

  /** The lowest generation of a player that has not ended, as far as it is known; 0 where nothing is. */
  floorOf(playerId: string): number {
    return this.players.get(playerId)?.generation ?? 0
  }

  /**
   * Takes a revocation in, but for one whose generation is no time that has been: above it no other would be.
   *
   * - `madeAt`: it may come twice, and late
   */
  apply(revocation: Revocation, madeAt: number): void {
    const now = this.now()
    const at = Math.min(madeAt, now)
    if ("family" in revocation) {
      if (at + ownMillis <= now) return
      this.families.delete(revocation.family)
      this.families.set(revocation.family, at + ownMillis)
      return
    }
    const { ban, generation, player } = revocation
    if (generation > now + aheadMillis) return
    const before = this.players.get(player)
    if (ban !== undefined) {
      if (isOver(ban, now)) this.bans.delete(player)
      else this.bans.set(player, ban)
    }
    if (at + this.playerMillis <= now || generation < (before?.generation ?? 1)) return
    this.players.delete(player)
    this.players.set(player, { generation, forgetAt: at + this.playerMillis })
  }

  /** Forgets what has no token in time any more. */
  purge(): void {
    const now = this.now()
    forget(this.families, (forgetAt) => forgetAt <= now)
    forget(this.players, ({ forgetAt }) => forgetAt <= now)
    for (const [player, until] of this.bans) if (isOver(until, now)) this.bans.delete(player)
  }
}

// The store of AuthEmbedded: what internal/scripts.ts does on Redis, in memory.
import * as Effect from "effect/Effect"
import type { Limit, Name } from "./lockout.ts"
import { type Revocation, Revocations } from "./revocations.ts"
import {
  expiredMillis,
  type Keeping,
  type Login,
  mostFamilies,
  type Outcome,
  type Place,
  pendingMillis,
  type Renewal,
  type Store,
  type Until
} from "./store.ts"

interface Family {
  readonly roles: ReadonlyArray<string>
  current: string
  previous: string | undefined
  salt: string
  usedAt: number
  expiresAt: number
}

interface Player {
  generation: number
  ban: Until | undefined
  readonly families: Map<string, Family>
}

/** When each attempt of an account or an address failed, or began if it has not ended. The oldest is the first. */
interface Attempts {
  readonly name: Name
  readonly failures: Map<string, number>
  readonly pending: Map<string, number>
}

/** A generation is a time, so that one which was forgotten does not come again. */
const raise = (player: Player, now: number): number => (player.generation = Math.max(player.generation + 1, now))

const barred = ({ ban }: Player, now: number) =>
  ban !== undefined && (ban === "forever" || ban > now) ? ({ _tag: "Barred", until: ban } as const) : undefined

/** Takes out what has expired long ago, and what expires first where there are too many. */
const makeRoom = ({ families }: Player, now: number): void => {
  for (const [name, { expiresAt }] of families) if (expiresAt + expiredMillis <= now) families.delete(name)
  while (families.size >= mostFamilies) {
    const [oldest] = [...families].reduce((one, other) => (other[1].expiresAt < one[1].expiresAt ? other : one))
    families.delete(oldest)
  }
}

/** Players, their logins and bans. */
class Players {
  private readonly players = new Map<string, Player>()
  private readonly keeping: Keeping

  constructor(keeping: Keeping) {
    this.keeping = keeping
  }

  begin({ digest, family, playerId, roles }: Login, now: number) {
    const player = this.change(playerId, now)
    const ban = barred(player, now)
    if (ban !== undefined) return ban
    makeRoom(player, now)
    const expiresAt = now + this.keeping.refreshTtl
    player.families.set(family, { roles, current: digest, previous: undefined, salt: "", usedAt: 0, expiresAt })
    return { _tag: "Kept", generation: player.generation, refreshExpiresAt: expiresAt } as const
  }

  renew(use: Parameters<Store["renew"]>[0], now: number): Renewal {
    const player = this.players.get(use.playerId)
    const ban = player === undefined ? undefined : barred(player, now)
    if (ban !== undefined) return ban
    const family = player?.families.get(use.family)
    if (player === undefined || family === undefined) return { _tag: "Absent" }
    if (family.expiresAt <= now) return { _tag: "Expired" }
    if (family.current === use.digest) {
      const expiresAt = now + this.keeping.refreshTtl
      Object.assign(family, { current: use.next, previous: use.digest, salt: use.salt, usedAt: now, expiresAt })
    } else if (family.previous !== use.digest || family.usedAt + this.keeping.grace < now) {
      player.families.delete(use.family)
      return { _tag: "Replayed" }
    }
    const { expiresAt: refreshExpiresAt, roles, salt } = family
    return { _tag: "Renewed", generation: player.generation, refreshExpiresAt, roles, salt }
  }

  endFamily(playerId: string, family: string): void {
    this.players.get(playerId)?.families.delete(family)
  }

  /** Ends all that a player has; gives the generation from which on tokens are good. */
  end(playerId: string, ban: Until | undefined, now: number): number {
    const player = this.change(playerId, now)
    player.families.clear()
    if (ban !== undefined) player.ban = ban
    return raise(player, now)
  }

  unban(playerId: string): void {
    const player = this.players.get(playerId)
    if (player !== undefined) player.ban = undefined
  }

  /** Forgets players of whom nothing is kept. */
  purge(now: number): void {
    for (const [playerId, player] of this.players) {
      const isKept = [...player.families.values()].some(({ expiresAt }) => expiresAt + expiredMillis > now)
      if (!isKept && barred(player, now) === undefined) this.players.delete(playerId)
    }
  }

  private change(playerId: string, now: number): Player {
    const player = this.players.get(playerId) ?? { generation: now, ban: undefined, families: new Map() }
    this.players.set(playerId, player)
    return player
  }
}

/** Forgets what was until an instant. */
const drop = (all: Map<string, number>, until: number): void => {
  for (const [id, at] of all) if (at <= until) all.delete(id)
}

/** Attempts to log in. */
class Counts {
  private readonly all = new Map<string, Attempts>()
  private readonly limits: Readonly<Record<Name["of"], Limit>>

  constructor(limits: Readonly<Record<Name["of"], Limit>>) {
    this.limits = limits
  }

  reserve(name: Name, id: string, now: number): Place {
    const { failures, pending } = this.of(name)
    const { most } = this.limits[name.of]
    if (pending.has(id)) return { _tag: "Taken" }
    const leftMillis = this.look(name, now)
    if (leftMillis > 0) return { _tag: "Locked", leftMillis }
    if (failures.size + pending.size >= most) return { _tag: "Busy" }
    pending.set(id, now)
    return { _tag: "Taken" }
  }

  settle(name: Name, outcome: Outcome, id: string, now: number): void {
    const { failures, pending } = this.of(name)
    this.look(name, now)
    pending.delete(id)
    if (outcome === "succeeded") failures.clear()
    if (outcome === "failed" && !failures.has(id)) failures.set(id, now)
  }

  purge(now: number): void {
    for (const [key, { failures, name, pending }] of this.all) {
      this.look(name, now)
      if (failures.size + pending.size === 0) this.all.delete(key)
    }
  }

  private of(name: Name): Attempts {
    const key = name.of + name.digest
    const attempts = this.all.get(key) ?? { name, failures: new Map(), pending: new Map() }
    this.all.set(key, attempts)
    return attempts
  }

  /** How long it is locked, from the failure that locked; forgets what is too old when it is not. */
  private look(name: Name, now: number): number {
    const { failures, pending } = this.of(name)
    const { most, windowMillis } = this.limits[name.of]
    drop(pending, now - pendingMillis)
    const lockedAt = [...failures.values()][most - 1]
    const leftMillis = lockedAt === undefined ? 0 : lockedAt + windowMillis - now
    if (leftMillis > 0) return leftMillis
    drop(failures, now - windowMillis)
    return 0
  }
}

/** The store of one process. `purge` is to be called now and then. */
export const make = (options: {
  readonly keeping: Keeping
  readonly limits: Readonly<Record<Name["of"], Limit>>
  readonly takesPlan: boolean
  readonly now: () => number
}): Store & { readonly purge: () => void } => {
  const { keeping, limits, now, takesPlan } = options
  const players = new Players(keeping)
  const counts = new Counts(limits)
  const revocations = new Revocations(takesPlan, now)
  const revoke = (revocation: Revocation) => revocations.apply(revocation, now())
  const end = (player: string, ban?: Until) =>
    Effect.sync(() =>
      revoke({ player, generation: players.end(player, ban, now()), ...(ban === undefined ? {} : { ban }) })
    )
  return {
    revocations,
    begin: (login) => Effect.sync(() => players.begin(login, now())),
    renew: (use) =>
      Effect.sync(() => {
        const renewal = players.renew(use, now())
        if (renewal._tag === "Replayed") revoke({ family: use.family })
        return renewal
      }),
    endFamily: (playerId, family) =>
      Effect.sync(() => {
        players.endFamily(playerId, family)
        revoke({ family })
      }),
    endAll: (playerId) => end(playerId),
    ban: end,
    unban: (player) =>
      Effect.sync(() => {
        players.unban(player)
        revoke({ player, generation: 0, ban: 0 })
      }),
    reserve: (names, id) => Effect.sync(() => names.map((name) => counts.reserve(name, id, now()))),
    settle: (outcomes, id) =>
      Effect.sync(() => outcomes.forEach(([name, outcome]) => counts.settle(name, outcome, id, now()))),
    purge: () => {
      players.purge(now())
      counts.purge(now())
      revocations.purge()
    }
  }
}

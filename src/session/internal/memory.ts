// The players of SessionEmbedded: what internal/scripts.ts does on Redis, in memory, where nobody else writes.
import type { Kick, SessionData } from "../Session.ts"
import type { Reading } from "./judge.ts"
import type { StoredSession } from "./record.ts"
import type { Ending, Stored } from "./scripts.ts"

interface Entry {
  epoch: number
  readonly issued: number
  readonly ttl: number
  expires: number
  gateway: string
  readonly digest: string
  value: string
}

interface Player {
  epoch: number
  main: string | undefined
  ban: string | undefined
  revokedUntil: number
  seen: number | undefined
  onlineUntil: number
  /** Until when the plan's value would be there. */
  expires: number
  readonly sessions: Map<string, Entry>
  readonly past: Map<string, string>
}

/** How sessions are kept; times in milliseconds. */
export interface MemoryOptions {
  readonly maxDevices: number
  readonly retention: number
  readonly onlineTtl: number
  /** How long a touch lets a session last from then on, at least; 0 when sessions do not slide. */
  readonly slide: number
  /** Hears what a gateway is told. */
  readonly tell: (gateway: string, kick: Kick) => void
}

const fresh = (): Player => ({
  epoch: 0,
  main: undefined,
  ban: undefined,
  revokedUntil: 0,
  seen: undefined,
  onlineUntil: 0,
  expires: 0,
  sessions: new Map(),
  past: new Map()
})

const storedOf = ({ digest, epoch, expires, gateway, issued, ttl, value }: Entry): StoredSession => ({
  e: epoch,
  i: issued,
  t: ttl,
  x: expires,
  v: value,
  h: digest,
  g: gateway
})

const isBanned = ({ ban }: Player, now: number): boolean =>
  ban !== undefined && (ban === "forever" || Number(ban) > now)

/** All players. Every operation is given the time. */
export class Memory {
  private readonly options: MemoryOptions
  private readonly players = new Map<string, Player>()

  constructor(options: MemoryOptions) {
    this.options = options
  }

  login(
    playerId: string,
    { device, digest, gateway, ttl, value }: Stored,
    floor: number,
    now: number
  ): { readonly ban: string | undefined; readonly epoch: number } {
    const player = this.change(playerId)
    if (isBanned(player, now)) return { ban: player.ban, epoch: 0 }
    player.past.clear()
    this.tidy(playerId, player, now)
    if (player.sessions.has(device)) this.drop(playerId, player, device, "superseded")
    while (player.sessions.size >= this.options.maxDevices) {
      const [oldest] = [...player.sessions].reduce((one, two) => (two[1].epoch < one[1].epoch ? two : one))
      this.drop(playerId, player, oldest, "superseded")
    }
    player.epoch = Math.max(player.epoch + 1, now)
    const issued = Math.max(now, player.revokedUntil + 1, floor + 1)
    const others = player.sessions.size > 0
    player.sessions.set(device, { epoch: player.epoch, issued, ttl, expires: now + ttl, gateway, digest, value })
    player.main = device
    player.expires = others ? Math.max(player.expires, now + ttl) : now + ttl
    return { ban: undefined, epoch: player.epoch }
  }

  read(playerId: string, device: string | undefined, now: number): Reading {
    const player = this.players.get(playerId) ?? fresh()
    const { ban, main, past, revokedUntil, seen, sessions } = player
    return {
      now,
      device: device ?? main ?? "",
      current: main !== undefined && player.expires > now ? sessions.get(main)?.value : undefined,
      record: {
        m: main,
        b: ban,
        r: revokedUntil,
        s: seen ?? 0,
        sessions: new Map([...sessions].map(([of, entry]) => [of, storedOf(entry)])),
        past
      }
    }
  }

  touch(playerId: string, { device, epoch }: SessionData, floor: number, now: number): boolean {
    const player = this.players.get(playerId)
    const entry = player?.sessions.get(device)
    if (player === undefined || entry === undefined || isBanned(player, now) || player.expires <= now) return false
    if (entry.epoch !== epoch || (device !== player.main && entry.expires <= now)) return false
    if (entry.issued <= Math.max(player.revokedUntil, floor)) return false
    if (this.options.slide > 0) {
      entry.expires = Math.max(entry.expires, now + entry.ttl)
      player.expires = Math.max(player.expires, now + entry.ttl)
    }
    player.seen = now
    return true
  }

  /** Whether the player still has a session. */
  logout(playerId: string, { device, epoch }: SessionData, now: number): boolean {
    const player = this.players.get(playerId)
    if (player === undefined) return false
    const entry = player.sessions.get(device)
    if (entry?.epoch === epoch) {
      this.drop(playerId, player, device, "ended")
      if (player.expires > now) this.settle(player)
    }
    return player.expires > now
  }

  end(playerId: string, { at, device, reason }: Ending, now: number): { readonly ended: number; remains: boolean } {
    const player = this.change(playerId)
    this.tidy(playerId, player, now)
    if (reason === "banned") player.ban = at
    else if (at !== "") player.revokedUntil = Math.max(player.revokedUntil, Math.min(Number(at), now))
    const isMeant = (of: string, { issued }: Entry) =>
      (device === undefined || device === of) && (reason === "banned" || at === "" || issued <= player.revokedUntil)
    const meant = [...player.sessions].filter(([of, entry]) => isMeant(of, entry))
    for (const [of] of meant) this.drop(playerId, player, of, reason)
    this.settle(player)
    return { ended: meant.length, remains: player.expires > now }
  }

  unban(playerId: string): void {
    const player = this.players.get(playerId)
    if (player !== undefined) player.ban = undefined
  }

  /** The new epoch, if the session was valid. */
  move(playerId: string, session: SessionData, to: string, value: string, now: number): number | undefined {
    const { device, epoch } = session
    const player = this.players.get(playerId)
    const entry = player?.sessions.get(device)
    if (player === undefined || entry === undefined || entry.epoch !== epoch || player.expires <= now) return undefined
    this.options.tell(entry.gateway, { playerId, device, epoch, reason: "moved", to })
    player.past.set(device, `moved ${epoch} - ${to}`)
    player.epoch = Math.max(player.epoch + 1, now)
    Object.assign(entry, { epoch: player.epoch, gateway: to, value })
    return entry.epoch
  }

  setOnline(playerId: string, isOnline: boolean, now: number): void {
    const player = isOnline ? this.change(playerId) : this.players.get(playerId)
    if (player !== undefined) player.onlineUntil = isOnline ? now + this.options.onlineTtl : 0
  }

  presence(playerId: string, now: number): { readonly online: boolean; readonly seen: number | undefined } {
    const player = this.players.get(playerId)
    return { online: player !== undefined && player.onlineUntil > now, seen: player?.seen }
  }

  /** Forgets players of whom nothing is kept any more. */
  purge(now: number): void {
    for (const [playerId, { ban, expires, onlineUntil, seen, sessions }] of this.players) {
      const last = Math.max(expires, onlineUntil, seen ?? 0, ...[...sessions.values()].map((entry) => entry.expires))
      const until = ban === "forever" ? Infinity : Math.max(last, Number(ban ?? 0))
      if (until + this.options.retention <= now) this.players.delete(playerId)
    }
  }

  private change(playerId: string): Player {
    const player = this.players.get(playerId) ?? fresh()
    this.players.set(playerId, player)
    return player
  }

  private drop(
    playerId: string,
    player: Player,
    device: string,
    reason: "superseded" | "revoked" | "banned" | "ended"
  ): void {
    const { digest, epoch, gateway } = player.sessions.get(device)!
    player.sessions.delete(device)
    player.past.set(device, `${reason} ${epoch} ${digest}`)
    this.options.tell(gateway, { playerId, device, epoch, reason })
  }

  private tidy(playerId: string, player: Player, now: number): void {
    for (const [device, { expires }] of player.sessions) {
      const isOver = player.expires <= now || (device !== player.main && expires <= now)
      if (isOver) this.drop(playerId, player, device, "ended")
    }
  }

  private settle(player: Player): void {
    if (player.main !== undefined && player.sessions.has(player.main)) return
    const newest = [...player.sessions].toSorted(([, one], [, two]) => two.epoch - one.epoch)[0]
    player.main = newest?.[0]
    player.expires = newest?.[1].expires ?? 0
  }
}

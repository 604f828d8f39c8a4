// What a player's keys say about a session: valid, or why not. Pure, and the same for both backends.
import * as DateTime from "effect/DateTime"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { createHash, timingSafeEqual } from "node:crypto"
import type { SessionData } from "../Session.ts"
import { Banned, NotFound, Revoked, type SessionErrorReason, Superseded } from "../SessionError.ts"
import * as Value from "./value.ts"

/** What stands for one device of a player, read at once. Times are milliseconds of the store's clock. */
export interface Reading {
  readonly now: number
  readonly device: string
  /** The plan's value. */
  readonly current: string | undefined
  /** End of a ban, or `forever`. */
  readonly ban: string | undefined
  /** Sessions that began until then are void. */
  readonly revokedUntil: number
  /** The session that we last wrote as the plan's value. */
  readonly main: string | undefined
  /** The session of the device. */
  readonly own: string | undefined
  readonly isMain: boolean
  /** What became of the last session of the device. */
  readonly past: string | undefined
}

/** What a caller knows of a session; what is left out may be anything. */
export interface Claimed {
  readonly token?: Redacted.Redacted
  /** See {@link digestOf}. */
  readonly digest?: string
  readonly epoch?: number
  readonly gateway?: string
}

/** A stored session: `epoch issued ttl expires value`. */
interface Entry {
  readonly epoch: number
  readonly issued: number
  readonly expires: number
  readonly value: string
}

const entryOf = (text: string | undefined): Entry | undefined => {
  const match = text === undefined ? null : /^(\d+) (\d+) \d+ (\d+) ([^]*)$/.exec(text)
  if (match === null) return undefined
  return { epoch: Number(match[1]), issued: Number(match[2]), expires: Number(match[3]), value: match[4]! }
}

/** Compares in a time that does not tell how much of it is right. No token is nobody's. */
const isSameToken = (token: Redacted.Redacted, other: Redacted.Redacted): boolean => {
  const one = Buffer.from(Redacted.value(token))
  const two = Buffer.from(Redacted.value(other))
  return one.length > 0 && one.length === two.length && timingSafeEqual(one, two)
}

/** Tells tokens apart without telling the token. */
export const digestOf = (token: Redacted.Redacted): string =>
  createHash("sha256").update(Redacted.value(token)).digest("hex").slice(0, 32)

const matches = (claim: Claimed, session: SessionData): boolean =>
  (claim.epoch === undefined || claim.epoch === session.epoch) &&
  (claim.token === undefined || isSameToken(claim.token, session.token)) &&
  (claim.digest === undefined || claim.digest === digestOf(session.token))

/** When a ban ends; undefined for never, when there is one. */
export const bannedUntil = (ban: string): Banned =>
  ban === "forever" ? new Banned({}) : new Banned({ until: DateTime.makeUnsafe(Number(ban)) })

const sessionOf = (playerId: string, device: string, epoch: number, value: Value.Value): SessionData => ({
  playerId,
  device,
  epoch,
  token: value.token,
  gateway: value.gateway,
  loginTime: value.loginTime
})

const isSame = (one: Value.Value, two: Value.Value): boolean =>
  one.gateway === two.gateway && isSameToken(one.token, two.token)

const reasonOfPast = (past: string | undefined, claim: Claimed): SessionErrorReason | undefined => {
  const [reason, epoch, digest] = (past ?? "").split(" ")
  const isIt =
    claim.token === undefined
      ? claim.epoch !== undefined && String(claim.epoch) === epoch
      : createHash("sha1").update(Redacted.value(claim.token)).digest("hex") === digest
  if (!isIt || reason === undefined) return undefined
  return reason === "superseded" || reason === "moved"
    ? new Superseded()
    : reason === "ended"
      ? new NotFound()
      : new Revoked()
}

/**
 * Judges a claim.
 *
 * - `floor`: sessions of any player that began until then are void, in milliseconds
 *
 * Fails with Banned, Revoked, Superseded, NotFound or Unreadable.
 */
export const judge = (
  playerId: string,
  reading: Reading,
  floor: number,
  claim: Claimed
): Result.Result<SessionData, SessionErrorReason> => {
  const { ban, current, device, isMain, now } = reading
  if (ban !== undefined && (ban === "forever" || Number(ban) > now)) return Result.fail(bannedUntil(ban))
  const read = current === undefined ? undefined : Value.decode(current)
  if (read !== undefined && Result.isFailure(read)) return Result.fail(read.failure)
  const value = read?.success
  const voidUntil = Math.max(reading.revokedUntil, floor)
  const main = entryOf(reading.main)
  const own = isMain ? main : entryOf(reading.own)
  const ownValue = own === undefined || own.value === current ? value : Result.getOrUndefined(Value.decode(own.value))
  const ours =
    own === undefined || ownValue === undefined ? undefined : sessionOf(playerId, device, own.epoch, ownValue)

  const isAnchored = value !== undefined && main !== undefined && (main.value === current || isMainStill(main, value))
  if (isAnchored && own !== undefined && ours !== undefined && (isMain || own.expires > now)) {
    if (matches(claim, ours)) {
      if (own.issued <= voidUntil) return Result.fail(new Revoked())
      return claim.gateway === undefined || claim.gateway === ours.gateway
        ? Result.succeed(ours)
        : Result.fail(new Superseded())
    }
    if (claim.epoch !== undefined && claim.epoch < ours.epoch) return Result.fail(new Superseded())
  }
  if (value !== undefined && !isAnchored && (isMain || device === "")) {
    const foreign = sessionOf(playerId, "", 0, value)
    if (matches(claim, foreign)) {
      const began = foreign.loginTime === undefined ? 0 : DateTime.toEpochMillis(foreign.loginTime)
      if (voidUntil > 0 && began <= voidUntil) return Result.fail(new Revoked())
      return claim.gateway === undefined || claim.gateway === foreign.gateway
        ? Result.succeed(foreign)
        : Result.fail(new Superseded())
    }
  }
  const past = reasonOfPast(reading.past, claim)
  if (past !== undefined) return Result.fail(past)
  if (!isAnchored && own !== undefined && ours !== undefined && matches(claim, ours)) {
    if (value !== undefined) return Result.fail(new Superseded())
    return Result.fail(own.expires > now ? new Revoked() : new NotFound())
  }
  return Result.fail(new NotFound())
}

/** The gateway that a session with this epoch was handed over to. */
export const movedTo = ({ past }: Reading, epoch: number): string | undefined => {
  const [reason, of, , to] = (past ?? "").split(" ")
  return reason === "moved" && of === String(epoch) ? to : undefined
}

const isMainStill = (main: Entry, value: Value.Value): boolean => {
  const written = Value.decode(main.value)
  return Result.isSuccess(written) && isSame(written.success, value)
}

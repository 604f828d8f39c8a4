// What a player's keys say about a session: valid, or why not. Pure, and the same for both backends.
import * as DateTime from "effect/DateTime"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { hash, timingSafeEqual } from "node:crypto"
import type { SessionData } from "../Session.ts"
import { Banned, NotFound, Revoked, type SessionErrorReason, Superseded } from "../SessionError.ts"
import type { StoredRecord, StoredSession } from "./record.ts"
import { checkName } from "./input.ts"
import * as Value from "./value.ts"

/** What stands for one device of a player, read at once. */
export interface Reading {
  readonly now: number
  readonly device: string
  /** The plan's value. */
  readonly current: string | undefined
  readonly record: StoredRecord
}

/** Whether a reading means the same at any time. */
export const isTimeless = ({ current, device, record }: Reading): boolean =>
  current !== undefined &&
  (record.b === undefined || record.b === "forever") &&
  (device === record.m || record.sessions.get(device) === undefined)

/** What a caller knows of a session; what is left out may be anything. */
export interface Claimed {
  readonly token?: Redacted.Redacted
  /** See {@link digestOf}. */
  readonly digest?: string
  readonly epoch?: number
  readonly gateway?: string
}

/** Compares in a time that does not tell how much of it is right. No token is nobody's. */
const isSameToken = (token: Redacted.Redacted, other: Redacted.Redacted): boolean => {
  const one = Buffer.from(Redacted.value(token))
  const two = Buffer.from(Redacted.value(other))
  return one.length > 0 && one.length === two.length && timingSafeEqual(one, two)
}

/** Tells tokens apart without telling the token. */
export const digestOf = (token: Redacted.Redacted): string => hash("sha256", Redacted.value(token), "hex").slice(0, 32)

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
  one.gateway === two.gateway &&
  (isSameToken(one.token, two.token) || (Redacted.value(one.token) === "" && Redacted.value(two.token) === ""))

/** What a script asks: whose the plan's value is, `main` being the one that we wrote, or empty. */
export class Question {
  readonly sum: string
  readonly current: string
  readonly main: string

  constructor(sum: string, current: string, main: string) {
    this.sum = sum
    this.current = current
    this.main = main
  }
}

/**
 * The answer, for the value and the session that were asked about: `sum whose began digest gateway`. The value is `ours`,
 * that of the Go session that the caller has `held`, or an `other` one, with what its gateway is told.
 */
export const answerTo = ({ current, main, sum }: Question, held?: SessionData): string => {
  const read = Value.decode(current)
  if (Result.isFailure(read)) return `${sum} other -  `
  const { gateway, loginTime, token } = read.success
  const written = main === "" ? undefined : Result.getOrUndefined(Value.decode(main))
  const whose =
    written !== undefined && isSame(written, read.success)
      ? "ours"
      : held?.epoch === 0 && isSame(held, read.success)
        ? "held"
        : "other"
  const began = loginTime === undefined ? 0 : Math.max(0, DateTime.toEpochMillis(loginTime))
  // A gateway that is no name has no channel.
  const told = Result.isSuccess(checkName("gateway", gateway)) ? gateway : ""
  return `${sum} ${whose} ${began} ${digestOf(token)} ${told}`
}

/** The device that a token is or was of, if any. */
export const deviceOf = ({ record }: Reading, token: Redacted.Redacted): string | undefined => {
  const digest = digestOf(token)
  for (const [of, { h }] of record.sessions) if (h === digest) return of
  for (const [of, what] of record.past) if (what.split(" ")[2] === digest) return of
  return undefined
}

const reasonOfPast = (past: string | undefined, claim: Claimed): SessionErrorReason | undefined => {
  const [reason, epoch, digest] = (past ?? "").split(" ")
  const isIt =
    claim.token === undefined
      ? claim.epoch !== undefined && String(claim.epoch) === epoch
      : digestOf(claim.token) === digest
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
  const { current, device, now, record } = reading
  const { b: ban, m } = record
  if (ban !== undefined && (ban === "forever" || Number(ban) > now)) return Result.fail(bannedUntil(ban))
  const read = current === undefined ? undefined : Value.decode(current)
  if (read !== undefined && Result.isFailure(read)) return Result.fail(read.failure)
  const value = read?.success
  const voidUntil = Math.max(record.r, floor)
  const isMain = m === device
  const main = m === undefined ? undefined : record.sessions.get(m)
  const stored = isMain ? main : record.sessions.get(device)
  const ownValue = stored === undefined || stored.v === current ? value : Result.getOrUndefined(Value.decode(stored.v))
  const ours =
    stored === undefined || ownValue === undefined ? undefined : sessionOf(playerId, device, stored.e, ownValue)

  const isAnchored = value !== undefined && main !== undefined && (main.v === current || isMainStill(main, value))
  if (isAnchored && stored !== undefined && ours !== undefined && (isMain || stored.x > now)) {
    if (matches(claim, ours)) {
      if (stored.i <= voidUntil) return Result.fail(new Revoked())
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
  const past = reasonOfPast(pastOf(reading), claim)
  if (past !== undefined) return Result.fail(past)
  if (!isAnchored && stored !== undefined && ours !== undefined && matches(claim, ours)) {
    if (value !== undefined) return Result.fail(new Superseded())
    return Result.fail(stored.x > now ? new Revoked() : new NotFound())
  }
  return Result.fail(new NotFound())
}

/** The gateway that a session with this epoch was handed over to. */
export const movedTo = (reading: Reading, epoch: number): string | undefined => {
  const [reason, of, , to] = (pastOf(reading) ?? "").split(" ")
  return reason === "moved" && of === String(epoch) ? to : undefined
}

const pastOf = ({ device, record }: Reading): string | undefined => record.past.get(device)

const isMainStill = (main: StoredSession, value: Value.Value): boolean => {
  const written = Value.decode(main.v)
  return Result.isSuccess(written) && isSame(written.success, value)
}

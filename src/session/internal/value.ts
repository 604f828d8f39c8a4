// The value of the key session:<player_id>, as a Go service of the plan writes and reads it.
import * as DateTime from "effect/DateTime"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { Unreadable } from "../SessionError.ts"

/** What the plan's value says, its player id left out: the key has it. */
export interface Value {
  readonly token: Redacted.Redacted
  readonly gateway: string
  readonly loginTime: DateTime.Utc | undefined
}

/** The four members, with these names, in this order. */
export const encode = (playerId: string, { gateway, loginTime, token }: Value): string =>
  JSON.stringify({
    player_id: playerId,
    token: Redacted.value(token),
    gateway,
    // The year 1, which is what Go writes for no time.
    login_time: loginTime === undefined ? "0001-01-01T00:00:00Z" : DateTime.formatIso(loginTime)
  })

const names = ["player_id", "token", "gateway", "login_time"] as const

/** As Go compares names: the Kelvin sign is a k, and the long s is an s. */
const fold = (name: string): string => name.toUpperCase().toLowerCase()

/**
 * The members of a JSON object in the order of the text, duplicates included, which JSON.parse does not keep. The text
 * is known to be JSON.
 */
const membersOf = (text: string): ReadonlyArray<readonly [name: string, value: unknown]> => {
  const members: Array<readonly [string, unknown]> = []
  let depth = 0
  let name: string | undefined
  let start = 0
  const token = /"(?:[^"\\]|\\.)*"|[{}[\]:,]/g
  for (let found = token.exec(text); found !== null; found = token.exec(text)) {
    const [mark] = found
    if (depth === 1 && name === undefined && mark.startsWith('"')) name = JSON.parse(mark) as string
    else if (depth === 1 && name !== undefined && mark === ":") start = token.lastIndex
    else if (depth === 1 && name !== undefined && (mark === "," || mark === "}")) {
      members.push([name, JSON.parse(text.slice(start, found.index))])
      name = undefined
    }
    if (mark === "{" || mark === "[") depth++
    if (mark === "}" || mark === "]") depth--
  }
  return members
}

const isName = (name: string): boolean => (names as ReadonlyArray<string>).includes(name)

/** The members by their names in lower case; of several the last one in the text. A null leaves a field of Go's as it is. */
const folded = (text: string): Members => {
  const all: Record<string, unknown> = { __proto__: null }
  for (const [name, value] of membersOf(text)) if (value !== null) all[fold(name)] = value
  return all
}

type Members = { readonly [K in (typeof names)[number]]?: unknown }

/** Whether every member that counts stands once, under its very name, and is not null. */
const isPlain = (parsed: object): boolean => {
  for (const [name, value] of Object.entries(parsed)) {
    if (value === null || (!isName(name) && isName(fold(name)))) return false
  }
  return true
}

const instant =
  /^(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d+))?(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d))$/

const common = /^\d{4}-\d\d-(?:[01]\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/

/** RFC 3339 as Go reads it: any number of digits of a second, an offset or Z, in capital letters. */
const timeOf = (text: string): DateTime.Utc | undefined | "unreadable" => {
  // Nearly all: as this room writes it, on a day that every month has, which Date.parse does not look at.
  const usual = common.test(text) ? Date.parse(text) : Number.NaN
  if (usual > endOfYearOne) return DateTime.makeUnsafe(usual)
  const match = instant.exec(text)
  if (match === null) return "unreadable"
  const [, year, month, day, hour, minute, second, fraction = "", sign, offsetHour, offsetMinute] = match
  const millis = new Date(0)
  millis.setUTCFullYear(Number(year), Number(month) - 1, Number(day))
  if (millis.getUTCDate() !== Number(day)) return "unreadable"
  millis.setUTCHours(Number(hour), Number(minute), Number(second), Number(fraction.padEnd(3, "0").slice(0, 3)))
  const offset = sign === undefined ? 0 : (Number(offsetHour) * 60 + Number(offsetMinute)) * (sign === "-" ? -1 : 1)
  const utc = DateTime.makeUnsafe(millis.getTime() - offset * 60_000)
  return DateTime.toEpochMillis(utc) <= endOfYearOne ? undefined : utc
}

const endOfYearOne = new Date("0001-12-31T23:59:59.999Z").getTime()

/** What this room writes unless a member has to be escaped, which is nearly all that it reads: read at less cost. */
const ours =
  /^\{"player_id":"[^"\\\p{Cc}]*","token":"([^"\\\p{Cc}]*)","gateway":"([^"\\\p{Cc}]*)","login_time":"([^"\\\p{Cc}]*)"\}$/u

const unreadable = (problem: string) => Result.fail(new Unreadable({ problem }))

const parse = (text: string): Result.Result<unknown, unknown> => Result.try(() => JSON.parse(text) as unknown)

/** Reads what a Go service or this room wrote. Says what is wrong without showing it. */
export const decode = (text: string): Result.Result<Value, Unreadable> => {
  const plain = ours.exec(text)
  if (plain !== null) return valueFrom(plain[1]!, plain[2]!, plain[3])
  const parsed = parse(text)
  if (Result.isFailure(parsed)) return unreadable("it is not JSON")
  const object = parsed.success ?? {}
  if (typeof object !== "object" || Array.isArray(object)) return unreadable("it is not a JSON object")
  const members: Members = isPlain(object) ? object : folded(text)
  const { gateway = "", login_time, player_id = "", token = "" } = members
  if (typeof player_id !== "string") return unreadable("player_id is not a text")
  if (typeof token !== "string") return unreadable("token is not a text")
  if (typeof gateway !== "string") return unreadable("gateway is not a text")
  if (login_time !== undefined && typeof login_time !== "string") return unreadable("login_time is not a text")
  return valueFrom(token, gateway, login_time)
}

const valueFrom = (token: string, gateway: string, time: string | undefined): Result.Result<Value, Unreadable> => {
  const loginTime = time === undefined ? undefined : timeOf(time)
  return loginTime === "unreadable"
    ? unreadable("login_time is not an instant of RFC 3339")
    : Result.succeed({ token: Redacted.make(token), gateway, loginTime })
}

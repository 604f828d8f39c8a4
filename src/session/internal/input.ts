// What callers give, checked before anything is sent. Both backends refuse the same.
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Key from "../../redis/Key.ts"
import type { RedisFailure } from "../../redis/RedisError.ts"
import type { Drain, Login, SessionOptions } from "../Session.ts"
import { InvalidInput, InvalidPlayerId, SessionError } from "../SessionError.ts"

/** A player whose id can be stored, with the plan's key of the session, and ours in its slot. */
export interface Player {
  readonly id: string
  readonly value: Key.Key<"session">
  readonly record: Key.Key<"session">
}

/** The plan's key of who is online, which is in another slot. */
export const onlineKey = ({ id }: Player): Key.Key<"online"> => Result.getOrThrow(Key.make("online", id))

const problemOf = ({ reason }: RedisFailure): string => ("problem" in reason ? reason.problem : reason.message)

const refuse = (field: string, problem: string): Result.Result<never, SessionError> =>
  Result.fail(new SessionError({ reason: new InvalidInput({ field, problem }) }))

/** The player's keys; fails with InvalidPlayerId. */
export const playerOf = (id: string): Result.Result<Player, SessionError> => {
  const value = Key.make("session", id)
  return Result.isSuccess(value)
    ? Result.succeed({ id, value: value.success, record: Key.beside(value.success, "xd:session") })
    : Result.fail(new SessionError({ reason: new InvalidPlayerId({ problem: problemOf(value.failure) }) }))
}

/** Nearly every name; what else is one, Key decides. */
const plain = /^[\w-]{1,64}$/

/** A name that becomes a part of a key or of a member. */
export const checkName = (field: string, name: string): Result.Result<string, SessionError> => {
  if (plain.test(name)) return Result.succeed(name)
  const made = Key.make("xd:name", name)
  return Result.isSuccess(made) ? Result.succeed(name) : refuse(field, problemOf(made.failure))
}

/** A device: none is an empty text. */
export const checkDevice = (device: string): Result.Result<string, SessionError> =>
  device === "" ? Result.succeed(device) : checkName("device", device)

const longestToken = 8192

const checkToken = (token: Redacted.Redacted): Result.Result<void, SessionError> => {
  const text = Redacted.value(token)
  if (text === "") return refuse("token", "it is empty")
  if (text.length > longestToken || Buffer.byteLength(text) > longestToken) {
    return refuse("token", `it has more than ${longestToken} bytes`)
  }
  return text.isWellFormed() ? Result.succeed(undefined) : refuse("token", "it is not well-formed text")
}

const longest = Duration.toMillis("366 days")

/** A time to live in whole milliseconds. */
const millisOf = (ttl: Duration.Input): Result.Result<number, SessionError> => {
  const millis = Math.round(Duration.toMillis(ttl))
  return millis >= 1 && millis <= longest ? Result.succeed(millis) : refuse("ttl", "it is not 1 ms to 366 days")
}

/** A login that can be stored. */
export const checkLogin = (
  { device = "", gateway, playerId, token, ttl }: Login,
  options: SessionOptions
): Result.Result<{ readonly player: Player; readonly device: string; readonly ttl: number }, SessionError> =>
  // Not by a generator: this is on the way of every login.
  Result.flatMap(playerOf(playerId), (player) =>
    Result.flatMap(checkName("gateway", gateway), () =>
      Result.flatMap(checkDevice(device), () =>
        Result.flatMap(checkToken(token), () =>
          Result.map(millisOf(ttl ?? options.ttl), (millis) => ({ player, device, ttl: millis }))
        )
      )
    )
  )

/** How a gateway is drained. */
export const checkDrain = (gateway: string, { perSecond, to }: Drain): Result.Result<void, SessionError> =>
  Result.gen(function* () {
    if (to === gateway) yield* refuse("to", "it is the gateway that is drained")
    if (!(Number.isInteger(perSecond) && perSecond >= 1 && perSecond <= 10_000)) {
      yield* refuse("perSecond", "it is not a whole number from 1 to 10000")
    }
    if (to !== undefined) yield* checkName("to", to)
  })

/** An instant in milliseconds, not before 1970. */
export const instantOf = (at: DateTime.Utc): number => Math.max(0, DateTime.toEpochMillis(at))

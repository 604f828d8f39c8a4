import * as Result from "effect/Result"
import type * as Key from "../Key.ts"
import * as Op from "./Operation.ts"

/** An end of a list. */
export type End = "left" | "right"

const word = (end: End): "LEFT" | "RIGHT" => (end === "left" ? "LEFT" : "RIGHT")

/** The server counts in seconds. */
const seconds = (millis: number): number => millis / 1000

/** Puts values before the first, one after the other; gives the length. */
export const lpush = <Slot extends string>(
  key: Key.Key<Slot>,
  ...values: ReadonlyArray<string>
): Op.Command<number, Slot> => Op.make("LPUSH", [key, ...values], Op.integer)

/** Puts values after the last; gives the length. */
export const rpush = <Slot extends string>(
  key: Key.Key<Slot>,
  ...values: ReadonlyArray<string>
): Op.Command<number, Slot> => Op.make("RPUSH", [key, ...values], Op.integer)

/** Removes and gives the first value, or undefined. */
export const lpop = <Slot extends string>(key: Key.Key<Slot>): Op.Command<string | undefined, Slot> =>
  Op.make("LPOP", [key], Op.optionalText)

/** Removes and gives the last value, or undefined. */
export const rpop = <Slot extends string>(key: Key.Key<Slot>): Op.Command<string | undefined, Slot> =>
  Op.make("RPOP", [key], Op.optionalText)

/** How many values there are. */
export const llen = <Slot extends string>(key: Key.Key<Slot>): Op.Command<number, Slot> =>
  Op.make("LLEN", [key], Op.integer, { idempotent: true })

/** The values from `start` to `stop`, both included; 0 is the first, -1 the last. */
export const lrange = <Slot extends string>(
  key: Key.Key<Slot>,
  start: number,
  stop: number
): Op.Command<ReadonlyArray<string>, Slot> =>
  Op.make("LRANGE", [key, start, stop], Op.listOf(Op.text), { idempotent: true })

/** The value at a place, or undefined. */
export const lindex = <Slot extends string>(key: Key.Key<Slot>, index: number): Op.Command<string | undefined, Slot> =>
  Op.make("LINDEX", [key, index], Op.optionalText, { idempotent: true })

/** Replaces the value at a place; fails with `Rejected` where there is none. */
export const lset = <Slot extends string>(key: Key.Key<Slot>, index: number, value: string): Op.Command<void, Slot> =>
  Op.make("LSET", [key, index, value], Op.ok)

/** Keeps only the values from `start` to `stop`, both included. */
export const ltrim = <Slot extends string>(key: Key.Key<Slot>, start: number, stop: number): Op.Command<void, Slot> =>
  Op.make("LTRIM", [key, start, stop], Op.ok)

/** Removes a value, `count` times from the left, from the right when negative, everywhere when 0; gives how often. */
export const lrem = <Slot extends string>(key: Key.Key<Slot>, count: number, value: string): Op.Command<number, Slot> =>
  Op.make("LREM", [key, count, value], Op.integer)

/** Moves the value at an end of a list to an end of another; gives it, or undefined. */
export const lmove = <Slot extends string>(
  from: Key.Key<Slot>,
  to: Key.Key<Slot>,
  take: End,
  put: End
): Op.Command<string | undefined, Slot> => Op.make("LMOVE", [from, to, word(take), word(put)], Op.optionalText)

/** As {@link lmove}, waiting for a value up to so many milliseconds. On a reserved connection. */
export const blmove = <Slot extends string>(
  from: Key.Key<Slot>,
  to: Key.Key<Slot>,
  take: End,
  put: End,
  blockMillis: number
): Op.Command<string | undefined, Slot> =>
  Op.make("BLMOVE", [from, to, word(take), word(put), seconds(blockMillis)], Op.optionalText, { blockMillis })

/**
 * Removes and gives a value from an end of a list, or undefined after so many milliseconds without one. On a reserved
 * connection.
 */
export const blpop = <Slot extends string>(
  key: Key.Key<Slot>,
  end: End,
  blockMillis: number
): Op.Command<string | undefined, Slot> =>
  Op.make(
    end === "left" ? "BLPOP" : "BRPOP",
    [key, seconds(blockMillis)],
    (reply) => Result.map(Op.optional(Op.listOf(Op.text))(reply), (found) => found?.[1]),
    { blockMillis }
  )

import * as Result from "effect/Result"
import type * as Key from "../Key.ts"
import * as Op from "./Operation.ts"

/** When a key that is set ends: after a time, or as before. */
export type Expiry = { readonly millis: number } | "keep"

const expiry = (after: Expiry | undefined): ReadonlyArray<string | number> =>
  after === undefined ? [] : after === "keep" ? ["KEEPTTL"] : ["PX", after.millis]

/** The value of a key, or undefined. */
export const get = <Slot extends string>(key: Key.Key<Slot>): Op.Command<string | undefined, Slot> =>
  Op.make("GET", [key], Op.optionalText, { idempotent: true })

/** The values of keys, each undefined where there is none or it is of another type. */
export const mget = <Slot extends string>(
  ...keys: ReadonlyArray<Key.Key<Slot>>
): Op.Command<ReadonlyArray<string | undefined>, Slot> =>
  Op.make("MGET", keys, Op.listOf(Op.optionalText), { idempotent: true })

/** The value of a key as bytes, or undefined. */
export const getBytes = <Slot extends string>(key: Key.Key<Slot>): Op.Command<Uint8Array | undefined, Slot> =>
  Op.make("GET", [key], Op.optional(Op.bytes), { idempotent: true, binary: true })

/** Sets a key; without `after` it is kept for ever. */
export const set = <Slot extends string>(
  key: Key.Key<Slot>,
  value: string | Uint8Array,
  after?: Expiry
): Op.Command<void, Slot> => Op.make("SET", [key, value, ...expiry(after)], Op.ok)

const okOrNot: Op.Decode<boolean> = (reply) =>
  reply === null ? Result.succeed(false) : Result.map(Op.ok(reply), () => true)

/** Sets a key only if it is absent, or only if it is present; gives whether it did. */
export const setIf = <Slot extends string>(
  key: Key.Key<Slot>,
  condition: "absent" | "present",
  value: string | Uint8Array,
  after?: Expiry
): Op.Command<boolean, Slot> =>
  Op.make("SET", [key, value, condition === "absent" ? "NX" : "XX", ...expiry(after)], okOrNot)

/** Sets a key and gives what it was, or undefined. */
export const getSet = <Slot extends string>(
  key: Key.Key<Slot>,
  value: string | Uint8Array,
  after?: Expiry
): Op.Command<string | undefined, Slot> => Op.make("SET", [key, value, "GET", ...expiry(after)], Op.optionalText)

/** Deletes a key and gives what it was, or undefined. */
export const getDel = <Slot extends string>(key: Key.Key<Slot>): Op.Command<string | undefined, Slot> =>
  Op.make("GETDEL", [key], Op.optionalText)

/** The value of a key, which from now on lives so many milliseconds. */
export const getEx = <Slot extends string>(key: Key.Key<Slot>, millis: number): Op.Command<string | undefined, Slot> =>
  Op.make("GETEX", [key, "PX", millis], Op.optionalText)

/** Adds to a whole number, absent as 0; gives the sum. */
export const incrBy = <Slot extends string>(key: Key.Key<Slot>, amount: number): Op.Command<number, Slot> =>
  Op.make("INCRBY", [key, amount], Op.integer)

/** Appends to a text, absent as empty; gives its length in bytes. */
export const append = <Slot extends string>(key: Key.Key<Slot>, value: string): Op.Command<number, Slot> =>
  Op.make("APPEND", [key, value], Op.integer)

/** The length of a text in bytes, 0 where there is none. */
export const strlen = <Slot extends string>(key: Key.Key<Slot>): Op.Command<number, Slot> =>
  Op.make("STRLEN", [key], Op.integer, { idempotent: true })

import * as Result from "effect/Result"
import type * as Key from "../Key.ts"
import * as Op from "./Operation.ts"

type Value = string | number | Uint8Array

/** The value of a field, or undefined. */
export const hget = <Slot extends string>(key: Key.Key<Slot>, field: string): Op.Command<string | undefined, Slot> =>
  Op.make("HGET", [key, field], Op.optionalText, { idempotent: true })

/** The value of a field as bytes, or undefined. */
export const hgetBytes = <Slot extends string>(
  key: Key.Key<Slot>,
  field: string
): Op.Command<Uint8Array | undefined, Slot> =>
  Op.make("HGET", [key, field], Op.optional(Op.bytes), { idempotent: true, binary: true })

/** The values of fields, each undefined where there is none. */
export const hmget = <Slot extends string>(
  key: Key.Key<Slot>,
  ...fields: ReadonlyArray<string>
): Op.Command<ReadonlyArray<string | undefined>, Slot> =>
  Op.make("HMGET", [key, ...fields], Op.listOf(Op.optionalText), { idempotent: true })

/** All fields with their values; empty where there is no hash. */
export const hgetAll = <Slot extends string>(key: Key.Key<Slot>): Op.Command<ReadonlyMap<string, string>, Slot> =>
  Op.make("HGETALL", [key], (reply) => Result.map(Op.pairs(Op.text, Op.text)(reply), (all) => new Map(all)), {
    idempotent: true
  })

/** The names of all fields. */
export const hkeys = <Slot extends string>(key: Key.Key<Slot>): Op.Command<ReadonlyArray<string>, Slot> =>
  Op.make("HKEYS", [key], Op.listOf(Op.text), { idempotent: true })

/** How many fields there are. */
export const hlen = <Slot extends string>(key: Key.Key<Slot>): Op.Command<number, Slot> =>
  Op.make("HLEN", [key], Op.integer, { idempotent: true })

/** Whether there is a field. */
export const hexists = <Slot extends string>(key: Key.Key<Slot>, field: string): Op.Command<boolean, Slot> =>
  Op.make("HEXISTS", [key, field], Op.flag, { idempotent: true })

/** Sets fields, at least one; gives how many are new. */
export const hset = <Slot extends string>(
  key: Key.Key<Slot>,
  fields: Iterable<readonly [field: string, value: Value]> | Readonly<Record<string, Value>>
): Op.Command<number, Slot> =>
  Op.make(
    "HSET",
    [
      key,
      ...(Symbol.iterator in fields
        ? [...(fields as Iterable<readonly [string, Value]>)]
        : Object.entries(fields)
      ).flat()
    ],
    Op.integer
  )

/** Sets a field only if it is absent; gives whether it did. */
export const hsetNx = <Slot extends string>(
  key: Key.Key<Slot>,
  field: string,
  value: Value
): Op.Command<boolean, Slot> => Op.make("HSETNX", [key, field, value], Op.flag)

/** Deletes fields; gives how many there were. */
export const hdel = <Slot extends string>(
  key: Key.Key<Slot>,
  ...fields: ReadonlyArray<string>
): Op.Command<number, Slot> => Op.make("HDEL", [key, ...fields], Op.integer)

/** Adds to a whole number in a field, absent as 0; gives the sum. */
export const hincrBy = <Slot extends string>(
  key: Key.Key<Slot>,
  field: string,
  amount: number
): Op.Command<number, Slot> => Op.make("HINCRBY", [key, field, amount], Op.integer)

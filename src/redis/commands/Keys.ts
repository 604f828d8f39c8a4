import * as Result from "effect/Result"
import type * as Key from "../Key.ts"
import * as Op from "./Operation.ts"

/** Deletes keys; gives how many there were. */
export const del = <Slot extends string>(...keys: ReadonlyArray<Key.Key<Slot>>): Op.Command<number, Slot> =>
  Op.make("DEL", keys, Op.integer)

/** Deletes keys, their memory later; gives how many there were. */
export const unlink = <Slot extends string>(...keys: ReadonlyArray<Key.Key<Slot>>): Op.Command<number, Slot> =>
  Op.make("UNLINK", keys, Op.integer)

/** Whether a key exists. */
export const exists = <Slot extends string>(key: Key.Key<Slot>): Op.Command<boolean, Slot> =>
  Op.make("EXISTS", [key], Op.flag, { idempotent: true })

/** What a key holds: `none`, `string`, `hash`, `list`, `set`, `zset`, `stream` or a module's type. */
export const type = <Slot extends string>(key: Key.Key<Slot>): Op.Command<string, Slot> =>
  Op.make("TYPE", [key], Op.text, { idempotent: true })

/** Sets how long a key lives from now, in milliseconds; gives whether it exists. */
export const pexpire = <Slot extends string>(key: Key.Key<Slot>, millis: number): Op.Command<boolean, Slot> =>
  Op.make("PEXPIRE", [key, millis], Op.flag)

/** Sets until when a key lives, in milliseconds of the server's clock since 1970; gives whether it exists. */
export const pexpireAt = <Slot extends string>(key: Key.Key<Slot>, instant: number): Op.Command<boolean, Slot> =>
  Op.make("PEXPIREAT", [key, instant], Op.flag)

/** Lets a key live for ever; gives whether it would have ended. */
export const persist = <Slot extends string>(key: Key.Key<Slot>): Op.Command<boolean, Slot> =>
  Op.make("PERSIST", [key], Op.flag)

/** How long a key still lives, in milliseconds; undefined where there is none, `forever` where it does not end. */
export const pttl = <Slot extends string>(key: Key.Key<Slot>): Op.Command<number | "forever" | undefined, Slot> =>
  Op.make("PTTL", [key], (reply) => Result.map(Op.integer(reply), livesFor), { idempotent: true })

const livesFor = (millis: number): number | "forever" | undefined =>
  millis === -2 ? undefined : millis === -1 ? "forever" : millis

/** Renames a key, over one of that name; fails with `Rejected` where there is none. */
export const rename = <Slot extends string>(from: Key.Key<Slot>, to: Key.Key<Slot>): Op.Command<void, Slot> =>
  Op.make("RENAME", [from, to], Op.ok)

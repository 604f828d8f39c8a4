import type * as Key from "../Key.ts"
import * as Op from "./Operation.ts"

/** Adds members; gives how many are new. */
export const sadd = <Slot extends string>(
  key: Key.Key<Slot>,
  ...members: ReadonlyArray<string>
): Op.Command<number, Slot> => Op.make("SADD", [key, ...members], Op.integer)

/** Removes members; gives how many there were. */
export const srem = <Slot extends string>(
  key: Key.Key<Slot>,
  ...members: ReadonlyArray<string>
): Op.Command<number, Slot> => Op.make("SREM", [key, ...members], Op.integer)

/** All members, in no order. */
export const smembers = <Slot extends string>(key: Key.Key<Slot>): Op.Command<ReadonlyArray<string>, Slot> =>
  Op.make("SMEMBERS", [key], Op.listOf(Op.text), { idempotent: true })

/** Whether it is a member. */
export const sismember = <Slot extends string>(key: Key.Key<Slot>, member: string): Op.Command<boolean, Slot> =>
  Op.make("SISMEMBER", [key, member], Op.flag, { idempotent: true })

/** Whether each is a member. */
export const smismember = <Slot extends string>(
  key: Key.Key<Slot>,
  ...members: ReadonlyArray<string>
): Op.Command<ReadonlyArray<boolean>, Slot> =>
  Op.make("SMISMEMBER", [key, ...members], Op.listOf(Op.flag), { idempotent: true })

/** How many members there are. */
export const scard = <Slot extends string>(key: Key.Key<Slot>): Op.Command<number, Slot> =>
  Op.make("SCARD", [key], Op.integer, { idempotent: true })

/** Removes and gives up to `count` random members. */
export const spop = <Slot extends string>(key: Key.Key<Slot>, count: number): Op.Command<ReadonlyArray<string>, Slot> =>
  Op.make("SPOP", [key, count], Op.listOf(Op.text))

/** Up to `count` different random members. */
export const srandMember = <Slot extends string>(
  key: Key.Key<Slot>,
  count: number
): Op.Command<ReadonlyArray<string>, Slot> =>
  Op.make("SRANDMEMBER", [key, count], Op.listOf(Op.text), { idempotent: true })

/** Moves a member to another set; gives whether it was in the first. */
export const smove = <Slot extends string>(
  from: Key.Key<Slot>,
  to: Key.Key<Slot>,
  member: string
): Op.Command<boolean, Slot> => Op.make("SMOVE", [from, to, member], Op.flag)

/** The members of all of the sets. */
export const sinter = <Slot extends string>(
  ...keys: ReadonlyArray<Key.Key<Slot>>
): Op.Command<ReadonlyArray<string>, Slot> => Op.make("SINTER", keys, Op.listOf(Op.text), { idempotent: true })

/** The members of any of the sets. */
export const sunion = <Slot extends string>(
  ...keys: ReadonlyArray<Key.Key<Slot>>
): Op.Command<ReadonlyArray<string>, Slot> => Op.make("SUNION", keys, Op.listOf(Op.text), { idempotent: true })

/** The members of the first set that are in none of the others. */
export const sdiff = <Slot extends string>(
  ...keys: ReadonlyArray<Key.Key<Slot>>
): Op.Command<ReadonlyArray<string>, Slot> => Op.make("SDIFF", keys, Op.listOf(Op.text), { idempotent: true })

import * as Result from "effect/Result"
import type * as Key from "../Key.ts"
import * as Op from "./Operation.ts"

/** An entry of a stream. Its fields are empty where it was deleted while a consumer still had it. */
export interface Entry {
  /** Milliseconds and a number within them, such as `1700000000000-0`; rises along the stream. */
  readonly id: string
  readonly fields: ReadonlyMap<string, string>
}

const fields: Op.Decode<ReadonlyMap<string, string>> = (reply) =>
  reply === null ? Result.succeed(new Map()) : Result.map(Op.pairs(Op.text, Op.text)(reply), (all) => new Map(all))

const entry: Op.Decode<Entry> = (reply) =>
  Array.isArray(reply) && reply.length === 2
    ? Result.map(Result.all([Op.text(reply[0]), fields(reply[1])]), ([id, of]) => ({ id, fields: of }))
    : Op.unexpected("an entry of a stream")

const entries = Op.listOf(entry)

/** The entries of the one stream that was read; none where it gave none. */
const ofOneStream: Op.Decode<ReadonlyArray<Entry>> = (reply) =>
  reply === null
    ? Result.succeed([])
    : Result.map(Op.pairs(Op.text, entries)(reply), ([only]) => (only === undefined ? [] : only[1]))

/** What a stream is cut down to: a number of entries (somewhat more unless `exactly`), or those from an id on. */
export type Trim =
  | { readonly maxLength: number; readonly exactly?: boolean }
  | { readonly minId: string; readonly exactly?: boolean }

/** How a trim is said on the wire. */
export const trimArgs = (trim: Trim): ReadonlyArray<string | number> => {
  const how = trim.exactly === true ? "=" : "~"
  return "maxLength" in trim ? ["MAXLEN", how, trim.maxLength] : ["MINID", how, trim.minId]
}

/** Appends an entry of at least one field; gives its id. */
export const xadd = <Slot extends string>(
  key: Key.Key<Slot>,
  of: Readonly<Record<string, string | number>>,
  options?: { readonly id?: string; readonly trim?: Trim }
): Op.Command<string, Slot> =>
  Op.make(
    "XADD",
    [
      key,
      ...(options?.trim === undefined ? [] : trimArgs(options.trim)),
      options?.id ?? "*",
      ...Object.entries(of).flat()
    ],
    Op.text
  )

/** How many entries there are. */
export const xlen = <Slot extends string>(key: Key.Key<Slot>): Op.Command<number, Slot> =>
  Op.make("XLEN", [key], Op.integer, { idempotent: true })

/** Deletes entries; gives how many there were. */
export const xdel = <Slot extends string>(
  key: Key.Key<Slot>,
  ...ids: ReadonlyArray<string>
): Op.Command<number, Slot> => Op.make("XDEL", [key, ...ids], Op.integer)

/** Cuts a stream down; gives how many entries that took. */
export const xtrim = <Slot extends string>(key: Key.Key<Slot>, trim: Trim): Op.Command<number, Slot> =>
  Op.make("XTRIM", [key, ...trimArgs(trim)], Op.integer)

const many = (count: number | undefined): ReadonlyArray<string | number> =>
  count === undefined ? [] : ["COUNT", count]

/** The entries from one id to another, both included: `-` is the first, `+` the last, `(id` what lies beyond. */
export const xrange = <Slot extends string>(
  key: Key.Key<Slot>,
  from: string,
  to: string,
  count?: number
): Op.Command<ReadonlyArray<Entry>, Slot> =>
  Op.make("XRANGE", [key, from, to, ...many(count)], entries, { idempotent: true })

/** As {@link xrange}, the last first. */
export const xrevRange = <Slot extends string>(
  key: Key.Key<Slot>,
  from: string,
  to: string,
  count?: number
): Op.Command<ReadonlyArray<Entry>, Slot> =>
  Op.make("XREVRANGE", [key, from, to, ...many(count)], entries, { idempotent: true })

/** How reading waits and how much it gives: milliseconds, more than 0 and only on a reserved connection; entries. */
export interface Reading {
  readonly blockMillis?: number
  readonly count?: number
}

const readingArgs = ({ blockMillis, count }: Reading): ReadonlyArray<string | number> => [
  ...many(count),
  ...(blockMillis === undefined ? [] : ["BLOCK", blockMillis])
]

const waiting = ({ blockMillis }: Reading) => (blockMillis === undefined ? {} : { blockMillis })

/** The entries after an id; `$` is the last that there is now. */
export const xread = <Slot extends string>(
  key: Key.Key<Slot>,
  after: string,
  options: Reading = {}
): Op.Command<ReadonlyArray<Entry>, Slot> =>
  Op.make("XREAD", [...readingArgs(options), "STREAMS", key, after], ofOneStream, {
    idempotent: true,
    ...waiting(options)
  })

/** Makes a group of consumers, and the stream; fails with `Rejected` of code `BUSYGROUP` where there is one. */
export const xgroupCreate = <Slot extends string>(
  key: Key.Key<Slot>,
  group: string,
  after: string
): Op.Command<void, Slot> => Op.make("XGROUP", ["CREATE", key, group, after, "MKSTREAM"], Op.ok)

/** Removes a consumer, and forgets what it had not acknowledged; gives how much that was. */
export const xgroupDelConsumer = <Slot extends string>(
  key: Key.Key<Slot>,
  group: string,
  consumer: string
): Op.Command<number, Slot> => Op.make("XGROUP", ["DELCONSUMER", key, group, consumer], Op.integer)

/** Gives a consumer entries that no other has had (`>`), or those after an id that it has not acknowledged. */
export const xreadGroup = <Slot extends string>(
  key: Key.Key<Slot>,
  group: string,
  consumer: string,
  after: string,
  options: Reading = {}
): Op.Command<ReadonlyArray<Entry>, Slot> =>
  Op.make(
    "XREADGROUP",
    ["GROUP", group, consumer, ...readingArgs(options), "STREAMS", key, after],
    ofOneStream,
    waiting(options)
  )

/** Acknowledges entries; gives how many the group was waiting for. */
export const xack = <Slot extends string>(
  key: Key.Key<Slot>,
  group: string,
  ...ids: ReadonlyArray<string>
): Op.Command<number, Slot> => Op.make("XACK", [key, group, ...ids], Op.integer)

/** Entries that were claimed, those that no longer exist and are forgotten, and where to go on; `0-0` is the end. */
export interface Claimed {
  readonly next: string
  readonly entries: ReadonlyArray<Entry>
  readonly deleted: ReadonlyArray<string>
}

const claimed: Op.Decode<Claimed> = (reply) =>
  Array.isArray(reply) && reply.length >= 2
    ? Result.map(
        Result.all([Op.text(reply[0]), entries(reply[1]), Op.listOf(Op.text)(reply[2] ?? [])]),
        ([next, of, deleted]) => ({ next, entries: of, deleted })
      )
    : Op.unexpected("claimed entries")

/** Gives a consumer what others have had for so many milliseconds without acknowledging it, from an id on. */
export const xautoclaim = <Slot extends string>(
  key: Key.Key<Slot>,
  group: string,
  consumer: string,
  options: { readonly minIdleMillis: number; readonly from: string; readonly count: number }
): Op.Command<Claimed, Slot> =>
  Op.make("XAUTOCLAIM", [key, group, consumer, options.minIdleMillis, options.from, "COUNT", options.count], claimed)

/** An entry that a consumer has not acknowledged. */
export interface Pending {
  readonly id: string
  readonly consumer: string
  readonly idleMillis: number
  /** How often it was given to a consumer. */
  readonly deliveries: number
}

const pending: Op.Decode<Pending> = (reply) =>
  Array.isArray(reply) && reply.length === 4
    ? Result.map(
        Result.all([Op.text(reply[0]), Op.text(reply[1]), Op.integer(reply[2]), Op.integer(reply[3])]),
        ([id, consumer, idleMillis, deliveries]) => ({ id, consumer, idleMillis, deliveries })
      )
    : Op.unexpected("a pending entry")

/** What a group, or one of its consumers, has not acknowledged, from one id to another, as for {@link xrange}. */
export const xpending = <Slot extends string>(
  key: Key.Key<Slot>,
  group: string,
  from: string,
  to: string,
  count: number,
  consumer?: string
): Op.Command<ReadonlyArray<Pending>, Slot> =>
  Op.make(
    "XPENDING",
    [key, group, from, to, count, ...(consumer === undefined ? [] : [consumer])],
    Op.listOf(pending),
    { idempotent: true }
  )

/** A group of consumers. */
export interface Group {
  readonly name: string
  readonly consumers: number
  /** How many entries consumers have and have not acknowledged. */
  readonly pending: number
  readonly lastDeliveredId: string
  /** How many entries no consumer has had; undefined where the server cannot tell, after a deletion. */
  readonly lag: number | undefined
}

const group: Op.Decode<Group> = (reply) => {
  if (!Array.isArray(reply)) return Op.unexpected("a group")
  const list = reply as ReadonlyArray<Op.Reply>
  const field = (name: string): Op.Reply => list[list.indexOf(name) + 1] ?? null
  return Result.map(
    Result.all([
      Op.text(field("name")),
      Op.integer(field("consumers")),
      Op.integer(field("pending")),
      Op.text(field("last-delivered-id")),
      Op.optional(Op.integer)(field("lag"))
    ]),
    ([name, consumers, of, lastDeliveredId, lag]) => ({ name, consumers, pending: of, lastDeliveredId, lag })
  )
}

/** The groups of a stream; fails with `Rejected` where there is no stream. */
export const xinfoGroups = <Slot extends string>(key: Key.Key<Slot>): Op.Command<ReadonlyArray<Group>, Slot> =>
  Op.make("XINFO", ["GROUPS", key], Op.listOf(group), { idempotent: true })

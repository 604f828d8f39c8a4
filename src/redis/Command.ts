import * as Result from "effect/Result"
import * as Channel from "./Channel.ts"
import type * as Key from "./Key.ts"
import { type RedisFailure, UnexpectedReply } from "./RedisError.ts"

/** What stands after a command's name. A key and a channel get the client's prefix; all else is sent as it is. */
export type Argument = string | number | Uint8Array | Key.Any | Channel.Any

/** What a server replies, as the driver reads it: integers beyond 2^53 and doubles are text. */
export type Reply = string | number | null | Uint8Array | ReadonlyArray<Reply>

/** Turns a reply into a value, or says what is wrong with it. */
export type Decode<A> = (reply: Reply) => Result.Result<A, UnexpectedReply>

const TypeId = "~xdooria/redis/Command"

/** A command of whichever slot. */
export interface Any<out A = unknown> {
  readonly [TypeId]: unknown
  /** In capital letters, such as `GET`, or a script's name; for errors and spans too. */
  readonly name: string
  readonly args: ReadonlyArray<Argument>
  readonly decode: Decode<A>
  /** Done twice it is done once: the room repeats it when its reply is lost. Reads are. */
  readonly isIdempotent: boolean
  /** What runs when `name` is that of a script. The first `keys` arguments are its keys. */
  readonly script?: { readonly lua: string; readonly sha: string; readonly keys: number }
}

/**
 * One operation as a value, for `run`, `batch` and `transaction` of the service `Redis`.
 *
 * - `A`: what it replies
 * - `Slot`: that of its keys, see Key; a transaction takes commands of one slot
 */
export interface Command<out A, in out Slot extends string = never> extends Any<A> {
  readonly [TypeId]: (slot: Slot) => Slot
}

/** What a list of commands replies, one by one. */
export type Replies<C extends ReadonlyArray<Any>> = { readonly [K in keyof C]: C[K] extends Any<infer A> ? A : never }

/**
 * A command that this module lacks.
 *
 * - `name`: in capital letters
 * - `args`: keys must be keys, and so get the prefix
 * - `decode`: see {@link text}, {@link integer} and their neighbours
 * - `idempotent`: whether it is a read, or done twice is done once; false unless given
 */
export const make = <A, Slot extends string = never>(
  name: string,
  args: ReadonlyArray<Exclude<Argument, Key.Any> | Key.Key<Slot>>,
  decode: Decode<A>,
  options?: { readonly idempotent?: boolean; readonly script?: NonNullable<Any["script"]> }
): Command<A, Slot> => ({
  [TypeId]: (slot) => slot,
  name,
  args,
  decode,
  isIdempotent: options?.idempotent === true,
  ...(options?.script === undefined ? {} : { script: options.script })
})

/**
 * The command, declared idempotent: repeated by the room when its reply is lost, within the caller's time. Right for a
 * write whose repetition changes nothing, even after another client's write in between.
 */
export const idempotent = <A, Slot extends string>(command: Command<A, Slot>): Command<A, Slot> => ({
  ...command,
  isIdempotent: true
})

/** The command, with its reply turned into something else. */
export const map = <A, B, Slot extends string>(command: Command<A, Slot>, f: (value: A) => B): Command<B, Slot> => ({
  ...command,
  decode: (reply) => Result.map(command.decode(reply), f)
})

const unexpected = (expected: string) => Result.fail(new UnexpectedReply({ problem: `not ${expected}` }))

/** Text; nothing stands for an absent value. */
export const text: Decode<string> = (reply) => (typeof reply === "string" ? Result.succeed(reply) : unexpected("text"))

/** Text, or undefined where the value is absent. */
export const optionalText: Decode<string | undefined> = (reply) =>
  reply === null ? Result.succeed(undefined) : text(reply)

/** An integer within plus or minus 2^53-1. */
export const integer: Decode<number> = (reply) =>
  typeof reply === "number" && Number.isSafeInteger(reply) ? Result.succeed(reply) : unexpected("a safe integer")

/** A whole number of 64 bits. */
export const bigint: Decode<bigint> = (reply) =>
  typeof reply === "number" || (typeof reply === "string" && /^-?\d+$/.test(reply))
    ? Result.succeed(BigInt(reply))
    : unexpected("an integer")

/** 1 or 0. */
export const flag: Decode<boolean> = (reply) =>
  reply === 1 || reply === 0 ? Result.succeed(reply === 1) : unexpected("1 or 0")

/** `OK`. */
export const ok: Decode<void> = (reply) => (reply === "OK" ? Result.succeed(undefined) : unexpected("OK"))

/** A list, each of its elements read by `element`. */
export const listOf =
  <A>(element: Decode<A>): Decode<ReadonlyArray<A>> =>
  (reply) =>
    Array.isArray(reply) ? Result.all(reply.map((one: Reply) => element(one))) : unexpected("a list")

/** When a key that is set ends: after a time, or as before. */
export type Expiry = { readonly millis: number } | "keep"

const expiry = (after: Expiry | undefined): ReadonlyArray<string | number> =>
  after === undefined ? [] : after === "keep" ? ["KEEPTTL"] : ["PX", after.millis]

/** The value of a key, or undefined. */
export const get = <Slot extends string>(key: Key.Key<Slot>): Command<string | undefined, Slot> =>
  make("GET", [key], optionalText, { idempotent: true })

/** Sets a key; without `expiry` it is kept for ever. */
export const set = <Slot extends string>(
  key: Key.Key<Slot>,
  value: string | Uint8Array,
  after?: Expiry
): Command<void, Slot> => make("SET", [key, value, ...expiry(after)], ok)

/** Deletes keys; gives how many there were. */
export const del = <Slot extends string>(...keys: ReadonlyArray<Key.Key<Slot>>): Command<number, Slot> =>
  make("DEL", keys, integer)

/** Adds to a whole number, absent as 0; gives the sum. */
export const incrBy = <Slot extends string>(key: Key.Key<Slot>, amount: number): Command<number, Slot> =>
  make("INCRBY", [key, amount], integer)

/** Whether a key exists. */
export const exists = <Slot extends string>(key: Key.Key<Slot>): Command<boolean, Slot> =>
  make("EXISTS", [key], flag, { idempotent: true })

/** Sets how long a key lives from now, in milliseconds; gives whether it exists. */
export const pexpire = <Slot extends string>(key: Key.Key<Slot>, millis: number): Command<boolean, Slot> =>
  make("PEXPIRE", [key, millis], flag)

/** The server's time. */
export const time: Command<{ readonly millis: number }> = make(
  "TIME",
  [],
  (reply) =>
    Result.flatMap(listOf(text)(reply), ([seconds, micros]) =>
      seconds === undefined || micros === undefined
        ? unexpected("seconds and microseconds")
        : Result.succeed({ millis: Number(seconds) * 1000 + Math.floor(Number(micros) / 1000) })
    ),
  { idempotent: true }
)

/**
 * Publishes a message; gives how many subscribers the node itself had, which on a cluster is not all of them. Not kept:
 * a subscriber that is away misses it.
 *
 * Fails with `InvalidInput` when the schema does not encode the value.
 */
export const publish = <A, Slot extends string = never>(
  channel: Channel.Channel<A, Slot>,
  value: A
): Result.Result<Command<number, Slot>, RedisFailure> =>
  Result.map(Channel.encode(channel, value), (text) =>
    make(channel.isSharded ? "SPUBLISH" : "PUBLISH", [channel, text], integer)
  )

import * as Result from "effect/Result"
import type * as Channel from "../Channel.ts"
import type * as Key from "../Key.ts"
import { UnexpectedReply } from "../RedisError.ts"

/** What stands after a command's name. A key and a channel get the client's prefix; all else is sent as it is. */
export type Argument = string | number | Uint8Array | Key.Any | Channel.Any

/** What a server replies, as the driver reads it: integers beyond 2^53 and doubles are text, bytes only when asked for. */
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
  /** Whether what is text in its reply comes as bytes. */
  readonly isBinary?: boolean
  /** How long the server may hold the reply back, in milliseconds: so much more time it has. Only on a reserved connection. */
  readonly blockMillis?: number
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
 * - `name`: one word; becomes capital letters
 * - `args`: keys must be keys, and so get the prefix
 * - `decode`: see {@link text}, {@link integer} and their neighbours
 * - `idempotent`: whether it is a read, or done twice is done once; false unless given
 * - `binary`: whether `decode` gets bytes for text, see {@link bytes}; false unless given
 * - `blockMillis`: how long the server may hold the reply back, more than 0; only for a reserved connection
 */
export const make = <A, Slot extends string = never>(
  name: string,
  args: ReadonlyArray<Exclude<Argument, Key.Any> | Key.Key<Slot>>,
  decode: Decode<A>,
  options?: {
    readonly idempotent?: boolean
    readonly binary?: boolean
    readonly blockMillis?: number
    readonly script?: NonNullable<Any["script"]>
  }
): Command<A, Slot> => ({
  [TypeId]: (slot) => slot,
  name: options?.script === undefined ? name.toUpperCase() : name,
  args,
  decode,
  isIdempotent: options?.idempotent === true,
  ...(options?.binary === true ? { isBinary: true } : {}),
  ...(options?.blockMillis === undefined ? {} : { blockMillis: options.blockMillis }),
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

/** Fails with what the reply is not. */
export const unexpected = (expected: string) => Result.fail(new UnexpectedReply({ problem: `not ${expected}` }))

/** Text; nothing stands for an absent value. */
export const text: Decode<string> = (reply) => (typeof reply === "string" ? Result.succeed(reply) : unexpected("text"))

/** Text, or undefined where the value is absent. */
export const optionalText: Decode<string | undefined> = (reply) =>
  reply === null ? Result.succeed(undefined) : text(reply)

/** Bytes, of a command that is `binary`. */
export const bytes: Decode<Uint8Array> = (reply) =>
  reply instanceof Uint8Array ? Result.succeed(reply) : unexpected("bytes")

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

/** A list, or nothing where there is none: what a command on several keys gives that may find none. */
export const optional =
  <A>(decode: Decode<A>): Decode<A | undefined> =>
  (reply) =>
    reply === null ? Result.succeed(undefined) : decode(reply)

/** A floating-point number; `inf` and `-inf` are infinities. */
export const double: Decode<number> = (reply) => {
  if (typeof reply === "number") return Result.succeed(reply)
  if (reply === "inf" || reply === "-inf") return Result.succeed(reply === "inf" ? Infinity : -Infinity)
  const value = typeof reply === "string" && reply.trim() !== "" ? Number(reply) : Number.NaN
  return Number.isNaN(value) ? unexpected("a number") : Result.succeed(value)
}

/** Pairs, as a list of lists or as one list in turns: servers and protocols differ. */
export const pairs =
  <A, B>(first: Decode<A>, second: Decode<B>): Decode<ReadonlyArray<readonly [A, B]>> =>
  (reply) => {
    if (!Array.isArray(reply)) return unexpected("a list of pairs")
    const list = reply as ReadonlyArray<Reply>
    const flat = list.every(Array.isArray) ? (list as ReadonlyArray<ReadonlyArray<Reply>>).flat() : list
    if (flat.length % 2 !== 0) return unexpected("a list of pairs")
    const found: Array<readonly [A, B]> = []
    for (let index = 0; index < flat.length; index += 2) {
      const pair = Result.all([first(flat[index]!), second(flat[index + 1]!)])
      if (Result.isFailure(pair)) return Result.fail(pair.failure)
      found.push(pair.success)
    }
    return Result.succeed(found)
  }

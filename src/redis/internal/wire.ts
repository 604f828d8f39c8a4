import * as Result from "effect/Result"
import * as Channel from "../Channel.ts"
import type * as Command from "../Command.ts"
import * as Key from "../Key.ts"
import { InvalidInput } from "../RedisError.ts"

/** A command as it is written to a connection. */
export type Wire = string | Buffer

/**
 * The longest operation, in bytes: what a server takes as one argument, and the longest text that Node makes, less 1 MB for
 * what stands around the arguments, such as a script.
 */
const maxBytes = 511 * 1024 * 1024

/** What stands around one argument, in bytes at most. */
const frame = 16

/** What a server took as one command before it took more. */
const maxArguments = 1024 * 1024

const problemOf = (argument: string | number): string | undefined => {
  if (typeof argument === "number") return Number.isFinite(argument) ? undefined : "a number is not finite"
  return argument.isWellFormed() ? undefined : "a text is not well-formed"
}

/** An argument as text or bytes. A key and a channel get the prefix. */
const rendered = (argument: Command.Argument, prefix: string): string | Uint8Array =>
  typeof argument === "string"
    ? argument
    : typeof argument === "number"
      ? String(argument)
      : argument instanceof Uint8Array
        ? argument
        : Key.isKey(argument)
          ? Key.render(argument, prefix)
          : Channel.render(argument, prefix)

/** An argument between its length and the end of its line. */
const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`

/** The arguments of a command, checked and encoded, without what says how many. */
export interface Encoded {
  readonly count: number
  readonly body: Wire
}

const tooLarge = Result.fail(new InvalidInput({ problem: "more than 511 MB" }))

/** Encodes the arguments of a command. */
export const encode = (args: ReadonlyArray<Command.Argument>, prefix: string): Result.Result<Encoded, InvalidInput> => {
  if (args.length > maxArguments) {
    return Result.fail(new InvalidInput({ problem: `more than ${maxArguments} arguments` }))
  }
  let bytes = 0
  let text = ""
  const chunks: Array<Uint8Array> = []
  for (const argument of args) {
    if (typeof argument === "string" || typeof argument === "number") {
      const problem = problemOf(argument)
      if (problem !== undefined) return Result.fail(new InvalidInput({ problem }))
    }
    const value = rendered(argument, prefix)
    // A code unit is a byte at least: a text that is far too long is not counted.
    if (value.length > maxBytes) return tooLarge
    bytes += frame + (typeof value === "string" ? Buffer.byteLength(value) : value.byteLength)
    if (bytes > maxBytes) return tooLarge
    if (typeof value === "string") text += bulk(value)
    else {
      chunks.push(Buffer.from(`${text}$${value.byteLength}\r\n`), value)
      text = "\r\n"
    }
  }
  if (chunks.length === 0) return Result.succeed({ count: args.length, body: text })
  chunks.push(Buffer.from(text))
  return Result.succeed({ count: args.length, body: Buffer.concat(chunks) })
}

/** A command with its name and words before its arguments. */
export const command = (words: ReadonlyArray<string>, { body, count }: Encoded): Wire => {
  let head = `*${words.length + count}\r\n`
  for (const word of words) head += bulk(word)
  return typeof body === "string" ? head + body : Buffer.concat([Buffer.from(head), body])
}

const none: Encoded = { count: 0, body: "" }

/** A command of words only. */
export const words = (...all: ReadonlyArray<string>): Wire => command(all, none)

/** A reply of the driver's, whose texts are bytes, as Command.Reply; an error among replies stays what it is. */
export const replyOf = (reply: unknown, isBinary = false): Command.Reply =>
  reply instanceof Buffer
    ? isBinary
      ? reply
      : reply.toString()
    : Array.isArray(reply)
      ? reply.map((one) => replyOf(one, isBinary))
      : (reply as Exclude<Command.Reply, ReadonlyArray<unknown>>)

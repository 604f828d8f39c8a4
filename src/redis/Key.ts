import * as Result from "effect/Result"
import { InvalidKey, RedisFailure } from "./RedisError.ts"

const TypeId = "~xdooria/redis/Key"

/** A key of whichever slot. */
export interface Any {
  readonly [TypeId]: unknown
  /** Without the client's prefix. */
  readonly name: string
  /** The name that decides the slot: of the key itself, or of the one that it is beside. */
  readonly owner: string
  /** What stands before the owner in braces, for a key beside another. */
  readonly words: string | undefined
}

/**
 * The name of a value on the server, made by {@link make} or {@link beside}.
 *
 * - `Slot`: the words that it was made from. Commands over several keys take keys of one `Slot` only; two keys of one
 *   `Slot` but with different parts are told apart at run time (`CrossSlot`), on a single server too
 */
export interface Key<in out Slot extends string> extends Any {
  readonly [TypeId]: (slot: Slot) => Slot
}

/** Letters, digits and marks of any script, and a few signs that neither Redis nor a pattern gives a meaning. */
const allowed = /^[\p{L}\p{M}\p{N}_.@+=~-]+$/u
const dots = /^\.+$/

/** The longest part, in bytes of UTF-8. */
export const longestPart = 256

const problemOf = (part: string): string | undefined => {
  if (part === "") return "it is empty"
  // A code unit is a byte at least: a text of megabytes is not looked at.
  if (part.length > longestPart || Buffer.byteLength(part) > longestPart) return `it has more than ${longestPart} bytes`
  if (dots.test(part)) return "it consists of dots"
  if (!allowed.test(part)) return "it holds a character other than letters, digits and _ . @ + = ~ -"
  return undefined
}

const words = /^[a-z][a-z0-9_-]*(:[a-z0-9_-]+)*$/i

const build = <Slot extends string>(name: string, owner: string, beside: string | undefined): Key<Slot> => ({
  [TypeId]: (slot) => slot,
  name,
  owner,
  words: beside
})

const joined = (first: string, parts: ReadonlyArray<string>): Result.Result<string, RedisFailure> => {
  if (!words.test(first)) {
    return Result.fail(new RedisFailure({ reason: new InvalidKey({ part: 0, problem: "the words are not plain" }) }))
  }
  for (const [index, part] of parts.entries()) {
    const problem = problemOf(part)
    if (problem !== undefined) {
      return Result.fail(new RedisFailure({ reason: new InvalidKey({ part: index + 1, problem }) }))
    }
  }
  return Result.succeed([first, ...parts].join(":"))
}

/**
 * A key: words and parts with colons between them, such as `session:p1`. Words and parts share the colon: of `session`
 * with `ban` and `p1`, and `session:ban` with `p1`, the key is the same. So the words of one family of keys must not be
 * the beginning of another's, unless the parts between them cannot be alike.
 *
 * - `words`: what the program says, a literal: letters, digits, `_`, `-` and `:`
 * - `parts`: what comes from elsewhere: 1 to 256 bytes each, letters and digits of any script and `_ . @ + = ~ -`, not
 *   only dots. Nothing is encoded: what cannot stand as it is is refused, so that no input reaches another key
 *
 * Fails with `InvalidKey`, which names the part by its number and not by its text.
 */
export const make = <const Words extends string>(
  words: string extends Words ? never : Words,
  ...parts: ReadonlyArray<string>
): Result.Result<Key<Words>, RedisFailure> => Result.map(joined(words, parts), (name) => build(name, name, undefined))

/**
 * A key in the same slot as another: `beside(key, "xd:session")` of `session:p1` is `xd:session:{session:p1}`.
 *
 * - `words`: a literal, as for {@link make}
 */
export const beside = <Slot extends string, const Words extends string>(
  key: Key<Slot>,
  words: string extends Words ? never : Words
): Key<Slot> => build(`${words}:{${key.owner}}`, key.owner, words)

/** The key as the server sees it under a prefix. A neighbour carries the prefix twice, to share its owner's slot. */
export const render = (key: Any, prefix: string): string =>
  prefix === ""
    ? key.name
    : key.words === undefined
      ? prefix + key.name
      : `${prefix}${key.words}:{${prefix}${key.owner}}`

/** Whether a value is a key. */
export const isKey = (value: unknown): value is Any => typeof value === "object" && value !== null && TypeId in value

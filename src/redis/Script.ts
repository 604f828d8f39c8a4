import { createHash } from "node:crypto"
import * as Command from "./Command.ts"
import type * as Key from "./Key.ts"

/** A script with its keys and arguments: a command. */
export type Script<Keys extends ReadonlyArray<string>, Args extends ReadonlyArray<unknown>, A> = <Slot extends string>(
  keys: { readonly [K in keyof Keys]: Key.Key<Slot> },
  ...args: Args
) => Command.Command<A, Slot>

/**
 * Declares a Lua script. It is sent once to each node and named by its hash afterwards; a node that has forgotten it
 * gets it again.
 *
 * - `name`: for errors and spans, such as `lock.acquire`
 * - `keys`: the names of its keys, for the reader; they are KEYS in this order, all in one slot
 * - `args`: turns the arguments of a call into ARGV; a channel becomes its name on the server, for `PUBLISH`
 * - `reply`: reads what it returns; Lua truncates numbers to integers, so return a fraction as text
 * - `idempotent`: whether it may be repeated when its reply is lost
 */
export const make = <const Keys extends ReadonlyArray<string>, Args extends ReadonlyArray<unknown>, A>(options: {
  readonly name: string
  readonly lua: string
  readonly keys: Keys
  readonly args: (...args: Args) => ReadonlyArray<Exclude<Command.Argument, Key.Any>>
  readonly reply: Command.Decode<A>
  readonly idempotent?: boolean
}): Script<Keys, Args, A> => {
  const { args, idempotent = false, keys, lua, name, reply } = options
  const script = { lua, sha: createHash("sha1").update(lua).digest("hex"), keys: keys.length }
  return (of, ...values) => Command.make(name, [...of, ...args(...values)], reply, { idempotent, script })
}

import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Key from "./Key.ts"
import { InvalidInput, RedisFailure } from "./RedisError.ts"

const TypeId = "~xdooria/redis/Channel"

/** A channel of whichever messages and slot. */
export interface Any {
  readonly [TypeId]: unknown
  /** Names it; the client's prefix stands before it on the server. */
  readonly key: Key.Any
  readonly isSharded: boolean
}

/** A channel of messages `A`, of whichever slot. */
export interface Typed<in out A> extends Any {
  /** A message as JSON text, and back. */
  readonly schema: Schema.Codec<A, string>
}

/**
 * A typed pub/sub channel, made by {@link make} or {@link sharded}.
 *
 * - `A`: its messages, on the wire the JSON text of what their schema encodes to
 * - `Slot`: that of its key when it is sharded, as for Key; never otherwise
 */
export interface Channel<in out A, in out Slot extends string = never> extends Typed<A> {
  readonly [TypeId]: (slot: Slot) => Slot
}

/**
 * What a subscriber hears.
 *
 * - `Message`: one message
 * - `Gap`: from here on everything is heard, and before it messages may be missing. The first event of a subscription,
 *   and the next one after a lost connection, a failover, a moved slot or an overflow. Read the state again on each
 */
export type Event<A> = { readonly _tag: "Message"; readonly value: A } | { readonly _tag: "Gap" }

/**
 * A channel that every node of a cluster carries. Names are made as those of keys.
 *
 * - `words`: a literal: letters, digits, `_`, `-` and `:`
 * - `schema`: of the messages
 * - `parts`: what comes from elsewhere, checked as for Key.make
 *
 * Fails with `InvalidKey`.
 */
export const make =
  <const Words extends string, A, I>(words: string extends Words ? never : Words, schema: Schema.Codec<A, I>) =>
  (...parts: ReadonlyArray<string>): Result.Result<Channel<A>, RedisFailure> =>
    Result.map(Key.make(words, ...parts), (key) => build<A, I, never>(key, false, schema))

/**
 * A sharded channel, in the slot of a key: its messages pass only through the node that has the key, so that a script or
 * a transaction on the key publishes to it (`SPUBLISH`).
 *
 * - `key`: decides the slot and the name: `words:{key}`
 * - `words`: a literal, as for {@link make}
 * - `schema`: of the messages
 */
export const sharded = <Slot extends string, const Words extends string, A, I>(
  key: Key.Key<Slot>,
  words: string extends Words ? never : Words,
  schema: Schema.Codec<A, I>
): Channel<A, Slot> => build<A, I, Slot>(Key.beside(key, words), true, schema)

const build = <A, I, Slot extends string>(
  key: Key.Any,
  isSharded: boolean,
  schema: Schema.Codec<A, I>
): Channel<A, Slot> => ({
  [TypeId]: (slot) => slot,
  key,
  isSharded,
  schema: Schema.fromJsonString(schema) as Schema.Codec<A, string>
})

/** Whether a value is a channel. */
export const isChannel = (value: unknown): value is Any =>
  typeof value === "object" && value !== null && TypeId in value

/** The channel as the server sees it under a prefix. */
export const render = (channel: Any, prefix: string): string => Key.render(channel.key, prefix)

/**
 * A message as it is on the wire, for a script that publishes it.
 *
 * Fails with `InvalidInput` when the schema does not encode it; says nothing of the value.
 */
export const encode = <A>(channel: Typed<A>, value: A): Result.Result<string, RedisFailure> =>
  Result.mapError(
    Schema.encodeResult(channel.schema)(value),
    () => new RedisFailure({ reason: new InvalidInput({ problem: "the schema of the channel does not encode it" }) })
  )

/** How many messages subscribers left out because their channel's schema does not decode them. */
export const undecodable = Metric.counter("redis_messages_undecodable_total", {
  description: "Messages of a channel that its schema does not decode; they are left out",
  incremental: true
})

/** A message from the wire; fails, without details, when it is not one. */
export const decode = <A>(channel: Typed<A>, text: string): Result.Result<A, void> =>
  Result.mapError(Schema.decodeResult(channel.schema)(text), () => undefined)

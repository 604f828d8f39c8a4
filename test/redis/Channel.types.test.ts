import { describe, expectTypeOf, it } from "@effect/vitest"
import type * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { Channel, Command, EventStream, type Key, type Redis, type RedisFailure } from "xdooria/redis"

declare const session: Key.Key<"session">
declare const online: Key.Key<"online">
declare const redis: Redis["Service"]
declare const anyText: string

const Kick = Schema.Struct({ epoch: Schema.Finite })
type Kick = typeof Kick.Type

describe("a channel", () => {
  it("has the type of its messages, and the slot of its key when it is sharded", () => {
    const kicks = Channel.make("kicks", Kick)
    expectTypeOf(kicks("gw1")).toEqualTypeOf<Result.Result<Channel.Channel<Kick>, RedisFailure>>()
    expectTypeOf(Channel.sharded(session, "xd:kick", Kick)).toEqualTypeOf<Channel.Channel<Kick, "session">>()
    // @ts-expect-error words are literals
    Channel.make(anyText, Kick)
  })

  it("is heard and published to with its messages", () => {
    const channel = Channel.sharded(session, "xd:kick", Kick)
    expectTypeOf(redis.subscribe(channel)).toEqualTypeOf<Stream.Stream<Channel.Event<Kick>, RedisFailure>>()
    expectTypeOf(Command.publish(channel, { epoch: 1 })).toEqualTypeOf<
      Result.Result<Command.Command<number, "session">, RedisFailure>
    >()
    // @ts-expect-error not one of its messages
    Command.publish(channel, { epoch: "1" })
  })
})

describe("watch", () => {
  it("gives the replies, and fails with what its body fails with", () => {
    const watched = redis.watch(
      [session],
      (): Effect.Effect<
        readonly [Command.Command<void, "session">, Command.Command<number, "session">],
        "no",
        "needs"
      > => undefined as never
    )
    expectTypeOf(watched).toEqualTypeOf<Effect.Effect<readonly [void, number], "no" | RedisFailure, "needs">>()
  })

  it("takes keys and operations of one slot", () => {
    // @ts-expect-error two slots
    redis.watch([session, online], () => undefined as never)
    // @ts-expect-error an operation of another slot
    redis.watch([session], (): Effect.Effect<ReadonlyArray<Command.Command<void, "online">>> => undefined as never)
    // @ts-expect-error no key
    redis.watch([], () => undefined as never)
  })
})

describe("scan", () => {
  it("gives keys of the family", () => {
    expectTypeOf(redis.scan("session")).toEqualTypeOf<Stream.Stream<Key.Key<"session">, RedisFailure>>()
    // @ts-expect-error words are literals
    redis.scan(anyText)
  })
})

describe("a stream of events", () => {
  it("gives its handler its events, and asks for what the handler needs", () => {
    const stream = EventStream.make(session, Kick)
    const consuming = EventStream.consume(stream, { group: "g", consumer: "c" }, (event) => {
      expectTypeOf(event).toEqualTypeOf<EventStream.Event<Kick>>()
      return undefined as never as Effect.Effect<void, "no", "needs">
    })
    expectTypeOf(consuming).toEqualTypeOf<Effect.Effect<never, RedisFailure, Redis | "needs">>()
    // @ts-expect-error not one of its events
    EventStream.append(stream, { epoch: "1" })
  })
})

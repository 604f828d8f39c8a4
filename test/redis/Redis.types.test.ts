import { describe, expectTypeOf, it } from "@effect/vitest"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as EffectRedis from "effect/persistence/Redis"
import type * as Result from "effect/Result"
import type { InvalidConfig } from "xdooria/config"
import { Command, Key, type Redis, type RedisFailure, Script } from "xdooria/redis"
import { layerLive, RedisLive } from "xdooria/redis/live"

declare const session: Key.Key<"session">
declare const online: Key.Key<"online">
declare const redis: Redis["Service"]
declare const anyText: string

const pair = Script.make({
  name: "test.pair",
  lua: "return 1",
  keys: ["first", "second"],
  args: (amount: number) => [amount],
  reply: Command.integer
})

describe("keys", () => {
  it("carry the words that they were made from, which are a literal", () => {
    expectTypeOf(Key.make("session", "p1")).toEqualTypeOf<Result.Result<Key.Key<"session">, RedisFailure>>()
    // @ts-expect-error a text of unknown content is no word
    Key.make(anyText, "p1")
  })

  it("stay in the slot of what they are beside", () => {
    expectTypeOf(Key.beside(session, "xd:session")).toEqualTypeOf<Key.Key<"session">>()
  })
})

describe("an operation over several keys", () => {
  it("takes those of one slot only", () => {
    expectTypeOf(Command.del(session, Key.beside(session, "xd:x"))).toEqualTypeOf<Command.Command<number, "session">>()
    // @ts-expect-error two slots
    Command.del(session, online)
  })

  it("as a script too", () => {
    expectTypeOf(pair([session, Key.beside(session, "xd:x")], 1)).toEqualTypeOf<Command.Command<number, "session">>()
    // @ts-expect-error two slots
    pair([session, online], 1)
    // @ts-expect-error one key is missing
    pair([session], 1)
    // @ts-expect-error not an amount
    pair([session, session], "1")
  })

  it("as a transaction too, which replies one by one", () => {
    expectTypeOf(redis.transaction([Command.get(session), Command.incrBy(session, 1)])).toEqualTypeOf<
      Effect.Effect<readonly [string | undefined, number], RedisFailure>
    >()
    // @ts-expect-error two slots
    redis.transaction([Command.get(session), Command.get(online)])
  })

  it("as a batch goes to any slots, with a result for each", () => {
    expectTypeOf(redis.batch([Command.get(session), Command.incrBy(online, 1)])).toEqualTypeOf<
      Effect.Effect<readonly [Result.Result<string | undefined, RedisFailure>, Result.Result<number, RedisFailure>]>
    >()
  })
})

describe("the layers", () => {
  it("fail with what they say", () => {
    expectTypeOf(RedisLive).toEqualTypeOf<Layer.Layer<Redis | EffectRedis.Redis, RedisFailure | InvalidConfig>>()
    expectTypeOf(layerLive({})).toEqualTypeOf<Layer.Layer<Redis | EffectRedis.Redis, RedisFailure | InvalidConfig>>()
  })
})

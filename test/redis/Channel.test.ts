import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Channel, Command, Key } from "xdooria/redis"

const Position = Schema.Struct({ x: Schema.FiniteFromString })

describe("Channel", () => {
  it("has the name of a key", () => {
    const channel = Result.getOrThrow(Channel.make("move:map", Position)("m1"))
    assert.strictEqual(Channel.render(channel, ""), "move:map:m1")
    assert.strictEqual(Channel.render(channel, "app:"), "app:move:map:m1")
  })

  it("is in the slot of its key when it is sharded", () => {
    const channel = Channel.sharded(Result.getOrThrow(Key.make("session", "p1")), "xd:kick", Position)
    assert.strictEqual(Channel.render(channel, ""), "xd:kick:{session:p1}")
    assert.strictEqual(Channel.render(channel, "app:"), "app:xd:kick:{app:session:p1}")
  })

  it("refuses a part that a key would refuse", () => {
    const refused = Channel.make("move", Position)("a:b")
    assert.isTrue(Result.isFailure(refused))
    if (Result.isFailure(refused)) assert.deepInclude(refused.failure.reason, { _tag: "InvalidKey", part: 1 })
  })

  it("has messages that are the JSON text of what the schema encodes to", () => {
    const channel = Result.getOrThrow(Channel.make("move", Position)())
    const text = Result.getOrThrow(Channel.encode(channel, { x: 1.5 }))
    assert.strictEqual(text, '{"x":"1.5"}')
    assert.deepStrictEqual(Result.getOrThrow(Channel.decode(channel, text)), { x: 1.5 })
    assert.isTrue(Result.isFailure(Channel.decode(channel, "{")))
    assert.isTrue(Result.isFailure(Channel.decode(channel, '{"x":1}')))
  })

  it("refuses what the schema does not encode, and says nothing of it", () => {
    const channel = Result.getOrThrow(Channel.make("name", Schema.Struct({ name: Schema.NonEmptyString }))())
    const refused = Command.publish(channel, { name: "" })
    assert.isTrue(Result.isFailure(refused))
    if (Result.isFailure(refused)) assert.strictEqual(refused.failure.reason._tag, "InvalidInput")
  })

  it("is published to by the command of its kind", () => {
    const key = Result.getOrThrow(Key.make("session", "p1"))
    const plain = Result.getOrThrow(Channel.make("move", Position)())
    const sent: ReadonlyArray<Command.Any> = [
      Result.getOrThrow(Command.publish(plain, { x: 1 })),
      Result.getOrThrow(Command.publish(Channel.sharded(key, "xd:move", Position), { x: 1 }))
    ]
    assert.deepStrictEqual(
      sent.map(({ isIdempotent, name }) => [name, isIdempotent]),
      [
        ["PUBLISH", false],
        ["SPUBLISH", false]
      ]
    )
  })
})

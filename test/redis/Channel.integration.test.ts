import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Channel, Command, Key, Redis, type RedisFailure, Script } from "xdooria/redis"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as RealServer from "../support/RealServer.ts"
import * as Recorder from "../support/Recorder.ts"
import * as RedisServer from "../support/RedisServer.ts"
import { client, driver, eventually, freshPrefix, single, suites, withClient } from "../support/RedisBackends.ts"

const Chat = Schema.Struct({ n: Schema.Finite, text: Schema.String })
type Chat = typeof Chat.Type

/** Plain or sharded: the tests are the same for both. */
type Room = Channel.Channel<Chat, "room">

const plainOf = (room: string) =>
  Effect.map(Effect.fromResult(Channel.make("chat", Chat)(room)), (channel) => channel as Channel.Any as Room)
const plain = plainOf("r1")
const shardedOf = (room: string): Effect.Effect<Room, RedisFailure> =>
  Effect.map(Effect.fromResult(Key.make("room", room)), (key) => Channel.sharded(key, "xd:chat", Chat))

const isMessage = (event: Channel.Event<Chat>) => event._tag === "Message"
const isGap = (event: Channel.Event<Chat>) => event._tag === "Gap"

/** Hears a channel until the scope ends, and gives what it heard, once the server has confirmed. */
const hearing = (channel: Channel.Typed<Chat>) =>
  Effect.gen(function* () {
    const redis = yield* Redis
    const recorder = yield* Recorder.make<Channel.Event<Chat>>()
    yield* Effect.forkScoped(Stream.runForEach(redis.subscribe(channel), recorder.record))
    yield* recorder.first(isGap)
    return recorder
  })

const say = (channel: Room, n: number) =>
  Effect.gen(function* () {
    const redis = yield* Redis
    return yield* redis.run(yield* Effect.fromResult(Command.publish(channel, { n, text: "hi" })))
  })

const numbers = (events: ReadonlyArray<Channel.Event<Chat>>) =>
  events.flatMap((event) => (event._tag === "Message" ? [event.value.n] : []))

/** How many connections hear a channel, on the whole. */
const heardBy = (native: Effect.Success<ReturnType<typeof driver>>, name: string, isSharded: boolean) =>
  Effect.promise(async () => {
    const nodes = "nodes" in native ? native.nodes("all") : [native]
    const counts = await Promise.all(
      nodes.map((node) => node.call("PUBSUB", isSharded ? "SHARDNUMSUB" : "NUMSUB", name) as Promise<[string, number]>)
    )
    return counts.reduce((sum, [, count]) => sum + count, 0)
  })

const addAndTell = Script.make({
  name: "test.addAndTell",
  keys: ["room"],
  lua: `
local n = redis.call("INCR", KEYS[1])
redis.call("SPUBLISH", ARGV[1], cjson.encode({ n = n, text = "script" }))
return n`,
  args: (channel: Channel.Any) => [channel],
  reply: Command.integer
})

suites("channels", (options) => {
  const run = withClient(options)

  for (const kind of ["plain", "sharded"] as const) {
    const channelOf = kind === "plain" ? plain : shardedOf("r1")

    describe(kind, () => {
      it.live("hears, after the first Gap, all that is published, in its order and typed", () =>
        Effect.gen(function* () {
          const channel = yield* channelOf
          const heard = yield* hearing(channel)
          for (let n = 0; n < 20; n++) yield* say(channel, n)
          const messages = yield* heard.atLeast(20, isMessage)
          assert.deepInclude(messages, { _tag: "Message", value: { n: 0, text: "hi" } })
          // What is published through several nodes of a cluster has no order.
          const heardOf = numbers(messages)
          assert.deepStrictEqual(
            channel.isSharded ? heardOf : heardOf.toSorted((a, b) => a - b),
            Array.from({ length: 20 }, (_, n) => n)
          )
          assert.lengthOf((yield* heard.all).filter(isGap), 1)
        }).pipe(Effect.scoped, run)
      )

      it.live("is one subscription on the server, however many hear it, and none when the last has gone", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const channel = yield* channelOf
          const native = yield* driver(options)
          const name = Channel.render(channel, redis.keyPrefix)
          const count = heardBy(native, name, channel.isSharded)
          const first = yield* Recorder.make<Channel.Event<Chat>>()
          const early = yield* Effect.forkChild(Stream.runForEach(redis.subscribe(channel), first.record))
          yield* first.first(isGap)
          yield* Effect.scoped(
            Effect.gen(function* () {
              const second = yield* hearing(channel)
              assert.strictEqual(yield* count, 1)
              yield* Fiber.interrupt(early)
              yield* say(channel, 1)
              yield* second.first(isMessage)
              assert.strictEqual(yield* count, 1)
            })
          )
          yield* eventually(
            "nobody hears it",
            Effect.map(count, (now) => now === 0)
          )
          assert.deepStrictEqual(numbers(yield* first.all), [])
          // And it can be heard again.
          const again = yield* hearing(channel)
          yield* say(channel, 2)
          assert.deepStrictEqual(numbers(yield* again.atLeast(1, isMessage)), [2])
        }).pipe(Effect.scoped, run)
      )

      it.live("hears again and again, whoever comes while another goes", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const channel = yield* channelOf
          for (let n = 0; n < 20; n++) {
            const first = yield* Recorder.make<Channel.Event<Chat>>()
            const leaving = yield* Effect.forkChild(Stream.runForEach(redis.subscribe(channel), first.record))
            yield* first.first(isGap)
            // The next comes at any moment of the leaving of the last.
            const left = yield* Effect.forkChild(Fiber.interrupt(leaving))
            for (let turns = 0; turns < n; turns++) yield* Effect.yieldNow
            yield* Effect.scoped(
              Effect.gen(function* () {
                const heard = yield* hearing(channel)
                yield* Fiber.join(left)
                yield* say(channel, n)
                assert.deepStrictEqual(numbers(yield* heard.atLeast(1, isMessage)), [n])
              })
            )
          }
        }).pipe(Effect.scoped, run)
      )

      it.live("leaves out what does not decode, counts it, and logs it once, without its text", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const channel = yield* channelOf
          const name = Channel.render(channel, redis.keyPrefix)
          const native = yield* driver(options)
          const lines: Array<string> = []
          const logger = Logger.make(({ message }) => void lines.push(String(message)))
          const counted = Effect.map(Metric.value(Channel.undecodable), ({ count }) => Number(count))
          const before = yield* counted
          const heard = yield* Effect.provide(hearing(channel), Logger.layer([logger]))
          for (const text of ["canary8f2", '{"n":"canary8f2"}']) {
            yield* Effect.promise(() => (channel.isSharded ? native.spublish(name, text) : native.publish(name, text)))
          }
          yield* say(channel, 3)
          assert.deepStrictEqual(numbers(yield* heard.atLeast(1, isMessage)), [3])
          // On a cluster they may come later than what was published after them.
          yield* eventually(
            "both are counted",
            Effect.map(counted, (now) => now - before === 2)
          )
          const told = lines.filter((line) => line.includes("does not decode"))
          assert.lengthOf(told, 1)
          assert.notInclude(lines.join(), "canary8f2")
        }).pipe(Effect.scoped, run)
      )

      it.live("gives who falls behind a Gap for what it missed, and holds nobody else up", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const channel = yield* channelOf
          const heard = yield* hearing(channel)
          const behind = yield* Recorder.make<Channel.Event<Chat>>()
          const goOn = yield* Deferred.make<void>()
          yield* Effect.forkScoped(
            Stream.runForEach(redis.subscribe(channel), (event) =>
              Effect.andThen(behind.record(event), Deferred.await(goOn))
            )
          )
          yield* behind.first(isGap)
          const count = 2_500
          for (let n = 0; n < count; n += 100) {
            yield* Effect.forEach(
              Array.from({ length: 100 }, (_, index) => n + index),
              (one) => say(channel, one),
              { concurrency: "unbounded" }
            )
            yield* heard.atLeast(n + 100, isMessage)
          }
          yield* Deferred.succeed(goOn, undefined)
          yield* say(channel, count)
          yield* behind.first((event) => event._tag === "Message" && event.value.n === count)
          const seen = yield* behind.all
          assert.isBelow(numbers(seen).length, 1_024)
          assert.isAtLeast(seen.filter(isGap).length, 2)
          // From there on it hears all again.
          for (let n = 1; n <= 20; n++) yield* say(channel, count + n)
          yield* behind.atLeast(20, (event) => event._tag === "Message" && event.value.n > count)
          assert.lengthOf((yield* behind.all).filter(isGap), seen.filter(isGap).length)
        }).pipe(Effect.scoped, run)
      )
    })
  }

  it.live("is published to by a script on the key that it is sharded by", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const rooms = yield* Effect.forEach(["a", "b", "c", "d"], (room) =>
        Effect.gen(function* () {
          const key = yield* Effect.fromResult(Key.make("room", room))
          const channel = Channel.sharded(key, "xd:chat", Chat)
          return { key, channel, heard: yield* hearing(channel) }
        })
      )
      for (const { channel, heard, key } of rooms) {
        assert.strictEqual(yield* redis.run(addAndTell([key], channel)), 1)
        assert.deepStrictEqual(yield* heard.atLeast(1, isMessage), [
          { _tag: "Message", value: { n: 1, text: "script" } }
        ])
      }
    }).pipe(Effect.scoped, run)
  )

  it.live("is published to in a transaction with its key", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const key = yield* Effect.fromResult(Key.make("room", "r1"))
      const channel = Channel.sharded(key, "xd:chat", Chat)
      const heard = yield* hearing(channel)
      const tell = yield* Effect.fromResult(Command.publish(channel, { n: 7, text: "tx" }))
      assert.deepStrictEqual(yield* redis.transaction([Command.set(key, "1"), tell]), [undefined, 1])
      assert.deepStrictEqual(numbers(yield* heard.atLeast(1, isMessage)), [7])
    }).pipe(Effect.scoped, run)
  )
})

RealServer.suite("redis", "channels with long messages", (address) => {
  it.live("give a message that is larger than that to who is not behind", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const channel = yield* plain
      const heard = yield* hearing(channel)
      const text = "x".repeat(3 * 1024 * 1024)
      yield* redis.run(yield* Effect.fromResult(Command.publish(channel, { n: 1, text })))
      yield* heard.first(isMessage)
      assert.deepStrictEqual(yield* heard.all, [{ _tag: "Gap" }, { _tag: "Message", value: { n: 1, text } }])
    }).pipe(Effect.scoped, withClient(single(address), { commandTimeout: Duration.seconds(5) }))
  )

  it.live("keep no more of them for who falls behind than some megabytes", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const channel = yield* plain
      const behind = yield* Recorder.make<Channel.Event<Chat>>()
      const goOn = yield* Deferred.make<void>()
      yield* Effect.forkScoped(
        Stream.runForEach(redis.subscribe(channel), (event) =>
          Effect.andThen(behind.record(event), Deferred.await(goOn))
        )
      )
      yield* behind.first(isGap)
      const long = "x".repeat(1_000_000)
      for (let n = 0; n < 3; n++) {
        yield* redis.run(yield* Effect.fromResult(Command.publish(channel, { n, text: long })))
      }
      const heard = yield* hearing(channel)
      yield* say(channel, 3)
      const isLast = (event: Channel.Event<Chat>) => event._tag === "Message" && event.value.n === 3
      yield* heard.first(isLast)
      yield* Deferred.succeed(goOn, undefined)
      yield* behind.first(isLast)
      assert.deepStrictEqual(
        (yield* behind.all).map((event) => (event._tag === "Gap" ? "Gap" : event.value.n)),
        ["Gap", "Gap", 3]
      )
    }).pipe(Effect.scoped, withClient(single(address)))
  )
})

RealServer.suite("redis", "channels on a bad network", (address) => {
  const behindProxy = Effect.gen(function* () {
    const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
    const keyPrefix = freshPrefix()
    const direct = yield* client(single(address), { keyPrefix })
    const behind = yield* client(single(address), { keyPrefix, addrs: [`127.0.0.1:${proxy.port}`] })
    return { proxy, direct, behind }
  })

  for (const kind of ["plain", "sharded"] as const) {
    const channelOf = kind === "plain" ? plain : shardedOf("r1")

    it.live(`announces what a cut loses by a Gap, ${kind}`, () =>
      Effect.gen(function* () {
        const { behind, direct, proxy } = yield* behindProxy
        const channel = yield* channelOf
        const heard = yield* Effect.provide(hearing(channel), behind)
        for (let n = 0; n < 110; n++) {
          if (n === 40) yield* proxy.cut
          yield* Effect.provide(say(channel, n), direct)
        }
        yield* heard.atLeast(2, isGap)
        // What is published after the Gap is heard, and before the cut nothing is missing.
        yield* Effect.provide(say(channel, 110), direct)
        yield* heard.first((event) => event._tag === "Message" && event.value.n === 110)
        const seen = yield* heard.all
        const second = seen.findLastIndex(isGap)
        const before = numbers(seen.slice(0, second))
        const after = numbers(seen.slice(second))
        assert.lengthOf(seen.filter(isGap), 2)
        assert.deepStrictEqual(
          before,
          Array.from({ length: before.length }, (_, n) => n)
        )
        assert.deepStrictEqual(
          after,
          Array.from({ length: after.length }, (_, n) => 111 - after.length + n)
        )
        assert.isBelow(before.length + after.length, 111)
      }).pipe(Effect.scoped)
    )
  }

  it.live("finds out that the server has fallen silent, and is back after that", () =>
    Effect.gen(function* () {
      const { behind, direct, proxy } = yield* behindProxy
      const channel = yield* plain
      const heard = yield* Effect.provide(hearing(channel), behind)
      const dials = yield* proxy.accepted
      yield* proxy.blackhole
      // One for calls, one for subscriptions: both are given up, and dialled anew.
      yield* eventually(
        "it dials again",
        Effect.map(proxy.accepted, (now) => now >= dials + 2)
      )
      yield* proxy.heal
      yield* heard.atLeast(2, isGap)
      yield* Effect.provide(say(channel, 1), direct)
      assert.deepStrictEqual(numbers(yield* heard.atLeast(1, isMessage)), [1])
    }).pipe(Effect.scoped)
  )

  it.live("hears many channels on one connection, which ends with the last of them", () =>
    Effect.gen(function* () {
      const { behind, proxy } = yield* behindProxy
      const before = yield* proxy.connections
      yield* Effect.scoped(
        Effect.gen(function* () {
          for (const room of ["a", "b", "c"]) {
            yield* hearing(yield* plainOf(room))
            yield* hearing(yield* shardedOf(room))
          }
          assert.strictEqual((yield* proxy.connections) - before, 1)
        }).pipe(Effect.provide(behind))
      )
      yield* eventually(
        "it has ended",
        Effect.map(proxy.connections, (now) => now === before)
      )
    }).pipe(Effect.scoped)
  )
})

RealServer.suite("redis", "channels on a server of their own", () => {
  const own = Effect.gen(function* () {
    const server = yield* RedisServer.start()
    const context = yield* client(single(server), {})
    return { server, context }
  })

  it.live("are heard again after the server was killed and started", () =>
    Effect.gen(function* () {
      const { context, server } = yield* own
      const channel = yield* plain
      const heard = yield* Effect.provide(hearing(channel), context)
      yield* server.restart
      yield* heard.atLeast(2, isGap)
      yield* Effect.provide(say(channel, 1), context)
      assert.deepStrictEqual(numbers(yield* heard.atLeast(1, isMessage)), [1])
    }).pipe(Effect.scoped)
  )

  it.live("fail where the user may not hear them, and the others go on", () =>
    Effect.gen(function* () {
      const { context, server } = yield* own
      const allowed = yield* plainOf("free")
      const refused = yield* plain
      const { keyPrefix } = yield* Effect.provide(Redis, context)
      yield* server.command("ACL", "SETUSER", "default", "resetchannels", `&${keyPrefix}chat:free`)
      const heard = yield* Effect.provide(hearing(allowed), context)
      for (let again = 0; again < 2; again++) {
        const error = yield* Effect.flip(
          Redis.use((redis) => Stream.runDrain(redis.subscribe(refused))).pipe(Effect.provide(context))
        )
        assert.deepInclude(error, { command: "SUBSCRIBE" })
        assert.strictEqual(error.reason._tag, "PermissionDenied")
      }
      yield* Effect.provide(say(allowed, 1), context)
      assert.deepStrictEqual(numbers(yield* heard.atLeast(1, isMessage)), [1])
      assert.lengthOf((yield* heard.all).filter(isGap), 1)
    }).pipe(Effect.scoped)
  )
})

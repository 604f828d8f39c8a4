// Channels while a cluster or sentinels put another node in the place of one: on servers of their own.
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Channel, Command, Key, Redis, type RedisFailure } from "xdooria/redis"
import * as RealServer from "../support/RealServer.ts"
import * as Recorder from "../support/Recorder.ts"
import * as RedisServer from "../support/RedisServer.ts"
import { client, cluster, eventually, sentinel } from "../support/RedisBackends.ts"

type News = Channel.Channel<number, "news">
type Heard = Recorder.Recorder<Channel.Event<number>>

const keyOf = (id: string) => Effect.fromResult(Key.make("news", id))
const shardedOf = (id: string): Effect.Effect<News, RedisFailure> =>
  Effect.map(keyOf(id), (key) => Channel.sharded(key, "xd:news", Schema.Finite))
const plain = Effect.map(
  Effect.fromResult(Channel.make("news", Schema.Finite)("all")),
  (channel) => channel as Channel.Any as News
)

const hearing = (channel: News) =>
  Effect.gen(function* () {
    const redis = yield* Redis
    const heard: Heard = yield* Recorder.make<Channel.Event<number>>()
    yield* Effect.forkScoped(Stream.runForEach(redis.subscribe(channel), heard.record))
    yield* heard.first(({ _tag }) => _tag === "Gap")
    return heard
  })

/** Waits for one more Gap, then says something until it is heard: what a node has lost is no matter here. */
const isBack = (channel: News, heard: Heard, n: number) =>
  Effect.gen(function* () {
    const redis = yield* Redis
    yield* heard.atLeast(2, ({ _tag }) => _tag === "Gap")
    const say = Effect.flatMap(Effect.fromResult(Command.publish(channel, n)), redis.run)
    yield* Effect.raceFirst(
      Effect.forever(Effect.andThen(Effect.ignore(say), Effect.sleep("50 millis"))),
      heard.first((event) => event._tag === "Message" && event.value === n)
    )
  })

/** Moves one slot, which has no keys, as an operator does. */
const move = (own: Effect.Success<ReturnType<typeof RedisServer.cluster>>, name: string) =>
  Effect.gen(function* () {
    const from = yield* own.primaryOf(name)
    const slot = yield* from.command("CLUSTER", "KEYSLOT", name)
    let to = from
    for (let n = 0; to.port === from.port; n++) to = yield* own.primaryOf(`other${n}`)
    const [fromId, toId] = [yield* from.command("CLUSTER", "MYID"), yield* to.command("CLUSTER", "MYID")]
    yield* to.command("CLUSTER", "SETSLOT", slot.trim(), "IMPORTING", fromId.trim())
    yield* from.command("CLUSTER", "SETSLOT", slot.trim(), "MIGRATING", toId.trim())
    for (const node of [to, from]) yield* node.command("CLUSTER", "SETSLOT", slot.trim(), "NODE", toId.trim())
  })

const isHeardOn = (node: RedisServer.Node, name: string) =>
  Effect.map(node.command("PUBSUB", "NUMSUB", name), (printed) => printed.trim().endsWith("1"))

RealServer.suite("redisCluster", "channels of a cluster of their own", () => {
  it.live("follow a slot that moves, and the others stay", () =>
    Effect.gen(function* () {
      const own = yield* RedisServer.cluster()
      const context = yield* client(cluster(own.nodes))
      yield* Effect.gen(function* () {
        const { keyPrefix } = yield* Redis
        const channel = yield* shardedOf("moves")
        const moving = yield* hearing(channel)
        const stays = yield* hearing(yield* plain)
        yield* move(own, `${keyPrefix}news:moves`)
        yield* isBack(channel, moving, 1)
        assert.lengthOf(
          (yield* stays.all).filter(({ _tag }) => _tag === "Gap"),
          1
        )
      }).pipe(Effect.provide(context))
    }).pipe(Effect.scoped)
  )

  it.live("are heard through other nodes when theirs is killed", () =>
    Effect.gen(function* () {
      const own = yield* RedisServer.cluster()
      const context = yield* client(cluster(own.nodes))
      yield* Effect.gen(function* () {
        const { keyPrefix } = yield* Redis
        const all = yield* plain
        const heard = yield* hearing(all)
        const name = Channel.render(all, keyPrefix)
        const nodes = yield* Effect.filter(own.nodes, (node) => isHeardOn(node, name))
        assert.lengthOf(nodes, 1)
        // A sharded channel on the same node.
        let room = 0
        while ((yield* own.primaryOf(`${keyPrefix}news:r${room}`)).port !== nodes[0]!.port) room++
        const channel = yield* shardedOf(`r${room}`)
        const sharded = yield* hearing(channel)
        yield* nodes[0]!.kill()
        yield* isBack(all, heard, 1)
        yield* isBack(channel, sharded, 2)
      }).pipe(Effect.provide(context))
    }).pipe(Effect.scoped)
  )

  it.live("are told of a gap by a node that was cut off, once it has the others back", () =>
    Effect.gen(function* () {
      const own = yield* RedisServer.cluster()
      const context = yield* client(cluster(own.nodes))
      yield* Effect.gen(function* () {
        const { keyPrefix } = yield* Redis
        const channel = yield* plain
        const heard = yield* hearing(channel)
        const name = Channel.render(channel, keyPrefix)
        const [node] = yield* Effect.filter(own.nodes, (one) => isHeardOn(one, name))
        const others = own.nodes.filter((one) => one !== node)
        const subscriber = Effect.map(node!.command("CLIENT", "LIST", "TYPE", "pubsub"), (line) => line.split(" ")[0])
        const before = yield* subscriber
        yield* Effect.forEach(others, (one) => one.pause)
        yield* eventually(
          "the node knows that it is cut off",
          Effect.map(node!.command("CLUSTER", "INFO"), (info) => info.includes("cluster_state:fail"))
        )
        // The room asks it so at each beat; from here on nobody else does.
        const asked = Effect.map(node!.command("INFO", "commandstats"), (stats) =>
          Number(/cmdstat_cluster\|info:calls=(\d+)/.exec(stats)?.[1])
        )
        const then = yield* asked
        yield* eventually(
          "the room has seen it",
          Effect.map(asked, (now) => now >= then + 2)
        )
        yield* Effect.forEach(others, (one) => one.resume)
        yield* isBack(channel, heard, 1)
        assert.strictEqual(yield* subscriber, before)
      }).pipe(Effect.provide(context))
    }).pipe(Effect.scoped)
  )
})

RealServer.suite("redisSentinel", "channels of a primary of their own", () => {
  it.live("follow the sentinels to another primary, also when the old one still answers", () =>
    Effect.gen(function* () {
      const own = yield* RedisServer.sentinel()
      const context = yield* client(sentinel(own.name, own.sentinels))
      yield* Effect.gen(function* () {
        const channel = yield* plain
        const heard = yield* hearing(channel)
        const old = yield* own.primary
        yield* eventually(
          "the failover begins",
          Effect.map(own.sentinels[0]!.command("SENTINEL", "FAILOVER", own.name), (printed) => printed.includes("OK"))
        )
        yield* isBack(channel, heard, 1)
        yield* eventually(
          "there is another primary",
          Effect.map(own.primary, ({ port }) => port !== old.port)
        )
        yield* isBack(channel, heard, 2)
      }).pipe(Effect.provide(context))
    }).pipe(Effect.scoped)
  )
})

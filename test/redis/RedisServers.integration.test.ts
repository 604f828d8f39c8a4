// What the room makes of servers that refuse, restart, fail over or move their slots: each test has its own.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Exit from "effect/Exit"
import { networkInterfaces } from "node:os"
import { Command, Key, Redis, type RedisFailure, type RedisOptions, Script } from "xdooria/redis"
import { layerLive } from "xdooria/redis/live"
import { slotOf } from "../../src/redis/internal/slot.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as RealServer from "../support/RealServer.ts"
import * as RedisServer from "../support/RedisServer.ts"
import { cluster, eventually, sentinel, single } from "../support/RedisBackends.ts"

const build = (options: Partial<RedisOptions>) =>
  Effect.map(Layer.build(layerLive(options)), (context) => Context.get(context, Redis))

const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some((one) => one?.address === "::1")

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const tagOf = <A, R>(effect: Effect.Effect<A, RedisFailure, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)

const reasonOf = <A, R>(effect: Effect.Effect<A, RedisFailure, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }): object => ({ ...reason }))

const keyOf = (...parts: ReadonlyArray<string>) => Result.getOrThrow(Key.make("servers", ...parts))
const key = keyOf("k")

const add = Script.make({
  name: "servers.add",
  lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])",
  keys: ["counter"],
  args: (amount: number) => [amount],
  reply: Command.integer
})

const spin = Script.make({
  name: "servers.spin",
  lua: "local t = redis.call('TIME') local e = t[1] * 1000 + t[2] / 1000 + ARGV[1] repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 > e return 1",
  keys: ["key"],
  args: (millis: number) => [millis],
  reply: Command.integer
})

const blpop = (of: Key.Key<"servers">, blockMillis: number) =>
  Command.make("BLPOP", [of, blockMillis / 1000], (reply) => Result.succeed(reply), { blockMillis })

const valueOf = (result: Result.Result<unknown, RedisFailure>): unknown =>
  Result.isSuccess(result) ? result.success : result.failure.reason._tag

/** Runs a write until it is done, whatever it fails with meanwhile. */
const patiently = <A>(effect: Effect.Effect<A, RedisFailure>) =>
  Effect.retry(effect, { while: (error) => error.isRetryable, schedule: Schedule.spaced("50 millis") })

RealServer.suite("redis", "a server of its own", () => {
  describe("that refuses", () => {
    it.live("writes for want of memory, of replicas or of a disk, does so at once", () =>
      Effect.gen(function* () {
        const node = yield* RedisServer.start({ args: ["--enable-protected-configs", "yes"] })
        const redis = yield* build(single(node))
        const write = redis.run(Command.set(key, "x"))
        yield* write
        yield* node.command("CONFIG", "SET", "maxmemory", "1")
        assert.strictEqual(yield* tagOf(write), "OutOfMemory")
        assert.strictEqual(yield* tagOf(redis.transaction([Command.set(key, "y")])), "OutOfMemory")
        yield* node.command("CONFIG", "SET", "maxmemory", "0")
        yield* node.command("CONFIG", "SET", "min-replicas-to-write", "1")
        assert.deepStrictEqual(yield* reasonOf(write), { _tag: "WritesRefused", code: "NOREPLICAS" })
        yield* node.command("CONFIG", "SET", "min-replicas-to-write", "0")
        yield* node.command("CONFIG", "SET", "dir", "/proc")
        yield* node.command("CONFIG", "SET", "save", "1 1")
        yield* Effect.ignore(node.command("BGSAVE"))
        yield* eventually(
          "refused",
          Effect.map(Effect.result(write), (result) => Result.isFailure(result))
        )
        assert.deepStrictEqual(yield* reasonOf(write), { _tag: "WritesRefused", code: "MISCONF" })
        assert.strictEqual(yield* redis.run(Command.get(key)), "x")
      }).pipe(quiet)
    )

    it.live("everything while a script keeps it busy, is told apart from one that is gone", () =>
      Effect.gen(function* () {
        const node = yield* RedisServer.start({ args: ["--busy-reply-threshold", "50"] })
        const redis = yield* build(single(node))
        const own = yield* redis.reserve()
        const spinning = yield* Effect.forkChild(own.run(spin([key], 700)))
        yield* eventually(
          "busy",
          Effect.map(Effect.result(redis.run(Command.get(key))), (result) => Result.isFailure(result))
        )
        assert.strictEqual(yield* tagOf(redis.run(Command.get(key))), "Busy")
        assert.strictEqual(yield* Fiber.join(spinning), 1)
        assert.isUndefined(yield* redis.run(Command.get(key)))
      }).pipe(quiet)
    )

    it.live("writes since it is a replica: they wait for it to be a primary, for as long as they have", () =>
      Effect.gen(function* () {
        const [primary, node] = yield* Effect.all([RedisServer.start(), RedisServer.start()])
        const redis = yield* build({ ...single(node), commandTimeout: Duration.seconds(5) })
        const brief = yield* build({ ...single(node), commandTimeout: Duration.millis(200) })
        yield* node.command("REPLICAOF", primary.host, String(primary.port))
        // One whose last try is on its way when its time is over cannot know.
        yield* eventually(
          "told why",
          Effect.map(tagOf(brief.run(Command.set(key, "x"))), (tag) => tag === "ReadOnly")
        )
        const waiting = yield* Effect.forkChild(redis.run(Command.set(key, "y")))
        yield* Effect.ignore(brief.run(Command.set(key, "x")))
        yield* node.command("REPLICAOF", "NO", "ONE")
        yield* Fiber.join(waiting)
        assert.strictEqual(yield* redis.run(Command.get(key)), "y")
      }).pipe(quiet)
    )

    it.live("everything while it loads its data: the client waits", () =>
      Effect.gen(function* () {
        const node = yield* RedisServer.start({ args: ["--appendonly", "yes", "--enable-debug-command", "yes"] })
        const redis = yield* build({ ...single(node), commandTimeout: Duration.seconds(10) })
        yield* redis.run(Command.make("DEBUG", ["POPULATE", 20_000, "p", 10], Command.ok))
        yield* redis.run(Command.make("BGREWRITEAOF", [], Command.text))
        yield* eventually(
          "rewritten",
          Effect.map(node.command("INFO", "persistence"), (info) => info.includes("aof_rewrite_in_progress:0"))
        )
        yield* node.command("CONFIG", "SET", "key-load-delay", "20")
        yield* node.command("CONFIG", "REWRITE").pipe(Effect.ignore)
        yield* redis.run(Command.set(key, "x"))
        const restarted = yield* Effect.forkChild(node.restart)
        assert.strictEqual(yield* redis.run(Command.get(key)), "x")
        yield* Fiber.join(restarted)
      }).pipe(quiet)
    )
  })

  it.live.skipIf(!hasIpv6)("is found by an address of IPv6", () =>
    Effect.gen(function* () {
      const { port } = yield* RedisServer.start({ args: ["--bind", "127.0.0.1", "::1"] })
      const redis = yield* build({ addrs: [`[::1]:${port}`] })
      assert.strictEqual(yield* redis.run(add([key], 1)), 1)
      assert.isFalse(
        yield* Effect.scoped(Effect.flatMap(redis.reserve(), (own) => own.run(Command.exists(keyOf("x")))))
      )
    })
  )

  describe("that restarts", () => {
    it.live("has its scripts again, and is found again by all that wait", () =>
      Effect.gen(function* () {
        const node = yield* RedisServer.start()
        const redis = yield* build({ ...single(node), commandTimeout: Duration.seconds(10) })
        assert.strictEqual(yield* redis.run(add([key], 2)), 2)
        yield* node.kill()
        yield* eventually(
          "noticed",
          Effect.map(redis.native, ({ length }) => length === 0)
        )
        const waiting = yield* Effect.forkChild(
          Effect.all(
            Array.from({ length: 100 }, () => redis.run(add([key], 1))),
            { concurrency: "unbounded" }
          )
        )
        yield* node.restart
        assert.lengthOf(yield* Fiber.join(waiting), 100)
        assert.strictEqual(yield* redis.run(Command.get(key)), "100")
      }).pipe(quiet)
    )

    it.live("is dialled ten times a second at most, by a client with as many calls as it likes", () =>
      Effect.gen(function* () {
        const node = yield* RedisServer.start()
        const proxy = yield* FaultProxy.make({ host: node.host, port: node.port, seed: 1 })
        const redis = yield* build({ addrs: [`127.0.0.1:${proxy.port}`], commandTimeout: Duration.millis(200) })
        yield* node.kill()
        yield* proxy.cut
        yield* eventually(
          "noticed",
          Effect.map(redis.native, ({ length }) => length === 0)
        )
        const before = yield* proxy.accepted
        const [spent] = yield* Effect.timed(
          Effect.all(
            Array.from({ length: 50 }, (_, index) =>
              Effect.all([
                Effect.ignore(redis.run(Command.get(key))),
                Effect.ignore(redis.run(Command.set(key, String(index)))),
                Effect.ignore(Effect.scoped(redis.reserve())),
                Effect.ignore(redis.transaction([Command.get(key)]))
              ])
            ),
            { concurrency: "unbounded" }
          )
        )
        const dials = (yield* proxy.accepted) - before
        assert.isAtMost(dials, Duration.toMillis(spent) / 100 + 2)
        assert.isAtLeast(dials, 1)
      }).pipe(quiet)
    )
  })

  it.live("are dialled ten times a second at most, all together", () =>
    Effect.gen(function* () {
      const node = yield* RedisServer.start()
      yield* node.kill()
      const proxies = yield* Effect.all(
        Array.from({ length: 8 }, () => FaultProxy.make({ host: node.host, port: node.port, seed: 1 }))
      )
      const addrs = proxies.map(({ port }) => `127.0.0.1:${port}`) as [string, ...Array<string>]
      const options = { addrs, startTimeout: Duration.seconds(2) }
      const [spent] = yield* Effect.timed(Effect.flip(Effect.scoped(build(options))))
      const accepted = yield* Effect.forEach(proxies, (proxy) => proxy.accepted)
      const dials = accepted.reduce((sum, count) => sum + count, 0)
      // The first to each are not held back.
      assert.isAtMost(dials, Duration.toMillis(spent) / 100 + addrs.length)
      assert.isAtLeast(dials, 10)
    }).pipe(quiet)
  )

  describe("its reserved connections", () => {
    it.live("are pool_size at most; who waits longer than acquire_timeout is told", () =>
      Effect.gen(function* () {
        const node = yield* RedisServer.start()
        const redis = yield* build({ ...single(node), poolSize: 2, acquireTimeout: Duration.millis(200) })
        const scope = yield* Scope.make()
        yield* Scope.provide(Effect.all([redis.reserve(), redis.reserve()]), scope)
        assert.strictEqual(yield* tagOf(Effect.scoped(redis.reserve())), "PoolExhausted")
        const waiting = yield* Effect.forkChild(
          Effect.scoped(Effect.flatMap(redis.reserve(), (own) => own.run(Command.exists(key))))
        )
        yield* Effect.yieldNow
        yield* Scope.close(scope, Exit.void)
        assert.isFalse(yield* Fiber.join(waiting))
        // Two, the shared one, and the one that asks.
        const clients = yield* node.command("CLIENT", "LIST")
        assert.isAtMost(clients.split("\n").filter((line) => line.includes(" addr=")).length, 4)
      }).pipe(quiet)
    )

    it.live("that were cut while nobody had them are replaced", () =>
      Effect.gen(function* () {
        const node = yield* RedisServer.start()
        const redis = yield* build({ ...single(node), poolSize: 1 })
        const use = Effect.scoped(Effect.flatMap(redis.reserve(), (own) => own.run(Command.exists(key))))
        assert.isFalse(yield* use)
        yield* node.command("CLIENT", "KILL", "TYPE", "normal")
        assert.isFalse(yield* patiently(use))
      }).pipe(quiet)
    )

    it.live("are given back by whoever is interrupted, while waiting too", () =>
      Effect.gen(function* () {
        const node = yield* RedisServer.start()
        const redis = yield* build({ ...single(node), poolSize: 3 })
        for (let round = 0; round < 20; round++) {
          const fibers = yield* Effect.forEach(Array.from({ length: 9 }), () =>
            Effect.forkChild(Effect.scoped(Effect.flatMap(redis.reserve(key), (own) => own.run(blpop(key, 5_000)))))
          )
          for (let turn = 0; turn < round * 5; turn++) yield* Effect.yieldNow
          yield* Fiber.interruptAll(fibers)
        }
        const all = Effect.all([redis.reserve(), redis.reserve(), redis.reserve()], { concurrency: 3 })
        assert.lengthOf(yield* Effect.scoped(all), 3)
      }).pipe(quiet)
    )
  })
})

RealServer.suite("redisCluster", "a cluster of its own", () => {
  it.live(
    "follows its slots: to another node, and to the replica of one that was killed",
    () =>
      Effect.gen(function* () {
        const servers = yield* RedisServer.cluster()
        const redis = yield* build({ ...cluster(servers.nodes), commandTimeout: Duration.seconds(2) })
        yield* redis.run(add([key], 1))

        // The slot moves, key by key, to another primary.
        const slot = String(slotOf(key.name))
        const from = yield* servers.primaryOf(key.name)
        const other = keyOf("other")
        let to = from
        for (let index = 0; to === from; index++) to = yield* servers.primaryOf(`x${index}`)
        const idOf = (node: RedisServer.Node) => Effect.map(node.command("CLUSTER", "MYID"), (text) => text.trim())
        const [fromId, toId] = yield* Effect.all([idOf(from), idOf(to)])
        yield* to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId)
        yield* from.command("CLUSTER", "SETSLOT", slot, "MIGRATING", toId)
        yield* from.command("MIGRATE", to.host, String(to.port), key.name, "0", "1000")
        // It is asked for elsewhere, one call at a time.
        assert.strictEqual(yield* redis.run(add([key], 1)), 2)
        assert.deepStrictEqual((yield* redis.batch([Command.incrBy(key, 1), Command.get(key)])).map(valueOf), [3, "3"])
        // One that is on its way again when its time is over may have been done, for all that is known.
        const refused = Effect.repeat(tagOf(redis.transaction([Command.incrBy(key, 1)])), {
          until: (tag) => tag !== "OutcomeUnknown",
          times: 5
        })
        assert.strictEqual(yield* refused, "ClusterDown")
        yield* Effect.forEach([to, from], (node) => node.command("CLUSTER", "SETSLOT", slot, "NODE", toId))
        assert.deepStrictEqual(yield* redis.transaction([Command.incrBy(key, 1), add([key], 1)]), [4, 5])
        assert.deepStrictEqual((yield* redis.batch([Command.incrBy(key, 1), Command.get(key)])).map(valueOf), [6, "6"])

        // WAIT on the connection of the write: the replica has it.
        yield* Effect.scoped(
          Effect.gen(function* () {
            const own = yield* redis.reserve(other)
            yield* own.run(Command.set(other, "kept"))
            const wait = Command.make("WAIT", [1, 1_000], Command.integer, { blockMillis: 1_000 })
            assert.strictEqual(yield* own.run(wait), 1)
          })
        )
        const killed = yield* servers.primaryOf(other.name)
        yield* killed.kill()
        assert.strictEqual(yield* patiently(redis.run(Command.get(other))), "kept")
        yield* patiently(redis.run(Command.set(other, "again")))
      }).pipe(quiet),
    60_000
  )
})

RealServer.suite("redisSentinel", "sentinels of its own", () => {
  it.live(
    "follows the primary: one that is killed, and one that becomes a replica",
    () =>
      Effect.gen(function* () {
        const servers = yield* RedisServer.sentinel()
        const redis = yield* build(sentinel(servers.name, servers.sentinels))
        yield* redis.run(add([key], 1))
        const first = yield* servers.primary
        yield* first.kill()
        const sum = yield* patiently(redis.run(add([key], 1)))
        assert.isAtLeast(sum, 1)
        assert.notStrictEqual((yield* servers.primary).port, first.port)
        yield* first.restart
        yield* servers.settled
        const [second] = yield* Effect.all([
          servers.primary,
          servers.sentinels[0]!.command("SENTINEL", "FAILOVER", servers.name)
        ])
        yield* eventually(
          "another primary",
          Effect.map(servers.primary, ({ port }) => port !== second.port)
        )
        const now = yield* servers.primary
        // Until the old one learns that it is a replica it takes writes, which are lost then.
        const arrives = Effect.gen(function* () {
          yield* patiently(redis.run(Command.set(keyOf("after"), "x")))
          return (yield* now.command("GET", "servers:after")).trim() === "x"
        })
        yield* eventually("written to the new primary", arrives)
      }).pipe(quiet),
    60_000
  )

  it.live("fails to start, by name, when they know no such primary, or refuse the password", () =>
    Effect.gen(function* () {
      const servers = yield* RedisServer.sentinel()
      const known = sentinel(servers.name, servers.sentinels)
      const options = { ...sentinel("nobody", servers.sentinels), startTimeout: Duration.millis(500) }
      const error = yield* Effect.flip(Effect.scoped(build(options)))
      assert.strictEqual(error._tag, "RedisFailure")
      assert.include(error.message, "the sentinel knows no such primary")
      for (const one of servers.sentinels) {
        yield* one.command("ACL", "SETUSER", "default", "resetpass", ">canary8f2")
      }
      const refused = yield* Effect.flip(Effect.scoped(build(known)))
      assert.deepInclude(refused.reason, { _tag: "Authentication", code: "NOAUTH" })
      const redis = yield* build({ ...known, sentinelPassword: Redacted.make("canary8f2") })
      assert.strictEqual(yield* redis.run(add([key], 1)), 1)
    }).pipe(quiet)
  )
})

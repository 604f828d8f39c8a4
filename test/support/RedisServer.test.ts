import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { existsSync } from "node:fs"
import { Unavailable } from "../infra/Server.ts"
import * as RealServer from "./RealServer.ts"
import * as RedisServer from "./RedisServer.ts"

const isRunning = (pid: number): boolean => existsSync(`/proc/${pid}/cwd`)

/** Asks again until the answer is another node than that. */
const anotherThan = <E>(node: RedisServer.Node, question: Effect.Effect<RedisServer.Node, E>) =>
  question.pipe(
    Effect.orElseSucceed(() => node),
    Effect.repeat({ until: (now) => now !== node, schedule: Schedule.spaced("100 millis") })
  )

const roleOf = (node: RedisServer.Node) => Effect.map(node.command("ROLE"), (printed) => printed.split("\n")[0])

RealServer.suite("redis", "RedisServer", () => {
  it.live("comes back with its data after a crash, and leaves nothing", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const args = ["--appendonly", "yes", "--appendfsync", "always"]
      const node = yield* Scope.provide(RedisServer.start({ args }), scope)
      const first = node.pid
      assert.strictEqual(yield* node.command("SET", "key", "value"), "OK\n")
      yield* node.kill()
      assert.isFalse(isRunning(first))
      assert.instanceOf(yield* Effect.flip(node.command("PING")), Unavailable)

      yield* node.restart
      assert.notStrictEqual(node.pid, first)
      assert.strictEqual(yield* node.command("GET", "key"), "value\n")
      yield* node.restart
      assert.strictEqual(yield* node.command("GET", "key"), "value\n")

      yield* Scope.close(scope, Exit.void)
      assert.isFalse(isRunning(node.pid))
      assert.isFalse(existsSync(node.folder))
    })
  )

  it.live("answers nothing while it is paused", () =>
    Effect.gen(function* () {
      const node = yield* RedisServer.start()
      yield* node.pause
      assert.instanceOf(yield* Effect.flip(node.command("PING")), Unavailable)
      yield* node.resume
      assert.strictEqual(yield* node.command("PING"), "PONG\n")
    })
  )

  it.live("ends when its scope closes while it is paused", () =>
    Effect.gen(function* () {
      const pid = yield* Effect.scoped(
        Effect.gen(function* () {
          const node = yield* RedisServer.start()
          yield* node.pause
          return node.pid
        })
      )
      assert.isFalse(isRunning(pid))
    })
  )

  it.live("says what the server says about its arguments", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(RedisServer.start({ args: ["--no-such-argument", "1"] }))
      assert.include(error.message, "no-such-argument")
    })
  )
})

RealServer.suite("redisCluster", "RedisServer", () => {
  it.live("puts the replica in the place of a primary that was killed", () =>
    Effect.gen(function* () {
      const { nodes, primaryOf, replicaOf, settled } = yield* RedisServer.cluster()
      assert.strictEqual(nodes.length, 6)
      const primary = yield* primaryOf("key")
      const replica = yield* replicaOf(primary)
      assert.strictEqual(yield* primary.command("SET", "key", "value"), "OK\n")
      assert.include(yield* replica.command("GET", "key"), `MOVED 12539 127.0.0.1:${primary.port}`)

      yield* primary.kill()
      assert.strictEqual(yield* anotherThan(primary, primaryOf("key")), replica)
      yield* primary.restart
      yield* settled
      assert.strictEqual(yield* replicaOf(replica), primary)
      assert.strictEqual(yield* roleOf(primary), "slave")
    })
  )
})

RealServer.suite("redisSentinel", "RedisServer", () => {
  it.live("names another primary when the one that was is killed", () =>
    Effect.gen(function* () {
      const { nodes, primary, sentinels } = yield* RedisServer.sentinel()
      assert.deepStrictEqual([nodes.length, sentinels.length], [3, 3])
      const first = yield* primary
      assert.deepStrictEqual(yield* Effect.forEach(nodes, roleOf), ["master", "slave", "slave"])
      yield* first.kill()
      yield* sentinels[0]!.kill()
      const second = yield* anotherThan(first, primary)
      assert.strictEqual(yield* roleOf(second), "master")
    })
  )
})

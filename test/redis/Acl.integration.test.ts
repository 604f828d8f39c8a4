// The least that the rooms need, as SECURITY.md has it.
import { assert, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { readFileSync } from "node:fs"
import { Leaderboard } from "xdooria/leaderboard"
import { LeaderboardLive } from "xdooria/leaderboard/live"
import { Lock } from "xdooria/lock"
import { LockLive } from "xdooria/lock/live"
import { Command, Key, Redis } from "xdooria/redis"
import { layerLive } from "xdooria/redis/live"
import { Session } from "xdooria/session"
import { SessionLive } from "xdooria/session/live"
import * as RealServer from "../support/RealServer.ts"
import * as RedisServer from "../support/RedisServer.ts"
import { single } from "../support/RedisBackends.ts"

const [user = ""] = /^user game .*$/m.exec(readFileSync("SECURITY.md", "utf8")) ?? []
const password = "of-the-site"

/** The rooms on a server that lets in nobody but the user of SECURITY.md. */
const rooms = Effect.gen(function* () {
  const args = ["--user", ...user.split(" ").slice(1), "--user", "default", "off"]
  const server = yield* RedisServer.start({ args })
  const redis = layerLive({ ...single(server), username: "game", password: Redacted.make(password) })
  return yield* Layer.build(Layer.provideMerge(Layer.mergeAll(SessionLive, LeaderboardLive, LockLive), redis))
})

RealServer.suite("redis", "the user of SECURITY.md", () => {
  it.live("may do what the rooms do", () =>
    Effect.gen(function* () {
      const session = yield* Session
      const login = { playerId: "p1", token: Redacted.make("t"), gateway: "gw1" }
      const first = yield* session.login(login)
      yield* session.touch(first)
      const kicked = yield* Effect.forkChild(Stream.runHead(session.kicks("gw1")), { startImmediately: true })
      yield* session.login({ ...login, gateway: "gw2" })
      assert.strictEqual(Option.getOrThrow(yield* Fiber.join(kicked)).playerId, "p1")
      assert.strictEqual(yield* session.kick("p1"), 1)
      yield* session.ban("p1", "forever")
      yield* session.revokeAll(yield* DateTime.now)

      const boards = yield* Leaderboard
      const board = Leaderboard.board({ key: "leaderboard:arena", seasons: { keep: "1 day" } })
      yield* boards.open(board, "s1")
      yield* boards.best(board, "ann", 1)
      yield* boards.close(board, "s1")
      yield* boards.settle(board, "s1", () => Effect.void)
      assert.strictEqual((yield* boards.top(Leaderboard.season(board, "s1"))).length, 1)

      const key = yield* Effect.fromResult(Key.make("lock", "a"))
      yield* Effect.all([Lock.withLock(key)(Effect.void), Lock.withLock(key)(Effect.void)], { concurrency: 2 })
      const redis = yield* Redis
      yield* redis.transaction([Command.set(key, "x"), Command.del(key)])
      yield* redis.watch([key], () => Effect.succeed([Command.set(key, "x"), Command.del(key)]))
    }).pipe(Effect.provide(Layer.effectContext(rooms)), Effect.scoped)
  )

  it.live.each([
    "KEYS *",
    "FLUSHALL",
    "CONFIG GET *",
    "CLIENT LIST",
    "ACL LIST",
    "SCRIPT FLUSH",
    "MONITOR",
    "GET another:key",
    "PUBLISH another x"
  ])("may not %s", (words) =>
    Effect.gen(function* () {
      const [name = "", ...args] = words.split(" ")
      const { reserve } = yield* Redis
      const { run } = yield* reserve()
      const refused = yield* Effect.flip(run(Command.make(name, args, Command.text)))
      assert.strictEqual(refused.reason._tag, "PermissionDenied")
    }).pipe(Effect.provide(Layer.effectContext(rooms)), Effect.scoped)
  )
})

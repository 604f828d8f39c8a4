// What is stored, byte by byte: policy `plan` is what a Go service of the plan reads and writes; the rest stays as it is
// so that a later version reads it.
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Leaderboard } from "xdooria/leaderboard"
import { makeLive } from "xdooria/leaderboard/live"
import { client, driver, freshPrefix, suites } from "../support/RedisBackends.ts"
import { lines, tagOf } from "./Backend.ts"

const plan = Leaderboard.board({ key: "leaderboard:arena", ties: "plan" })

suites("LeaderboardLive", (options, kind) => {
  /** The room under a prefix, and the driver beside it. */
  const both = Effect.gen(function* () {
    const keyPrefix = freshPrefix()
    const boards = yield* Effect.flatMap(client(options, { keyPrefix }), (redis) => Effect.provide(makeLive, redis))
    const native = yield* driver(options)
    const call = (name: string, ...args: ReadonlyArray<string>) =>
      Effect.promise(() => native.call(name, ...args) as Promise<unknown>)
    const callBytes = (name: string, ...args: ReadonlyArray<string | Buffer>) =>
      Effect.promise(() => native.callBuffer(name, ...args))
    return { boards, call, callBytes, keyPrefix, key: `${keyPrefix}leaderboard:arena` }
  })

  describe("a board of policy plan", () => {
    it.live("is a plain sorted set at its key, with nothing else in it or beside it", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { boards, call, key } = yield* both
          yield* boards.set(plan, "bob", 100)
          yield* boards.set(plan, "Zed", 100)
          yield* boards.best(plan, "alice", 100)
          yield* boards.increment(plan, "low", -12.5)
          yield* boards.add(plan, "most", Number.MAX_SAFE_INTEGER)
          assert.strictEqual(yield* call("TYPE", key), "zset")
          // What `Top`, `GetRank`, `GetScore` and `Count` of the plan send, and get.
          assert.deepStrictEqual(yield* call("ZREVRANGE", key, "0", "4"), ["most", "bob", "alice", "Zed", "low"])
          assert.strictEqual(yield* call("ZREVRANK", key, "Zed"), 3)
          assert.strictEqual(String(yield* call("ZSCORE", key, "most")), "9007199254740991")
          assert.strictEqual(String(yield* call("ZSCORE", key, "low")), "-12.5")
          assert.strictEqual(yield* call("ZCARD", key), 5)
          for (const beside of ["xd:board", "xd:board-state", "xd:board-scores"]) {
            assert.strictEqual(yield* call("EXISTS", `${key.replace("leaderboard", `${beside}:{leaderboard`)}}`), 0)
          }
        })
      )
    )

    it.live("reads what a Go service writes, and says of it what it is", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { boards, call, key } = yield* both
          // As go-redis writes them: the shortest decimal, never with an exponent.
          const written = ["+Inf", "top", "1000000000000000000000", "far", "100", "bob", "100", "alice", "-Inf", "last"]
          yield* call("ZADD", key, ...written)
          const top = yield* boards.top(plan)
          assert.strictEqual(lines(top), "top Infinity#1, far 1e+21#2, bob 100#3, alice 100#4, last -Infinity#5")
          assert.deepStrictEqual(yield* boards.rank(plan, "top"), top[0])
          const page = yield* boards.page(plan, { limit: 1 })
          assert.strictEqual(lines((yield* boards.page(plan, { after: page.next!, limit: 1 })).entries), "far 1e+21#2")
          assert.strictEqual(yield* tagOf(boards.increment(plan, "top", 1)), "ScoreOutOfRange")
          assert.strictEqual(yield* tagOf(boards.increment(plan, "far", -1)), "ScoreOutOfRange")
          assert.strictEqual((yield* boards.best(plan, "top", 5)).after?.score, Infinity)
          assert.strictEqual((yield* boards.set(plan, "top", 5)).before?.score, Infinity)
        })
      )
    )

    it.live("turns pages by cursor over members that are no text, empty or long, up to what a cursor holds", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { boards, callBytes, key } = yield* both
          const bytes = Array.from({ length: 128 }, (_, i) => Buffer.from([0x80 + i]))
          const long = ["", "x".repeat(2048)].map((text) => Buffer.from(text))
          yield* callBytes("ZADD", key, ...[...bytes, ...long].flatMap((member) => ["5", member]))
          const ranks: Array<number> = []
          let after: string | undefined
          do {
            const page = yield* boards.page(plan, { limit: 7, ...(after === undefined ? {} : { after }) })
            ranks.push(...page.entries.map(({ rank }) => rank))
            after = page.next
          } while (after !== undefined && ranks.length <= 130)
          assert.deepStrictEqual(
            ranks,
            Array.from({ length: 130 }, (_, i) => i + 1)
          )
          yield* callBytes("ZADD", key, "9", "x".repeat(2049))
          assert.strictEqual(yield* tagOf(boards.page(plan, { limit: 1 })), "Unreadable")
          assert.strictEqual((yield* boards.top(plan, 1))[0]?.score, 9)
        })
      )
    )

    it.live("is Unreadable where the key holds something else", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { boards, call, key } = yield* both
          yield* call("SET", key, "text")
          assert.strictEqual(yield* tagOf(boards.top(plan)), "Unreadable")
          assert.strictEqual(yield* tagOf(boards.set(plan, "m", 1)), "Unreadable")
          assert.strictEqual(yield* call("GET", key), "text")
        })
      )
    )
  })

  if (kind !== "single") return

  describe("a board of our own", () => {
    const names = (key: string) => ({
      rows: key,
      members: key.replace(/^(t\w+:)(.*)$/, "$1xd:board:{$1$2}"),
      state: key.replace(/^(t\w+:)(.*)$/, "$1xd:board-state:{$1$2}"),
      scores: key.replace(/^(t\w+:)(.*)$/, "$1xd:board-scores:{$1$2}")
    })

    it.live("stores the tick before the member, and beside it what each member begins with", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { boards, call, keyPrefix } = yield* both
          const board = Leaderboard.board({ key: "own", ties: "first" })
          const { members, rows } = names(`${keyPrefix}own`)
          yield* boards.set(board, "ann", 7)
          const [stored] = (yield* call("ZRANGE", rows, "0", "-1")) as ReadonlyArray<string>
          assert.match(stored!, /^\d{16}ann$/)
          assert.strictEqual(yield* call("HGET", members, "ann"), stored!.slice(0, 16))
          assert.strictEqual(String(yield* call("ZSCORE", rows, stored!)), "-7")
          // A member that was not written by the room.
          yield* call("ZADD", rows, "-9", "stranger")
          assert.strictEqual(yield* tagOf(boards.top(board)), "Unreadable")
        })
      )
    )

    it.live("stores 64 bits as digits that sort, and each score once for dense ranks", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { boards, call, keyPrefix } = yield* both
          const board = Leaderboard.board({ key: "own", ties: "dense", score: "int64", order: "ascending" })
          const { rows, scores } = names(`${keyPrefix}own`)
          yield* boards.set(board, "ann", -1n)
          yield* boards.set(board, "bob", -1n)
          yield* boards.set(board, "cat", 2n ** 63n - 1n)
          assert.deepStrictEqual(yield* call("ZRANGE", rows, "0", "-1"), [
            "09223372036854775807ann",
            "09223372036854775807bob",
            "18446744073709551615cat"
          ])
          assert.deepStrictEqual(yield* call("ZRANGE", scores, "0", "-1"), [
            "09223372036854775807",
            "18446744073709551615"
          ])
        })
      )
    )

    it.live("never sets the ticks of a board back: each is one more than the last one", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { boards, call, keyPrefix } = yield* both
          const board = Leaderboard.board({ key: "own", ties: "first" })
          const { members, state } = names(`${keyPrefix}own`)
          yield* call("HSET", members, "", "8000000000000000")
          yield* boards.set(board, "ann", 7)
          yield* boards.set(board, "bob", 7)
          assert.deepStrictEqual(yield* call("HMGET", members, "ann", "bob"), ["8000000000000001", "8000000000000002"])
          assert.strictEqual(yield* call("HGET", members, ""), "8000000000000002")
          assert.strictEqual(lines(yield* boards.top(board)), "ann 7#1, bob 7#2")
          // Off the board and on it again is a later one.
          yield* boards.remove(board, "ann")
          yield* boards.set(board, "ann", 7)
          assert.strictEqual(lines(yield* boards.top(board)), "bob 7#1, ann 7#2")
          // Only a board of seasons keeps a state.
          assert.strictEqual(yield* call("EXISTS", state), 0)
        })
      )
    )

    it.live("is Unreadable to settle where a result is gone, and a reset goes on with the other seasons", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { boards, call, keyPrefix } = yield* both
          const board = Leaderboard.board({ key: "own", seasons: { keep: Duration.infinity } })
          for (const season of ["s1", "s2"]) {
            yield* boards.open(board, season)
            yield* boards.set(board, "ann", 1)
            yield* boards.close(board, season)
          }
          yield* call("DEL", `${keyPrefix}xd:board-result:s1:{${keyPrefix}own}`)
          assert.strictEqual(yield* tagOf(boards.settle(board, "s1", () => Effect.void)), "Unreadable")
          const instant = DateTime.makeUnsafe("2026-11-24T00:00:00Z")
          const reset = boards.reset(board, { every: "day" }, instant, () => Effect.void)
          assert.strictEqual(yield* tagOf(reset), "Unreadable")
          assert.deepStrictEqual(
            (yield* boards.seasons(board)).map(({ id, state }) => `${id} ${state}`),
            ["s1 closed", "s2 settled", "2026-11-24 open"]
          )
          // What is kept for ever has no end.
          assert.strictEqual(yield* call("PTTL", `${keyPrefix}xd:board-season:s2:{${keyPrefix}own}`), -1)
          // The way out: to give up what is gone.
          yield* boards.settle(board, "s1", () => Effect.void, { top: 0 })
          assert.deepStrictEqual((yield* reset).settled, [])
        })
      )
    )

    it.live("moves nothing of a season whose keys are of another type", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { boards, call, keyPrefix } = yield* both
          const board = Leaderboard.board({ key: "own", seasons: { keep: "1 day" } })
          yield* boards.open(board, "s1")
          yield* call("SET", `${keyPrefix}own`, "text")
          assert.strictEqual(yield* tagOf(boards.close(board, "s1")), "Unreadable")
          assert.strictEqual(yield* call("GET", `${keyPrefix}own`), "text")
          assert.strictEqual((yield* boards.seasons(board))[0]?.state, "open")
        })
      )
    )

    it.live("remembers an operation for 10 minutes", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { boards, call, keyPrefix } = yield* both
          const board = Leaderboard.board({ key: "own", ties: "first" })
          yield* boards.increment(board, "ann", 7, { operation: "match-1" })
          const left = Number(yield* call("PTTL", `${keyPrefix}xd:board-operation:match-1:{${keyPrefix}own}`))
          assert.isTrue(left > 590_000 && left <= 600_000)
        })
      )
    )
  })
})

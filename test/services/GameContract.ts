import { assert, layer } from "@effect/vitest"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { SqlClient } from "effect/sql/SqlClient"
import { ConfigTest, type InvalidConfig } from "xdooria/config"
import { Grpc, type GrpcClient, GrpcError, GrpcServer } from "xdooria/grpc"
import { GrpcClientLive, GrpcServerLive } from "xdooria/grpc/live"
import type { Leaderboard } from "xdooria/leaderboard"
import { LoggerTest } from "xdooria/logger"
import type { PgError } from "xdooria/pg"
import type { RedisFailure } from "xdooria/redis"
import { GameApi } from "../../src/services/game/api.ts"
import { GameApp } from "../../src/services/game/app.ts"

type Infra = Layer.Layer<SqlClient | Leaderboard, InvalidConfig | PgError | RedisFailure>

type Transport = Layer.Layer<GrpcServer | GrpcClient, InvalidConfig>

/** The game service on a transport and on infrastructure of the caller's choice. */
const on = (transport: Transport, infra: Infra) =>
  GameApp.pipe(
    Layer.provideMerge(transport),
    Layer.provideMerge(infra),
    Layer.provideMerge(Layer.mergeAll(LoggerTest, NodeFileSystem.layer)),
    Layer.provideMerge(ConfigTest({ server: { name: "game-service", port: 0 }, grpc: { drain_delay: 0 } }))
  )

/** On a free port. */
export const onFreePort = (infra: Infra) => on(Layer.merge(GrpcServerLive, GrpcClientLive), infra)

/** A typed client of the server in the context. */
export const connect = Effect.gen(function* () {
  const server = yield* GrpcServer
  return yield* Grpc.client(GameApi, { target: yield* server.address })
})

/** The fields that a call was refused for. */
const violationsOf = <A, E>(call: Effect.Effect<A, E>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.instanceOf(error, GrpcError)
    assert.strictEqual(error.reason._tag, "InvalidArgument")
    return error.reason._tag === "InvalidArgument" ? error.reason.violations : []
  })

/** What the game service promises, on a transport, a database and a store of boards. */
export const suite = (name: string, transport: Transport, infra: Infra) =>
  layer(on(transport, infra), { excludeTestServices: true })(name, (it) => {
    it.effect("answers the health check", () =>
      Effect.gen(function* () {
        const game = yield* connect
        assert.deepStrictEqual(yield* game.healthCheck({}), { status: "SERVING" })
      })
    )

    it.effect("creates a player at level 1 and reads it", () =>
      Effect.gen(function* () {
        const game = yield* connect
        const player = { id: "create.1", name: "Ann Ünal 你好", level: 1, exp: 0n }
        assert.deepStrictEqual(yield* game.createPlayer({ playerId: player.id, name: player.name }), { player })
        assert.deepStrictEqual(yield* game.getPlayer({ playerId: player.id }), { player })
      })
    )

    it.effect("refuses an id that is taken, and leaves its player alone", () =>
      Effect.gen(function* () {
        const game = yield* connect
        yield* game.createPlayer({ playerId: "taken", name: "first" })
        const error = yield* Effect.flip(game.createPlayer({ playerId: "taken", name: "second" }))
        assert.deepInclude(error, { _tag: "PlayerAlreadyExists", playerId: "taken" })
        const { player } = yield* game.getPlayer({ playerId: "taken" })
        assert.strictEqual(player?.name, "first")
      })
    )

    it.effect("answers PlayerNotFound for a player that there is not", () =>
      Effect.gen(function* () {
        const game = yield* connect
        const get = yield* Effect.flip(game.getPlayer({ playerId: "nobody" }))
        assert.deepInclude(get, { _tag: "PlayerNotFound", playerId: "nobody" })
        const gain = yield* Effect.flip(game.gainExp({ playerId: "nobody", requestId: "r", amount: 1n }))
        assert.deepInclude(gain, { _tag: "PlayerNotFound", playerId: "nobody" })
      })
    )

    it.effect("brings levels by the table, several with one gain", () =>
      Effect.gen(function* () {
        const game = yield* connect
        const playerId = "levels"
        yield* game.createPlayer({ playerId, name: "x" })
        const below = yield* game.gainExp({ playerId, requestId: "1", amount: 99n })
        assert.deepInclude(below, { levelsGained: 0, player: { id: playerId, name: "x", level: 1, exp: 99n } })
        const exact = yield* game.gainExp({ playerId, requestId: "2", amount: 1n })
        assert.deepInclude(exact, { levelsGained: 1, player: { id: playerId, name: "x", level: 2, exp: 100n } })
        const many = yield* game.gainExp({ playerId, requestId: "3", amount: 1_000_000n })
        assert.deepInclude(many, { levelsGained: 58, player: { id: playerId, name: "x", level: 60, exp: 1_000_100n } })
        const beyond = yield* game.gainExp({ playerId, requestId: "4", amount: 1n })
        assert.deepInclude(beyond, { levelsGained: 0, player: { id: playerId, name: "x", level: 60, exp: 1_000_101n } })
      })
    )

    it.effect("applies a gain once however often it is sent, and answers the same", () =>
      Effect.gen(function* () {
        const game = yield* connect
        const playerId = "once"
        yield* game.createPlayer({ playerId, name: "x" })
        const send = game.gainExp({ playerId, requestId: "same", amount: 150n })
        const answers = yield* Effect.all(
          Array.from({ length: 20 }, () => send),
          { concurrency: "unbounded" }
        )
        for (const answer of answers) assert.deepStrictEqual(answer, answers[0])
        yield* game.gainExp({ playerId, requestId: "another", amount: 1n })
        assert.deepStrictEqual(yield* send, answers[0])
        assert.strictEqual((yield* game.getPlayer({ playerId })).player?.exp, 151n)
      })
    )

    it.effect("adds up concurrent gains", () =>
      Effect.gen(function* () {
        const game = yield* connect
        const playerId = "sum"
        yield* game.createPlayer({ playerId, name: "x" })
        const gains = Array.from({ length: 60 }, (_, i) =>
          game.gainExp({ playerId, requestId: `r${i}`, amount: BigInt(i + 1) })
        )
        const answers = yield* Effect.all(gains, { concurrency: 30 })
        const { player } = yield* game.getPlayer({ playerId })
        assert.strictEqual(player?.exp, 1830n)
        assert.strictEqual(
          answers.reduce((sum, { levelsGained }) => sum + levelsGained, 0),
          player!.level - 1
        )
      })
    )

    it.effect("refuses a request id with another amount", () =>
      Effect.gen(function* () {
        const game = yield* connect
        const playerId = "reused"
        yield* game.createPlayer({ playerId, name: "x" })
        yield* game.gainExp({ playerId, requestId: "r", amount: 1n })
        const error = yield* Effect.flip(game.gainExp({ playerId, requestId: "r", amount: 2n }))
        assert.deepInclude(error, { _tag: "RequestIdReused", requestId: "r" })
        assert.strictEqual((yield* game.getPlayer({ playerId })).player?.exp, 1n)
      })
    )

    it.effect.each([
      { playerId: "", field: "player_id" },
      { playerId: "a b", field: "player_id" },
      { playerId: "a'; DROP TABLE players; --", field: "player_id" },
      { playerId: "a\u0000b", field: "player_id" },
      { playerId: "x".repeat(65), field: "player_id" }
    ])("refuses $playerId as an id, naming the field and not the value", ({ playerId, field }) =>
      Effect.gen(function* () {
        const game = yield* connect
        assert.deepStrictEqual(yield* violationsOf(game.getPlayer({ playerId })), [
          { field, description: "Expected 1 to 64 characters of A-Z a-z 0-9 . _ -" }
        ])
      })
    )

    it.effect.each([{ name: "" }, { name: "\u0000" }, { name: "a\u001b[31m" }, { name: "x".repeat(33) }])(
      "refuses a name that is empty, too long or has control characters (%#)",
      ({ name }) =>
        Effect.gen(function* () {
          const game = yield* connect
          const [violation] = yield* violationsOf(game.createPlayer({ playerId: "named", name }))
          assert.strictEqual(violation?.field, "name")
        })
    )

    it.effect.each([{ amount: 0n }, { amount: -1n }, { amount: 1_000_001n }, { amount: -(2n ** 63n) }])(
      "refuses $amount as an amount",
      ({ amount }) =>
        Effect.gen(function* () {
          const game = yield* connect
          assert.deepStrictEqual(yield* violationsOf(game.gainExp({ playerId: "p", requestId: "r", amount })), [
            { field: "amount", description: "Expected 1 to 1000000" }
          ])
        })
    )

    it.effect("keeps each player's best score, and says where it stands and stood", () =>
      Effect.gen(function* () {
        const game = yield* connect
        for (const playerId of ["board.ann", "board.bob"]) yield* game.createPlayer({ playerId, name: "x" })
        const submit = (playerId: string, score: bigint) => game.submitScore({ playerId, board: "arena", score })
        const standing = (playerId: string, score: bigint, rank: bigint) => ({ playerId, score, rank })
        assert.deepStrictEqual(yield* submit("board.ann", 100n), {
          standing: standing("board.ann", 100n, 1n),
          previous: undefined,
          improved: true
        })
        assert.deepStrictEqual((yield* submit("board.bob", 2n ** 62n)).standing, standing("board.bob", 2n ** 62n, 1n))
        assert.deepStrictEqual(yield* submit("board.ann", 99n), {
          standing: standing("board.ann", 100n, 2n),
          previous: standing("board.ann", 100n, 2n),
          improved: false
        })
        const all = [standing("board.bob", 2n ** 62n, 1n), standing("board.ann", 100n, 2n)]
        assert.deepStrictEqual(yield* game.getTop({ board: "arena", limit: 0 }), { standings: all, count: 2n })
        assert.deepStrictEqual((yield* game.getTop({ board: "arena", limit: 1 })).standings, all.slice(0, 1))
        assert.deepStrictEqual(yield* game.getRank({ board: "arena", playerId: "board.ann" }), { standing: all[1] })
        const around = yield* game.getAround({ board: "arena", playerId: "board.ann", distance: 0 })
        assert.deepStrictEqual(around.standings, all)
      })
    )

    it.effect("puts the lowest score of the sprint first, and lets equal ones share a rank", () =>
      Effect.gen(function* () {
        const game = yield* connect
        const scores = { "sprint.a": 30n, "sprint.b": 20n, "sprint.c": 20n }
        for (const [playerId, score] of Object.entries(scores)) {
          yield* game.createPlayer({ playerId, name: "x" })
          yield* game.submitScore({ playerId, board: "sprint", score })
        }
        const { standings } = yield* game.getTop({ board: "sprint", limit: 3 })
        assert.deepStrictEqual(
          standings.map(({ playerId, rank }) => [playerId, rank]),
          [
            ["sprint.b", 1n],
            ["sprint.c", 1n],
            ["sprint.a", 3n]
          ]
        )
      })
    )

    it.effect("takes scores of players only, and knows who has none", () =>
      Effect.gen(function* () {
        const game = yield* connect
        const submit = yield* Effect.flip(game.submitScore({ playerId: "nobody", board: "arena", score: 1n }))
        assert.deepInclude(submit, { _tag: "PlayerNotFound", playerId: "nobody" })
        const place = { playerId: "nobody", board: "arena" }
        for (const call of [
          Effect.asVoid(game.getRank(place)),
          Effect.asVoid(game.getAround({ ...place, distance: 3 }))
        ]) {
          assert.deepInclude(yield* Effect.flip(call), { _tag: "PlayerNotRanked", ...place })
        }
      })
    )

    it.effect("refuses a board, a limit and a distance that there are not, naming the field", () =>
      Effect.gen(function* () {
        const game = yield* connect
        const playerId = "p1"
        for (const [field, call] of [
          ["board", Effect.asVoid(game.getTop({ board: "arena:{x}", limit: 1 }))],
          ["board", Effect.asVoid(game.submitScore({ playerId, board: "", score: 1n }))],
          ["limit", Effect.asVoid(game.getTop({ board: "arena", limit: 101 }))],
          ["limit", Effect.asVoid(game.getTop({ board: "arena", limit: -1 }))],
          ["distance", Effect.asVoid(game.getAround({ playerId, board: "arena", distance: 50 }))],
          ["player_id", Effect.asVoid(game.getRank({ playerId: "a:b", board: "arena" }))]
        ] as const) {
          assert.deepStrictEqual(
            (yield* violationsOf<void, unknown>(call)).map((violation) => violation.field),
            [field]
          )
        }
      })
    )
  })

import { assert, layer } from "@effect/vitest"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { SqlClient } from "effect/sql/SqlClient"
import { Auth, type AuthError } from "xdooria/auth"
import { ConfigTest, type InvalidConfig } from "xdooria/config"
import { Grpc, type GrpcClient, GrpcError, GrpcServer, Principal } from "xdooria/grpc"
import { GrpcClientLive, GrpcServerLive } from "xdooria/grpc/live"
import type { Leaderboard } from "xdooria/leaderboard"
import { LoggerTest } from "xdooria/logger"
import { Pg, type PgError } from "xdooria/pg"
import type { RedisFailure } from "xdooria/redis"
import { Registry, RegistryEmbedded } from "xdooria/registry"
import { AuthServiceService } from "../../src/gen/auth.ts"
import { StorageUnavailable } from "../../src/services/errors.ts"
import { GameApi } from "../../src/services/game/api.ts"
import { GameApp } from "../../src/services/game/app.ts"
import { Push } from "../../src/services/gateway/Push.ts"

/** What the suite is run on. */
export type Infra = Layer.Layer<
  SqlClient | Leaderboard | Auth | Push,
  AuthError | InvalidConfig | PgError | RedisFailure
>

type Transport = Layer.Layer<GrpcServer | GrpcClient, InvalidConfig>

/** What the game asks of the auth service: its answer tells who asks. */
const accounts = Grpc.handlers(
  Grpc.api({ whoami: AuthServiceService.whoami }, { whoami: { errors: [StorageUnavailable] } }),
  Effect.succeed({
    whoami: Effect.fnUntraced(function* () {
      const { playerId, roles } = yield* Principal
      if (playerId === "profile.stored") return yield* new StorageUnavailable({ outcome: "not_applied" })
      if (playerId === "profile.broken") return yield* Effect.die("a bug")
      if (playerId === "profile.unknown") return { account: { playerId, name: "", roles: [], createdAt: 0n } }
      return { account: { playerId, name: `name of ${playerId}`, roles: [...roles], createdAt: 1_700_000_000n } }
    })
  })
)

/** The game service and the one that it asks, on a transport and on infrastructure of the caller's choice. */
const on = (transport: Transport, infra: Infra, grpc: Readonly<Record<string, number>> = {}) => {
  const config = ConfigTest({
    server: { name: "game-service", port: 0 },
    grpc: { drain_delay: 0, rate_limit: 0, ...grpc },
    auth: { secret: "a-secret-of-tests-alone-0123456789" }
  })
  const asked = Registry.layerSelf("auth-service").pipe(
    Layer.provideMerge(GrpcServer.serve(accounts)),
    Layer.provide(Layer.fresh(transport))
  )
  return GameApp.pipe(
    Layer.provideMerge(transport),
    Layer.provideMerge(asked),
    Layer.provideMerge(Auth.layerAuthenticator),
    Layer.provideMerge(Layer.merge(infra, RegistryEmbedded)),
    Layer.provideMerge(Layer.mergeAll(LoggerTest, NodeFileSystem.layer)),
    Layer.provideMerge(config)
  )
}

/** On a free port. */
export const onFreePort = (infra: Infra) => on(Layer.merge(GrpcServerLive, GrpcClientLive), infra)

type Game = Grpc.Client<typeof GameApi>

type Call = (request: unknown, options?: Grpc.CallOptions) => unknown

/** A typed client of the server in the context, whose calls are those of a player; by default of a game master. */
export const connect = Effect.fnUntraced(function* (
  playerId = "master",
  roles: ReadonlyArray<string> = playerId === "master" ? ["game-master"] : []
) {
  const server = yield* GrpcServer
  const game = yield* Grpc.client(GameApi, { target: yield* server.address })
  const { access } = yield* (yield* Auth).issue({ playerId, roles })
  const metadata = { authorization: `Bearer ${Redacted.value(access)}` }
  const calls = Object.entries<Call>(game as never).map(([name, call]) => [
    name,
    (request: unknown, options?: Grpc.CallOptions) => call(request, { ...options, metadata })
  ])
  return Object.fromEntries(calls) as Game
})

/** A client of a player who is there, at level 1. */
const joined = Effect.fnUntraced(function* (playerId: string) {
  const game = yield* connect(playerId)
  yield* game.createPlayer({ playerId: "", name: "x" })
  return game
})

/** The tags of the errors of calls, and `ok`. */
const outcome = <A, E extends { readonly _tag: string }, R>(call: Effect.Effect<A, E, R>) =>
  Effect.match(call, { onSuccess: () => "ok", onFailure: (error) => error._tag })

const gold = (amount: string) => ({ currency: "gold", amount })

/** The fields that a call was refused for. */
const violationsOf = <A, E>(call: Effect.Effect<A, E>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.instanceOf(error, GrpcError)
    assert.strictEqual(error.reason._tag, "InvalidArgument")
    return error.reason._tag === "InvalidArgument" ? error.reason.violations : []
  })

/** What the game service promises, on a transport, a database and a store of boards. */
export const suite = (name: string, transport: Transport, infra: Infra) =>
  // On a busy machine many that wait for one player take longer than a try of the client's.
  layer(on(transport, infra, { attempt_timeout: 10 }), { excludeTestServices: true })(name, (it) => {
    it.effect("answers the health check", () =>
      Effect.gen(function* () {
        const game = yield* connect()
        assert.deepStrictEqual(yield* game.healthCheck({}), { status: "SERVING" })
      })
    )

    it.effect("creates a player at level 1 and reads it", () =>
      Effect.gen(function* () {
        const game = yield* connect()
        const player = { id: "create.1", name: "Ann Ünal 你好", level: 1, exp: 0n }
        assert.deepStrictEqual(yield* game.createPlayer({ playerId: player.id, name: player.name }), { player })
        assert.deepStrictEqual(yield* game.getPlayer({ playerId: player.id }), { player })
      })
    )

    it.effect("refuses an id that is taken, and leaves its player alone", () =>
      Effect.gen(function* () {
        const game = yield* connect()
        yield* game.createPlayer({ playerId: "taken", name: "first" })
        const error = yield* Effect.flip(game.createPlayer({ playerId: "taken", name: "second" }))
        assert.deepInclude(error, { _tag: "PlayerAlreadyExists", playerId: "taken" })
        const { player } = yield* game.getPlayer({ playerId: "taken" })
        assert.strictEqual(player?.name, "first")
      })
    )

    it.effect("answers PlayerNotFound for a player that there is not", () =>
      Effect.gen(function* () {
        const game = yield* connect()
        const get = yield* Effect.flip(game.getPlayer({ playerId: "nobody" }))
        assert.deepInclude(get, { _tag: "PlayerNotFound", playerId: "nobody" })
        const gain = yield* Effect.flip(game.gainExp({ playerId: "nobody", requestId: "r", amount: 1n }))
        assert.deepInclude(gain, { _tag: "PlayerNotFound", playerId: "nobody" })
      })
    )

    it.effect("brings levels by the table, several with one gain", () =>
      Effect.gen(function* () {
        const game = yield* connect()
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
        const game = yield* connect()
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
        const game = yield* connect()
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
        const game = yield* connect()
        const playerId = "reused"
        yield* game.createPlayer({ playerId, name: "x" })
        yield* game.gainExp({ playerId, requestId: "r", amount: 1n })
        const error = yield* Effect.flip(game.gainExp({ playerId, requestId: "r", amount: 2n }))
        assert.deepInclude(error, { _tag: "RequestIdReused", requestId: "r" })
        assert.strictEqual((yield* game.getPlayer({ playerId })).player?.exp, 1n)
      })
    )

    it.effect.each([
      { playerId: "..", field: "player_id" },
      { playerId: "a b", field: "player_id" },
      { playerId: "a'; DROP TABLE players; --", field: "player_id" },
      { playerId: "a\u0000b", field: "player_id" },
      { playerId: "x".repeat(65), field: "player_id" }
    ])("refuses $playerId as an id, naming the field and not the value", ({ playerId, field }) =>
      Effect.gen(function* () {
        const game = yield* connect()
        assert.deepStrictEqual(yield* violationsOf(game.getPlayer({ playerId })), [
          {
            field,
            description: "Expected 1 to 64 characters of A-Z a-z 0-9 . _ -, not dots alone, or none"
          }
        ])
      })
    )

    it.effect.each([
      { name: "" },
      { name: "\u0000" },
      { name: "a\u001b[31m" },
      { name: "x".repeat(33) },
      { name: "  " },
      { name: "\u3164" },
      { name: "a " }
    ])("refuses a name that is empty, too long, not to be seen or has control characters (%#)", ({ name }) =>
      Effect.gen(function* () {
        const game = yield* connect()
        const [violation] = yield* violationsOf(game.createPlayer({ playerId: "named", name }))
        assert.strictEqual(violation?.field, "name")
      })
    )

    it.effect.each([{ amount: 0n }, { amount: -1n }, { amount: 1_000_001n }, { amount: -(2n ** 63n) }])(
      "refuses $amount as an amount",
      ({ amount }) =>
        Effect.gen(function* () {
          const game = yield* connect()
          assert.deepStrictEqual(yield* violationsOf(game.gainExp({ playerId: "p", requestId: "r", amount })), [
            { field: "amount", description: "Expected 1 to 1000000" }
          ])
        })
    )

    it.effect("keeps each player's best score, and says where it stands and stood", () =>
      Effect.gen(function* () {
        const game = yield* connect()
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

    it.effect("takes only so many scores of a caller", () =>
      Effect.gen(function* () {
        const game = yield* joined("board.flood")
        const other = yield* joined("board.calm")
        const submit = (game: Game) => game.submitScore({ playerId: "", board: "sprint", score: 9_000n })
        const refusals = yield* Effect.all(
          Array.from({ length: 80 }, () => Effect.flip(submit(game)).pipe(Effect.option)),
          { concurrency: "unbounded" }
        )
        const reasons = refusals.flatMap(Option.toArray).map((error) => error._tag === "GrpcError" && error.reason._tag)
        assert.deepStrictEqual([...new Set(reasons)], ["ResourceExhausted"])
        assert.isAtMost(reasons.length, 20)
        yield* submit(other)
      })
    )

    it.effect("puts the lowest score of the sprint first, and lets equal ones share a rank", () =>
      Effect.gen(function* () {
        const game = yield* connect()
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
        const game = yield* connect()
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
        const game = yield* connect()
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

    it.effect("lets nobody in without a token, but for the health check", () =>
      Effect.gen(function* () {
        const target = yield* (yield* GrpcServer).address
        const game = yield* Grpc.client(GameApi, { target })
        assert.deepStrictEqual(yield* game.healthCheck({}), { status: "SERVING" })
        const { healthCheck: _, ...methods } = GameApi.definition
        assert.lengthOf(Object.keys(methods), 13)
        for (const [name, { requestDeserialize }] of Object.entries<Grpc.Method>(methods)) {
          const call = game[name as keyof Game] as Call
          const empty = requestDeserialize(Buffer.alloc(0))
          const error = yield* Effect.flip(call(empty) as Effect.Effect<unknown, GrpcError>)
          assert.strictEqual(error.reason?._tag, "Unauthenticated", name)
        }
      })
    )

    it.effect("takes the caller for the player when none is named", () =>
      Effect.gen(function* () {
        const game = yield* joined("self")
        yield* game.gainExp({ playerId: "", requestId: "r", amount: 5n })
        yield* game.submitScore({ playerId: "", board: "arena", score: -5n })
        assert.deepInclude((yield* game.getPlayer({ playerId: "" })).player, { id: "self", exp: 5n })
        assert.deepInclude((yield* game.getPlayer({ playerId: "self" })).player, { id: "self", exp: 5n })
        const { standing } = yield* game.getRank({ playerId: "", board: "arena" })
        assert.deepInclude(standing, { playerId: "self", score: -5n })
        const around = yield* game.getAround({ playerId: "", board: "arena", distance: 1 })
        assert.isTrue(around.standings.some(({ playerId }) => playerId === "self"))
        assert.lengthOf((yield* game.getWallet({ playerId: "" })).balances, 2)
        assert.deepStrictEqual(yield* game.listLedger({ playerId: "", before: 0n, limit: 0 }), { entries: [] })
        assert.deepStrictEqual(yield* game.getInventory({ playerId: "" }), { items: [] })
      })
    )

    it.effect("keeps what is another's from all but game masters", () =>
      Effect.gen(function* () {
        const playerId = "another"
        yield* joined(playerId)
        const eve = yield* joined("eve")
        const admin = yield* connect("root", ["admin"])
        const master = yield* connect()
        const change = { requestId: "r", change: gold("5.00"), reason: "gift" }
        const calls = (game: Game) => ({
          createPlayer: outcome(game.createPlayer({ playerId: `${playerId}.s`, name: "x" })),
          getPlayer: outcome(game.getPlayer({ playerId })),
          gainExp: outcome(game.gainExp({ playerId, requestId: "r", amount: 1n })),
          submitScore: outcome(game.submitScore({ playerId, board: "sprint", score: 900n })),
          getRank: outcome(game.getRank({ playerId, board: "sprint" })),
          getAround: outcome(game.getAround({ playerId, board: "sprint", distance: 1 })),
          getWallet: outcome(game.getWallet({ playerId })),
          listLedger: outcome(game.listLedger({ playerId, before: 0n, limit: 1 })),
          changeWallet: outcome(game.changeWallet({ playerId, ...change })),
          getInventory: outcome(game.getInventory({ playerId })),
          buy: outcome(game.buy({ playerId, requestId: "r", item: "potion", quantity: 1n }))
        })
        for (const game of [eve, admin]) {
          const outcomes = new Set(Object.values(yield* Effect.all(calls(game))))
          assert.deepStrictEqual([...outcomes], ["NotAllowed"])
        }
        const error = yield* Effect.flip(eve.getWallet({ playerId }))
        assert.deepInclude(error, { _tag: "NotAllowed", role: "game-master" })
        assert.deepStrictEqual((yield* master.getWallet({ playerId })).balances[0], gold("0.00"))
        const outcomes = new Set(Object.values(yield* Effect.all(calls(master))))
        assert.deepStrictEqual([...outcomes], ["ok"])
        assert.strictEqual(yield* outcome(eve.changeWallet({ playerId: "", ...change })), "NotAllowed")
        assert.deepStrictEqual((yield* eve.getWallet({ playerId: "" })).balances[0], gold("0.00"))
      })
    )

    it.effect("gives the caller's player with its account, asked in the caller's name", () =>
      Effect.gen(function* () {
        const game = yield* joined("profile")
        assert.deepStrictEqual(yield* game.getProfile({}), {
          player: { id: "profile", name: "x", level: 1, exp: 0n },
          accountName: "name of profile",
          accountCreatedAt: 1_700_000_000n
        })
        const absent = yield* connect("profile.absent")
        assert.strictEqual(yield* outcome(absent.getProfile({})), "PlayerNotFound")
        const broken = yield* joined("profile.broken")
        assert.strictEqual(yield* outcome(broken.getProfile({})), "AccountsUnavailable")
        const unknown = yield* joined("profile.unknown")
        assert.strictEqual(yield* outcome(unknown.getProfile({})), "AccountNotFound")
        const stored = yield* joined("profile.stored")
        assert.strictEqual(yield* outcome(stored.getProfile({})), "StorageUnavailable")
      })
    )

    it.effect("brings gold with each level, once, and tells the player", () =>
      Effect.gen(function* () {
        const playerId = "rich"
        const game = yield* joined(playerId)
        const push = yield* Push
        const gain = (requestId: string, amount: bigint) => game.gainExp({ playerId, requestId, amount })
        // Nobody waits for a push but this test.
        const told = (count: number) =>
          Effect.repeat(push.since(playerId, 0), { until: ({ messages }) => messages.length >= count })
        // It brings levels 2, 3 and 4.
        yield* Effect.all(
          Array.from({ length: 5 }, () => gain("a", 600n)),
          { concurrency: "unbounded" }
        )
        yield* told(1)
        yield* Effect.all([gain("a", 600n), gain("none", 1n), gain("b", 400n)])
        const { messages } = yield* told(2)
        assert.deepStrictEqual(
          messages.map(({ payload, topic }) => [topic, JSON.parse(payload)]),
          [
            ["level_up", { level: 4, levels_gained: 3, gold: "37.50" }],
            ["level_up", { level: 5, levels_gained: 1, gold: "17.50" }]
          ]
        )
        const { balances } = yield* game.getWallet({ playerId: "" })
        assert.deepStrictEqual(balances, [gold("55.00"), { currency: "gems", amount: "0" }])
        const { entries } = yield* game.listLedger({ playerId: "", before: 0n, limit: 0 })
        assert.deepStrictEqual(
          entries.map(({ requestId, change, balance, reason }) => [requestId, change, balance, reason]),
          [
            ["b", gold("17.50"), gold("55.00"), "level_up"],
            ["a", gold("37.50"), gold("37.50"), "level_up"]
          ]
        )
        // What gives by hand has request ids of its own.
        const gift = { playerId, requestId: "a", change: gold("1"), reason: "gift" }
        assert.deepInclude((yield* (yield* connect()).changeWallet(gift)).entry, { balance: gold("56.00") })
      })
    )

    it.effect("adds and takes exactly, once for a request id", () =>
      Effect.gen(function* () {
        const game = yield* connect()
        const playerId = "exact"
        yield* joined(playerId)
        const change = (requestId: string, amount: string) =>
          game.changeWallet({ playerId, requestId, change: gold(amount), reason: "test" })
        yield* change("1", "0.10")
        const { entry } = yield* change("2", "0.2")
        assert.deepInclude(entry, { requestId: "2", change: gold("0.20"), balance: gold("0.30"), reason: "test" })
        assert.deepStrictEqual(yield* change("2", "0.20"), { entry })
        assert.deepInclude((yield* change("3", "-0.30")).entry, { change: gold("-0.30"), balance: gold("0.00") })
        const gems = { playerId, requestId: "4", change: { currency: "gems", amount: "7" }, reason: "test" }
        assert.deepInclude((yield* game.changeWallet(gems)).entry, { balance: { currency: "gems", amount: "7" } })
        for (const other of [
          { change: gold("0.21") },
          { change: { currency: "gems", amount: "1" } },
          { reason: "another" },
          { requestId: "4", change: gold("7") }
        ]) {
          const request = { playerId, requestId: "2", change: gold("0.20"), reason: "test", ...other }
          const error = yield* Effect.flip(game.changeWallet(request))
          assert.deepInclude(error, { _tag: "RequestIdReused", requestId: request.requestId })
        }
        assert.deepStrictEqual((yield* game.getWallet({ playerId })).balances, [
          gold("0.00"),
          { currency: "gems", amount: "7" }
        ])
      })
    )

    it.effect("takes nothing that is not there, however many take at once, and its ledger adds up", () =>
      Effect.gen(function* () {
        const game = yield* connect()
        const playerId = "poor"
        yield* joined(playerId)
        const change = (requestId: string, amount: string) =>
          game.changeWallet({ playerId, requestId, change: gold(amount), reason: "test" })
        const none = yield* Effect.flip(change("none", "-0.01"))
        assert.deepInclude(none, { _tag: "InsufficientFunds", currency: "gold" })
        yield* change("first", "20.50")
        const takes = Array.from({ length: 60 }, (_, i) => outcome(change(`t${i % 40}`, "-1.00")))
        const outcomes = yield* Effect.all(takes, { concurrency: 30 })
        assert.isAtLeast(outcomes.filter((one) => one === "ok").length, 20)
        assert.deepStrictEqual([...new Set(outcomes)].toSorted(), ["InsufficientFunds", "ok"])
        assert.deepStrictEqual((yield* game.getWallet({ playerId })).balances[0], gold("0.50"))
        const { entries } = yield* game.listLedger({ playerId, before: 0n, limit: 100 })
        assert.strictEqual(entries.length, 21)
        const cents = entries.map(({ change }) => Math.round(Number(change?.amount) * 100))
        assert.strictEqual(
          cents.reduce((sum, one) => sum + one, 0),
          50
        )
      })
    )

    it.effect("keeps a wallet from going below 0 whoever writes", () =>
      Effect.gen(function* () {
        yield* joined("checked")
        const sql = yield* SqlClient
        const error = yield* Effect.flip(Pg.run(sql`INSERT INTO wallets VALUES ('checked', 'gold', -0.01)`))
        assert.strictEqual(error.reason._tag, "ConstraintViolation")
      })
    )

    it.effect("lists changes from the newest, page by page", () =>
      Effect.gen(function* () {
        const game = yield* connect()
        const playerId = "pages"
        yield* joined(playerId)
        for (let i = 1; i <= 5; i++) {
          yield* game.changeWallet({ playerId, requestId: `r${i}`, change: gold(`${i}`), reason: "test" })
        }
        const page = (before: bigint, limit: number) =>
          Effect.map(game.listLedger({ playerId, before, limit }), ({ entries }) => entries)
        const first = yield* page(0n, 2)
        assert.deepStrictEqual(
          first.map(({ requestId }) => requestId),
          ["r5", "r4"]
        )
        const rest = yield* page(first[1]!.id, 100)
        assert.deepStrictEqual(
          rest.map(({ requestId }) => requestId),
          ["r3", "r2", "r1"]
        )
        assert.deepStrictEqual(yield* page(rest[2]!.id, 1), [])
        assert.strictEqual((yield* page(0n, 0)).length, 5)
      })
    )

    it.effect("buys at the price of the shop, once for a request id", () =>
      Effect.gen(function* () {
        const playerId = "buyer"
        const game = yield* joined(playerId)
        const master = yield* connect()
        yield* master.changeWallet({ playerId, requestId: "r", change: gold("20"), reason: "test" })
        const buy = (requestId: string, item: string, quantity: bigint) =>
          game.buy({ playerId: "", requestId, item, quantity })
        const answers = yield* Effect.all(
          Array.from({ length: 10 }, () => buy("r", "potion", 3n)),
          { concurrency: "unbounded" }
        )
        for (const answer of answers) assert.deepStrictEqual(answer, answers[0])
        assert.deepStrictEqual(answers[0]?.item, { item: "potion", quantity: 3n })
        assert.deepInclude(answers[0]?.entry, {
          requestId: "r",
          change: gold("-7.50"),
          balance: gold("12.50"),
          reason: "purchase"
        })
        assert.deepStrictEqual((yield* buy("s", "potion", 1n)).item, { item: "potion", quantity: 4n })
        assert.deepStrictEqual(yield* buy("r", "potion", 3n), answers[0])
        yield* buy("t", "scroll", 1n)
        assert.deepStrictEqual(yield* game.getInventory({ playerId: "" }), {
          items: [
            { item: "potion", quantity: 4n },
            { item: "scroll", quantity: 1n }
          ]
        })
        assert.deepStrictEqual((yield* game.getWallet({ playerId: "" })).balances[0], gold("2.75"))
        assert.strictEqual(yield* outcome(buy("r", "potion", 2n)), "RequestIdReused")
        assert.strictEqual(yield* outcome(buy("r", "scroll", 3n)), "RequestIdReused")
      })
    )

    it.effect("sells nothing that is not for sale or not paid for, and brings none of it", () =>
      Effect.gen(function* () {
        const game = yield* joined("window")
        const buy = (item: string, quantity: bigint) => game.buy({ playerId: "", requestId: "r", item, quantity })
        assert.deepInclude(yield* Effect.flip(buy("moon", 1n)), { _tag: "ItemNotFound", item: "moon" })
        assert.deepInclude(yield* Effect.flip(buy("mount", 1n)), { _tag: "InsufficientFunds", currency: "gems" })
        assert.deepInclude(yield* Effect.flip(buy("sword", 1000n)), { _tag: "InsufficientFunds", currency: "gold" })
        assert.deepStrictEqual(yield* game.getInventory({ playerId: "" }), { items: [] })
        assert.deepStrictEqual(yield* game.listLedger({ playerId: "", before: 0n, limit: 0 }), { entries: [] })
      })
    )

    it.effect("lets none but a player have a wallet and items", () =>
      Effect.gen(function* () {
        const game = yield* connect()
        const playerId = "no-player"
        const outcomes = yield* Effect.all([
          outcome(game.getWallet({ playerId })),
          outcome(game.listLedger({ playerId, before: 0n, limit: 1 })),
          outcome(game.changeWallet({ playerId, requestId: "r", change: gold("1"), reason: "test" })),
          outcome(game.getInventory({ playerId })),
          outcome(game.buy({ playerId, requestId: "r", item: "potion", quantity: 1n }))
        ])
        assert.deepStrictEqual([...new Set(outcomes)], ["PlayerNotFound"])
      })
    )

    it.effect.each([
      "",
      "0",
      "-0.00",
      "1.234",
      "1e3",
      "NaN",
      "Infinity",
      "1,5",
      " 1",
      "+1",
      "0x10",
      "1000000000.01",
      "-1000000000.01",
      "9".repeat(60)
    ])("refuses %s as an amount", (amount) =>
      Effect.gen(function* () {
        const game = yield* connect()
        const request = { playerId: "p", requestId: "r", reason: "test" }
        const [violation] = yield* violationsOf(game.changeWallet({ ...request, change: gold(amount) }))
        assert.match(String(violation?.field), /^change/)
      })
    )

    it.effect("refuses a currency, an item, a quantity, a reason and a page that there are not, naming the field", () =>
      Effect.gen(function* () {
        const game = yield* connect()
        const wallet = { playerId: "p", requestId: "r", reason: "test", change: gold("1") }
        const purchase = { playerId: "p", requestId: "r", item: "potion", quantity: 1n }
        for (const [field, call] of [
          ["change", game.changeWallet({ ...wallet, change: { currency: "stones", amount: "1" } })],
          ["change", game.changeWallet({ ...wallet, change: { currency: "gems", amount: "1.5" } })],
          ["change", game.changeWallet({ ...wallet, change: undefined })],
          ["reason", game.changeWallet({ ...wallet, reason: "a b" })],
          ["request_id", game.changeWallet({ ...wallet, requestId: "" })],
          ["request_id", game.buy({ ...purchase, requestId: "x".repeat(65) })],
          ["item", game.buy({ ...purchase, item: "A potion" })],
          ["quantity", game.buy({ ...purchase, quantity: 0n })],
          ["quantity", game.buy({ ...purchase, quantity: -1n })],
          ["quantity", game.buy({ ...purchase, quantity: 1001n })],
          ["limit", game.listLedger({ playerId: "p", before: 0n, limit: 101 })],
          ["before", game.listLedger({ playerId: "p", before: -1n, limit: 1 })]
        ] as const) {
          const [violation] = yield* violationsOf<unknown, unknown>(call)
          assert.strictEqual(violation?.field.split(".")[0], field)
        }
      })
    )
  })

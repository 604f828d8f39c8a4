import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { ConfigTest } from "xdooria/config"
import { Grpc, GrpcServer } from "xdooria/grpc"
import { GrpcServerLive } from "xdooria/grpc/live"
import { LoggerTest } from "xdooria/logger"
import { faultsOf, type Held, reconcile } from "../../src/cli/demo/reconcile.ts"
import type { Player } from "../../src/cli/demo/Player.ts"
import { summaryOf } from "../../src/cli/demo/show.ts"
import { kindOf, Tally } from "../../src/cli/demo/Tally.ts"
import { Truth } from "../../src/cli/demo/Truth.ts"
import { AuthServiceService } from "../../src/gen/auth.ts"
import { GameServiceService, type LedgerEntry } from "../../src/gen/game.ts"
import { GatewayServiceService } from "../../src/gen/gateway.ts"
import * as Xdooria from "./Xdooria.ts"

const gold = (amount: string) => ({ currency: "gold", amount })

const entry = (id: bigint, reason: string, requestId: string, change: string, balance: string): LedgerEntry => ({
  id,
  requestId,
  change: gold(change),
  balance: gold(balance),
  reason,
  at: 0n
})

/** What the services said to a player. */
const truth = new Truth()
truth.gained("g1", 60n, 0)
truth.gained("g2", 60n, 1)
truth.bought("b1", "potion", 2n)
truth.scored("arena", 10n)
truth.scored("arena", 7n)
truth.scored("sprint", 10n)
truth.scored("sprint", 7n)

const reward = entry(1n, "level_up", "g2", "50.00", "50.00")
const purchase = entry(2n, "purchase", "b1", "-12.50", "37.50")

/** What they hold of it, when they keep that. */
const kept: Held = {
  exp: 120n,
  level: 2,
  balances: [gold("37.50"), { currency: "gems", amount: "0" }],
  ledger: [reward, purchase],
  items: new Map([["potion", 2n]]),
  best: new Map([
    ["arena", 10n],
    ["sprint", 7n]
  ])
}

/** What is held otherwise, and what is said of it. */
const differences: ReadonlyArray<readonly [string, Partial<Held>, ReadonlyArray<string>]> = [
  ["a gain that was lost", { exp: 60n }, ["progress exp: 120 by the answers, 60 in the services"]],
  ["a gain that was done twice", { exp: 180n }, ["progress exp: 120 by the answers, 180 in the services"]],
  ["another level", { level: 3 }, ["progress level: 2 by the answers, 3 in the services"]],
  ["an item that was lost", { items: new Map() }, ["item potion: 2 by the answers, 0 in the services"]],
  [
    "another number of an item",
    { items: new Map([["potion", 4n]]) },
    ["item potion: 2 by the answers, 4 in the services"]
  ],
  [
    "an item that nobody bought",
    { items: new Map([...kept.items, ["sword", 1n]]) },
    ["item sword: 0 by the answers, 1 in the services"]
  ],
  [
    "a worse score",
    { best: new Map([...kept.best, ["sprint", 10n]]) },
    ["score sprint: 7 by the answers, 10 in the services"]
  ],
  ["a score that was lost", { best: new Map([["sprint", 7n]]) }, ["score arena: 10 by the answers, 0 in the services"]],
  [
    "a purchase that was lost",
    { ledger: [reward], balances: [gold("50.00")] },
    ["purchase b1 was acknowledged and is there 0 times"]
  ],
  [
    "a purchase that was paid for twice",
    { ledger: [reward, purchase, entry(3n, "purchase", "b1", "-12.50", "25.00")], balances: [gold("25.00")] },
    ["purchase b1 was acknowledged and is there 2 times"]
  ],
  [
    "a purchase of nobody's",
    { ledger: [reward, purchase, entry(3n, "purchase", "b9", "-12.50", "25.00")], balances: [gold("25.00")] },
    ["purchase b9 was never acknowledged and is there 1 times"]
  ],
  [
    "a reward that was lost",
    { ledger: [entry(2n, "purchase", "b1", "-12.50", "-12.50")], balances: [gold("-12.50")] },
    ["reward g2 was acknowledged and is there 0 times"]
  ],
  [
    "a reward that was given twice",
    { ledger: [reward, purchase, entry(3n, "level_up", "g2", "50.00", "87.50")], balances: [gold("87.50")] },
    ["reward g2 was acknowledged and is there 2 times"]
  ],
  [
    "a reward for a gain without a level",
    { ledger: [reward, purchase, entry(3n, "level_up", "g1", "50.00", "87.50")], balances: [gold("87.50")] },
    ["reward g1 was never acknowledged and is there 1 times"]
  ],
  ["a wrong balance", { balances: [gold("37.51")] }, ["has 37.51 gold, its ledger 37.5"]],
  [
    "a balance without a ledger",
    { balances: [...kept.balances, { currency: "wood", amount: "1" }] },
    ["has 1 wood, its ledger 0"]
  ],
  ["a ledger without a balance", { balances: [] }, ["has no gold, its ledger 37.5"]],
  [
    "an entry whose balance is not the sum up to it",
    { ledger: [{ ...reward, balance: gold("51.00") }, purchase] },
    ["entry 1 leaves 51.00 gold, the changes up to it 50"]
  ]
]

describe("faultsOf", () => {
  it("finds nothing when all is as it was said", () => {
    assert.deepStrictEqual(faultsOf(truth, kept), [])
    const given = entry(3n, "gift", "c1", "0.50", "38.00")
    assert.deepStrictEqual(faultsOf(truth, { ...kept, ledger: [...kept.ledger, given], balances: [gold("38.00")] }), [])
    const fresh = { exp: 0n, level: 1, balances: [gold("0.00")], ledger: [], items: new Map(), best: new Map() }
    assert.deepStrictEqual(faultsOf(new Truth(), fresh), [])
  })

  it.each(differences)("finds %s", (_, held, faults) => {
    assert.deepStrictEqual(faultsOf(truth, { ...kept, ...held }), faults)
  })

  it("finds all that differs at once", () => {
    const held = { ...kept, exp: 0n, items: new Map(), best: new Map(), ledger: [], balances: [gold("1.00")] }
    assert.strictEqual(faultsOf(truth, held).length, 7)
  })
})

/** A player whose services hold what is given. */
const playerWith = (held: Held, rest: Partial<Player> = {}): Player => {
  const game = {
    getPlayer: () => Effect.succeed({ player: { exp: held.exp, level: held.level } }),
    getWallet: () => Effect.succeed({ balances: held.balances }),
    getInventory: () => Effect.succeed({ items: [...held.items].map(([item, quantity]) => ({ item, quantity })) }),
    getRank: ({ board }: { readonly board: "arena" | "sprint" }) =>
      Effect.succeed({ standing: { score: held.best.get(board) } }),
    listLedger: ({ before, limit }: { readonly before: bigint; readonly limit: number }) => {
      const entries = held.ledger.filter(({ id }) => before === 0n || id < before)
      return Effect.succeed({ entries: entries.toReversed().slice(0, limit) })
    }
  }
  const account = { call: (send: (options: object) => unknown) => send({}), game }
  // Of a player this is what is asked for.
  return { name: "ann", account, truth, pending: () => undefined, ...rest } as unknown as Player
}

describe("reconcile", () => {
  it.effect("reads the whole ledger, page after page", () =>
    Effect.gen(function* () {
      const gifts = Array.from({ length: 250 }, (_, i) => entry(BigInt(i + 3), "gift", `c${i}`, "1.00", `${38 + i}.50`))
      const ledger = [...kept.ledger, ...gifts]
      assert.deepStrictEqual(yield* reconcile(playerWith({ ...kept, ledger, balances: [gold("287.50")] })), [])
      const [fault] = yield* reconcile(playerWith({ ...kept, ledger, balances: [gold("288.50")] }))
      assert.strictEqual(fault, "ann: has 288.50 gold, its ledger 287.5")
    })
  )

  it.effect("first sends what was on its way again", () =>
    Effect.gen(function* () {
      const told = new Truth()
      const change = { _tag: "Gain", requestId: "g", amount: 5n } as const
      const player = playerWith(
        { exp: 5n, level: 1, balances: [], ledger: [], items: new Map(), best: new Map() },
        { truth: told, pending: () => change, settle: () => Effect.sync(() => told.gained("g", 5n, 0)) }
      )
      assert.deepStrictEqual(yield* reconcile(player), [])
      assert.strictEqual(told.changes, 1)
    })
  )

  it.effect("says when the services do not answer, or fail", () =>
    Effect.gen(function* () {
      const pending = () => ({ _tag: "Score", board: "arena", score: 1n }) as const
      const failing = playerWith(kept, { pending, settle: () => Effect.fail({ _tag: "PlayerNotFound" }) })
      assert.deepStrictEqual(yield* reconcile(failing), ["ann: it cannot be asked: PlayerNotFound"])
      const silent = yield* Effect.forkChild(reconcile(playerWith(kept, { pending, settle: () => Effect.never })))
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* Fiber.join(silent), ["ann: the services gave no answer for 30 s"])
    })
  )
})

describe("what the demo says", () => {
  it("is clean without a difference, or how many there are and the first 20 of them", () => {
    const tally = new Tally()
    tally.failed({ _tag: "GrpcError", reason: { _tag: "Unavailable" } })
    tally.failed({ _tag: "GrpcError", reason: { _tag: "Unavailable" } })
    tally.failed({ _tag: "SessionEnded", reason: "superseded" })
    tally.away(1_234)
    tally.away(5)
    const clean = summaryOf(tally, []).split("\n")
    assert.deepStrictEqual(clean.slice(1), [
      "failed tries: Unavailable 2, SessionEnded (superseded) 1",
      "longest time without a connection: 1.2 s",
      "reconciliation: clean, 0 acknowledged changes are there once, and balances are their ledgers"
    ])
    const many = Array.from({ length: 21 }, (_, i) => `fault ${i}`)
    const told = summaryOf(tally, many).split("\n").slice(3)
    assert.deepStrictEqual(told, ["reconciliation: 21 differences", ...many.slice(0, 20).map((fault) => `  ${fault}`)])
  })

  it("counts a failure by its kind", () => {
    assert.strictEqual(kindOf({ _tag: "StorageUnavailable", outcome: "unknown" }), "StorageUnavailable (unknown)")
    assert.strictEqual(kindOf({ _tag: "Silent" }), "Silent")
  })
})

/** Services that answer every call, and keep nothing of what they were told: whoever asks has level 7 and a gem. */
const player = { id: "p", name: "p", level: 7, exp: 0n }
const standing = { playerId: "p", score: 0n, rank: 1n }
const tokens = { accessToken: "a", accessExpiresIn: 60n, refreshToken: "r", refreshExpiresIn: 60n }
const auth = Grpc.handlers(
  Grpc.api(
    { register: AuthServiceService.register, refresh: AuthServiceService.refresh },
    { register: { public: true }, refresh: { public: true } }
  ),
  Effect.succeed({
    register: () => Effect.succeed({ account: undefined, tokens }),
    refresh: () => Effect.succeed({ tokens })
  })
)
const { buy, createPlayer, gainExp, getInventory, getPlayer, getRank, getTop, getWallet, listLedger, submitScore } =
  GameServiceService
const open = { public: true } as const
const game = Grpc.handlers(
  Grpc.api(
    { buy, createPlayer, gainExp, getInventory, getPlayer, getRank, getTop, getWallet, listLedger, submitScore },
    {
      buy: open,
      createPlayer: open,
      gainExp: open,
      getInventory: open,
      getPlayer: open,
      getRank: open,
      getTop: open,
      getWallet: open,
      listLedger: open,
      submitScore: open
    }
  ),
  Effect.succeed({
    createPlayer: () => Effect.succeed({ player }),
    getPlayer: () => Effect.succeed({ player }),
    gainExp: () => Effect.succeed({ player, levelsGained: 0 }),
    buy: () => Effect.succeed({ item: undefined, entry: undefined }),
    submitScore: () => Effect.succeed({ standing, previous: undefined, improved: true }),
    getRank: () => Effect.succeed({ standing }),
    getTop: () => Effect.succeed({ standings: [], count: 0n }),
    getInventory: () => Effect.succeed({ items: [] }),
    getWallet: () => Effect.succeed({ balances: [{ currency: "gems", amount: "1" }] }),
    listLedger: () => Effect.succeed({ entries: [] })
  })
)
const welcome = { playerId: "p", gateway: "g", epoch: 1n, sequence: 0n, missed: false, series: "" }
const gateway = Grpc.handlers(
  Grpc.api(
    { healthCheck: GatewayServiceService.healthCheck, connect: GatewayServiceService.connect },
    { healthCheck: open, connect: open }
  ),
  Effect.succeed({
    healthCheck: () => Effect.succeed({ status: "SERVING" }),
    connect: () => Stream.concat(Stream.succeed({ message: { $case: "welcome", welcome } } as const), Stream.never)
  })
)

describe("xdooria demo", () => {
  it.live("tells what was not kept, of whom, and fails", () =>
    Effect.gen(function* () {
      const server = yield* GrpcServer
      const addr = yield* server.address
      const { code, stderr, stdout } = yield* Xdooria.run(["demo", "--players", "1", "--seconds", "1", "--addr", addr])
      assert.strictEqual(code, 1, stdout)
      assert.match(stdout, /\n {2}demo-\w+-1: progress level: 1 by the answers, 7 in the services\n/)
      assert.match(stdout, /\n {2}demo-\w+-1: has 1 gems, its ledger 0\n/)
      assert.match(stderr, /\d differences between what the services said and what they hold/)
    }).pipe(
      Effect.provide(
        GrpcServer.serve(auth, game, gateway).pipe(
          Layer.provideMerge(GrpcServerLive),
          Layer.provide(LoggerTest),
          Layer.provide(ConfigTest({ server: { port: 0 }, grpc: { drain_delay: 0, grace: 0.1 } }))
        )
      )
    )
  )
})

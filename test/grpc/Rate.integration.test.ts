// Rates that instances share, on real Redis servers, and without them.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { Authenticator, Grpc, GrpcServer, RateLimits } from "xdooria/grpc"
import { layerClientLive, layerServerLive } from "xdooria/grpc/live"
import { LoggerTest } from "xdooria/logger"
import * as Rate from "../../src/grpc/internal/rate.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as RealServer from "../support/RealServer.ts"
import { client, driver, eventually, freshPrefix, type Options, single, suites } from "../support/RedisBackends.ts"
import { answering, PlayerService } from "./Game.ts"

const method = "game.GameService/GainExp"
/** Long enough that nothing is given back while a test runs. */
const rule = { limit: 4, window: "10 minutes", by: "principal" } as const

const sharedOn = (options: Options, keyPrefix: string) =>
  Effect.flatMap(client(options, { keyPrefix }), (context) =>
    Layer.build(RateLimits.layerRedis.pipe(Layer.provide(Layer.succeedContext(context))))
  )

/** The rate of an instance of its own, with a client of its own. */
const instance = (options: Options, keyPrefix: string) =>
  Effect.flatMap(sharedOn(options, keyPrefix), (context) =>
    Effect.map(Effect.context<never>(), (given) => {
      const rate = Rate.make(method, rule, Context.merge(given, context))
      return (caller: string): Effect.Effect<boolean> =>
        Effect.suspend(() => {
          const known = rate.check(caller)
          return typeof known === "boolean" ? Effect.succeed(known) : known
        })
    })
  )

suites("rates that instances share", (options) => {
  it.live("hold for all of them, for each caller", () =>
    Effect.gen(function* () {
      const prefix = freshPrefix()
      const [here, there] = [yield* instance(options, prefix), yield* instance(options, prefix)]
      const said: Array<boolean> = []
      for (const check of [here, there, here, there, here, there]) said.push(yield* check("a"))
      assert.deepStrictEqual(said, [true, true, true, true, false, false])
      assert.isTrue(yield* there("b"))
      assert.isTrue(yield* here("玩家 {b}"))
    }).pipe(Effect.provide(LoggerTest), Effect.scoped)
  )
})

RealServer.suite("redis", "rates that instances share, when Redis is away", (address) => {
  const options = single(address)

  /** Two instances, one of them behind a proxy, and what Redis has counted. */
  const setup = Effect.gen(function* () {
    const keyPrefix = freshPrefix()
    const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
    const here = yield* instance({ addrs: [`127.0.0.1:${proxy.port}`] }, keyPrefix)
    const native = yield* driver(options)
    const keys = Effect.promise(() => native.keys(`${keyPrefix}*`))
    const counted = (caller: string) =>
      Effect.promise(() => native.get(`${keyPrefix}xd:rate:${method}:principal:{${caller}}`))
    return { counted, here, keys, native, proxy }
  })

  const faults = {
    "says nothing": (proxy: FaultProxy.FaultProxy) => proxy.blackhole,
    "is slow": (proxy: FaultProxy.FaultProxy) => proxy.delay(5000),
    "does not answer": (proxy: FaultProxy.FaultProxy) => proxy.dropReplies
  }
  for (const [name, inject] of Object.entries(faults)) {
    it.live(`are those of each instance while it ${name}, and shared again after that`, () =>
      Effect.gen(function* () {
        const { counted, here, proxy } = yield* setup
        assert.isTrue(yield* here("a"))
        assert.strictEqual(yield* counted("a"), "1")
        yield* inject(proxy)
        const said: Array<boolean> = []
        for (let call = 0; call < 5; call++) said.push(yield* here("b"))
        assert.deepStrictEqual(said, [true, true, true, true, false])
        yield* proxy.heal
        let callers = 0
        yield* eventually(
          "counted by Redis",
          Effect.gen(function* () {
            const caller = `c${callers++}`
            assert.isTrue(yield* here(caller))
            return (yield* counted(caller)) === "1"
          })
        )
      }).pipe(Effect.provide(LoggerTest), Effect.scoped)
    )
  }

  it.live("are kept for a window and no longer", () =>
    Effect.gen(function* () {
      const { here, keys, native } = yield* setup
      yield* here("a")
      yield* here("a")
      const [key, ...others] = yield* keys
      assert.deepStrictEqual(others, [])
      const left = yield* Effect.promise(() => native.pttl(key!))
      assert.isAtMost(left, 2 * 150_000)
      assert.isAbove(left, 150_000)
    }).pipe(Effect.provide(LoggerTest), Effect.scoped)
  )

  describe("below servers", () => {
    const api = Grpc.api(PlayerService, {
      getPlayer: { public: true },
      gainExp: { rate: rule },
      createPlayer: { public: true },
      healthCheck: { public: true }
    })
    const served = Grpc.handlers(api, Effect.succeed(answering))
    const rooms = Layer.mergeAll(
      layerServerLive({ port: 0, env: "test", drainDelay: Duration.zero }),
      layerClientLive(),
      Authenticator.layerStatic({ ann: { playerId: "ann", roles: [], tokenId: "t1" } })
    )

    it.live("hold for two of them together", () =>
      Effect.gen(function* () {
        const prefix = freshPrefix()
        const start = Effect.gen(function* () {
          const shared = yield* sharedOn(options, prefix)
          const context = yield* Layer.build(
            GrpcServer.serve(served).pipe(Layer.provideMerge(rooms), Layer.provide(Layer.succeedContext(shared)))
          )
          const target = yield* Context.get(context, GrpcServer).address
          const game = yield* Grpc.client(api, { target }).pipe(Effect.provide(context))
          const metadata = { authorization: "Bearer ann" }
          return { call: game.gainExp({ playerId: "ann", requestId: "r1", amount: 1n }, { metadata }) }
        })
        const [here, there] = [yield* start, yield* start]
        const said: Array<boolean> = []
        for (const { call } of [here, there, here, there, here, there]) {
          said.push(Exit.isSuccess(yield* Effect.exit(call)))
        }
        assert.deepStrictEqual(said, [true, true, true, true, false, false])
      }).pipe(Effect.provide(LoggerTest), Effect.scoped)
    )
  })
})

import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { GrpcClient } from "xdooria/grpc"
import { GrpcClientLive } from "xdooria/grpc/live"
import { AuthEmbedded } from "xdooria/auth/embedded"
import { LeaderboardEmbedded } from "xdooria/leaderboard"
import { layerLive } from "xdooria/pg/live"
import { launchServer, prepareServer, type PreparedServer } from "../../src/pg/internal/Server.ts"
import { Levels, LevelsLive } from "../../src/services/game/Levels.ts"
import { currencies } from "../../src/services/game/Money.ts"
import { PushEmbedded } from "../../src/services/gateway/PushEmbedded.ts"
import * as Fault from "../faults/Fault.ts"
import * as History from "../support/History.ts"
import { connect, onFreePort } from "./GameContract.ts"

type Game = Effect.Success<ReturnType<typeof connect>>

const playerId = "p1"

/** What the game stands on beside its database. */
const rooms = Layer.mergeAll(LeaderboardEmbedded, AuthEmbedded, PushEmbedded)

/** Starts effects at a rate, without waiting for those before: a slow answer must not slow the load. */
const atRate = <A>(rate: number, seconds: number, start: (i: number) => Effect.Effect<A>) =>
  Effect.gen(function* () {
    const begin = yield* Clock.currentTimeMillis
    const one = Effect.fnUntraced(function* (i: number) {
      const now = yield* Clock.currentTimeMillis
      yield* Effect.sleep(Math.max(0, begin + (i * 1000) / rate - now))
      yield* start(i)
    })
    const indices = Array.from({ length: rate * seconds }, (_, i) => i)
    yield* Effect.forEach(indices, one, { concurrency: "unbounded", discard: true })
  })

/** The prepared server, running; `kill` ends it by SIGKILL and waits until it is gone. */
const launch = Effect.fnUntraced(function* (prepared: PreparedServer) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const server = yield* launchServer(prepared).pipe(
    // The sessions of a killed server hold its shared memory for a moment longer.
    Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 200 }),
    Scope.provide(scope)
  )
  const kill = Effect.andThen(
    Effect.sync(() => process.kill(server.pid, "SIGKILL")),
    Scope.close(scope, Exit.void)
  )
  return { server, kill }
})

/** Sends a gain until it is acknowledged: it is idempotent, so any other answer allows another try. */
const gain = (game: Game, history: History.History, requestId: string) =>
  game.gainExp({ playerId, requestId, amount: 1n }).pipe(
    Effect.tap(() => history.acked(requestId)),
    Effect.tapError((error) =>
      error._tag === "StorageUnavailable" && error.outcome === "not_applied"
        ? history.failed(requestId)
        : history.unknown(requestId)
    ),
    Effect.retry({ schedule: Schedule.spaced("100 millis"), times: 300 }),
    Effect.ignore
  )

const killDatabase = Fault.scenario({
  id: "DB-KILL",
  room: "services",
  servers: ["postgres"],
  title: "kill -9 of the database under 200 gains a second",
  scaled: { seconds: 1, kills: 1, awayMillis: 200 },
  full: { seconds: 20, kills: 3, awayMillis: 2_000 },
  run: ({ seconds, kills, awayMillis }) =>
    Effect.gen(function* () {
      const prepared = yield* prepareServer
      let running = yield* launch(prepared)
      const { host, port, user, password, database } = running.server
      const context = yield* Layer.build(
        onFreePort(Layer.merge(layerLive({ host, port, user, password, database }), rooms))
      )
      const game = yield* Effect.provideContext(connect(), context)
      yield* game.createPlayer({ playerId, name: "x" })
      const history = yield* History.make
      const fiber = yield* Effect.forkScoped(atRate(200, seconds, (i) => gain(game, history, `r${i}`)))
      for (let i = 0; i < kills; i++) {
        yield* Effect.sleep((seconds * 1000) / (kills + 1) - awayMillis)
        yield* running.kill
        yield* Effect.sleep(awayMillis)
        running = yield* launch(prepared)
        yield* history.healed
      }
      yield* Fiber.join(fiber)
      const sql = Context.get(context, SqlClient.SqlClient)
      const rows = yield* sql<{ readonly request_id: string }>`SELECT request_id FROM exp_gains`
      const { player } = yield* game.getPlayer({ playerId })
      const gold = (yield* game.getWallet({ playerId })).balances[0]?.amount
      const booked = yield* sql<{ readonly sum: string | null }>`SELECT sum(change) FROM ledger`
      const verdict = yield* history.verdict(rows.map((row) => row.request_id))
      const extra = {
        sent: 200 * seconds,
        exp: Number(player?.exp),
        gold: Number(gold),
        booked: Number(booked[0]?.sum),
        earned: Number(currencies.gold.format((yield* Levels).goldOf(1, player?.level ?? 1)))
      }
      return { ...verdict, extra }
    }).pipe(Effect.provide(LevelsLive.pipe(Layer.provide(NodeFileSystem.layer)))),
  judge: ({ acked, extra, recoverMs }) => [
    ...(extra.exp === acked ? [] : [`${acked} acknowledged gains of 1 made ${extra.exp} exp`]),
    ...(extra.gold === extra.booked ? [] : [`a balance of ${extra.gold} has a ledger of ${extra.booked}`]),
    ...(extra.gold === extra.earned ? [] : [`levels of ${extra.earned} gold brought ${extra.gold}`]),
    ...(acked === extra.sent ? [] : [`${extra.sent - acked} gains were never acknowledged`]),
    ...(recoverMs <= 3_000 ? [] : [`recovered ${recoverMs} ms after the return of the database`])
  ]
})

/** One of several servers on the same database, a client that outlives it, and how to stop it. */
const startServer = Effect.fnUntraced(function* (infra: ReturnType<typeof layerLive>) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const server = yield* Layer.buildWithScope(Layer.fresh(onFreePort(Layer.merge(infra, rooms))), scope)
  // A client of its own room would end with the server.
  const context = Context.merge(server, yield* Effect.context<GrpcClient>())
  const game = yield* Effect.provideContext(connect(), context)
  return { game, stop: Scope.close(scope, Exit.void) }
})

const rollingStop = Fault.scenario({
  id: "ROLLING",
  room: "services",
  servers: ["postgres"],
  title: "servers are replaced one after the other under load",
  scaled: { seconds: 1, rounds: 3 },
  full: { seconds: 30, rounds: 20 },
  run: ({ seconds, rounds }) =>
    Effect.gen(function* () {
      const { server } = yield* launch(yield* prepareServer)
      const { host, port, user, password, database } = server
      const infra = layerLive({ host, port, user, password, database })
      let newest = yield* startServer(infra)
      let refused = 0
      const history = yield* History.make
      // Not idempotent, so the client tells a call that was not accepted from one that was and got lost. Only the
      // former goes on to another server, and it goes on to the old one until that refuses it.
      const create = (id: string) => {
        let game = newest.game
        return Effect.suspend(() => game.createPlayer({ playerId: id, name: "x" })).pipe(
          Effect.tap(() => history.acked(id)),
          Effect.tapError((error) =>
            Effect.suspend(() => {
              if (error._tag !== "GrpcError" || !error.isSafeToRetry) return history.unknown(id)
              refused++
              game = newest.game
              return history.failed(id)
            })
          ),
          Effect.retry({ while: (error) => error._tag === "GrpcError" && error.isSafeToRetry, times: 100 }),
          Effect.ignore
        )
      }
      const fiber = yield* Effect.forkScoped(atRate(200, seconds, (i) => create(`p${i}`)))
      for (let i = 0; i < rounds; i++) {
        yield* Effect.sleep((seconds * 1000) / (rounds + 1))
        const old = newest
        const next = yield* startServer(infra)
        yield* old.stop.pipe(Effect.tap(() => Effect.sync(() => (newest = next))))
      }
      yield* Fiber.join(fiber)
      const applied = yield* Effect.provide(
        Effect.flatMap(SqlClient.SqlClient, (sql) => sql<{ readonly id: string }>`SELECT id FROM players`),
        infra
      )
      const verdict = yield* history.verdict(applied.map((row) => row.id))
      return { ...verdict, extra: { sent: 200 * seconds, refused } }
    }).pipe(Effect.provide(GrpcClientLive)),
  judge: ({ acked, extra, unknown }) => [
    ...(unknown === 0 ? [] : [`${unknown} accepted calls failed`]),
    ...(acked === extra.sent ? [] : [`${extra.sent - acked} calls were never acknowledged`])
  ]
})

export default [killDatabase, rollingStop]

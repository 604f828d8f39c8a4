// The three services as processes on real servers, players at two gateways, and what happens to them.
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as SqlClient from "effect/sql/SqlClient"
import * as Stream from "effect/Stream"
import { Grpc, GrpcError } from "xdooria/grpc"
import { layerClientLive } from "xdooria/grpc/live"
import { layerLive as layerPg } from "xdooria/pg/live"
import type { ConnectRequest } from "../../src/gen/gateway.ts"
import { AuthApi } from "../../src/services/auth/api.ts"
import { GameApi } from "../../src/services/game/api.ts"
import { GatewayApi } from "../../src/services/gateway/api.ts"
import * as Fault from "../faults/Fault.ts"
import * as History from "../support/History.ts"
import { load } from "../support/Rate.ts"
import * as Servers from "../support/Servers.ts"
import * as Fleet from "./Fleet.ts"

interface Params {
  readonly services: ReadonlyArray<Fleet.ServiceName>
  readonly players: number
  readonly reads: number
  readonly writes: number
  readonly millis: number
  readonly faultAtMillis: number
  /** How long a fault lasts that has an end. */
  readonly faultMillis: number
}

const scaled: Params = {
  services: ["auth", "game", "game", "gateway"],
  players: 4,
  reads: 40,
  writes: 10,
  millis: 3_000,
  faultAtMillis: 300,
  faultMillis: 1_000
}

const full: Params = {
  services: ["auth", "game", "game", "game", "gateway", "gateway"],
  players: 50,
  reads: 100,
  writes: 20,
  millis: 40_000,
  faultAtMillis: 5_000,
  faultMillis: 15_000
}

/** What the players saw. */
interface Seen {
  slowest: number
  longestAway: number
  connections: number
}

const postgres = Effect.suspend(() => {
  const address = Servers.servers.postgres
  return Servers.isMissing(address) ? Effect.die(new Error(address.missing)) : Effect.succeed(address)
})

/** The ids of all gains that were applied, one for each application. */
const appliedIn = (database: Servers.Addresses["postgres"]) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql<{ readonly request_id: string }>`SELECT request_id FROM exp_gains`
  ).pipe(
    Effect.map((rows) => rows.map((row) => row.request_id)),
    Effect.provide(layerPg({ ...database, password: Redacted.make(database.password), maxConns: 1 })),
    Effect.orDie
  )

/** Whether the experience of the players is the sum of their gains. */
const imbalanceIn = (database: Servers.Addresses["postgres"]) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql<{ readonly id: string }>`
      SELECT id FROM players LEFT JOIN exp_gains ON player_id = id
      GROUP BY id, players.exp HAVING players.exp <> coalesce(sum(amount), 0)`
  ).pipe(
    Effect.map((rows) => rows.length),
    Effect.provide(layerPg({ ...database, password: Redacted.make(database.password), maxConns: 1 })),
    Effect.orDie
  )

/** Players under load while something happens to the fleet. */
const underLoad = (
  params: Params,
  happen: (fleet: Fleet.Fleet, history: History.History) => Effect.Effect<Readonly<Record<string, number>> | void>
) =>
  Effect.gen(function* () {
    const fleet = yield* Fleet.start(yield* postgres, params.services)
    const gateways = fleet.instances.filter(({ service }) => service === "gateway")
    const context = yield* Layer.build(layerClientLive())
    const target = Grpc.endpoints(
      gateways.map(({ address }) => address),
      { keepalive: "true" }
    )
    const [auth, game, gateway] = yield* Effect.all([
      Grpc.client(AuthApi, { target }),
      Grpc.client(GameApi, { target }),
      Grpc.client(GatewayApi, { target })
    ]).pipe(Effect.provide(context))

    const enter = Effect.fnUntraced(function* (i: number) {
      const credentials = { name: `player${i}`, password: "correct horse battery staple" }
      const { tokens } = yield* auth.register(credentials, { waitForReady: true, deadline: "20 seconds" })
      const metadata = { authorization: `Bearer ${tokens!.accessToken}` }
      yield* game.createPlayer({ playerId: "", name: `P${i}` }, { metadata, waitForReady: true })
      return { metadata }
    })
    const players = yield* Effect.orDie(
      Effect.forEach(
        Array.from({ length: params.players }, (_, i) => i),
        enter,
        { concurrency: 4 }
      )
    )
    const playerOf = (i: number) => players[i % players.length]!

    const history = yield* History.make
    const failures = new Map<string, number>()
    const count = (what: string) => failures.set(what, (failures.get(what) ?? 0) + 1)
    const seen: Seen = { slowest: 0, longestAway: 0, connections: 0 }
    const deadline = Duration.seconds(3)

    const read = Effect.fnUntraced(function* (i: number) {
      const begin = yield* Clock.currentTimeMillis
      const exit = yield* Effect.exit(game.getPlayer({ playerId: "" }, { ...playerOf(i), deadline }))
      seen.slowest = Math.max(seen.slowest, (yield* Clock.currentTimeMillis) - begin)
      if (Exit.isSuccess(exit)) return
      const error = Option.getOrUndefined(Exit.findErrorOption(exit))
      count(`failed reads`)
      count(`read: ${error instanceof GrpcError ? error.reason._tag : (error?._tag ?? "defect")}`)
    })
    const write = Effect.fnUntraced(function* (i: number) {
      const requestId = `w${i}`
      const request = { playerId: "", requestId, amount: 1n }
      const exit = yield* Effect.exit(game.gainExp(request, { ...playerOf(i), deadline }))
      if (Exit.isSuccess(exit)) return yield* history.acked(requestId)
      const error = Option.getOrUndefined(Exit.findErrorOption(exit))
      count(`write: ${error instanceof GrpcError ? error.reason._tag : (error?._tag ?? "defect")}`)
      // A gain may be sent again, so an answer that is missing tells nothing of it.
      yield* history.unknown(requestId)
    })

    /** One player's connection: when it ends it is made again at once. */
    const follow = Effect.fnUntraced(function* (i: number) {
      let lostAt: number | undefined = yield* Clock.currentTimeMillis
      let lastSequence = 0n
      let series = ""
      const once = Effect.gen(function* () {
        const requests = yield* Queue.unbounded<ConnectRequest>()
        yield* Queue.offer(requests, { message: { $case: "hello", hello: { lastSequence, series, device: "" } } })
        yield* gateway.connect(Stream.fromQueue(requests), playerOf(i)).pipe(
          Stream.runForEach(({ message }) =>
            Effect.map(Clock.currentTimeMillis, (now) => {
              if (message?.$case === "pushed" && message.pushed.sequence > 0n) lastSequence = message.pushed.sequence
              if (message?.$case !== "welcome") return
              lastSequence = message.welcome.sequence
              series = message.welcome.series
              // It comes again with each series.
              if (lostAt === undefined) return
              seen.connections++
              seen.longestAway = Math.max(seen.longestAway, now - lostAt)
              lostAt = undefined
            })
          )
        )
      })
      return yield* Effect.forever(
        Effect.exit(once).pipe(
          Effect.andThen(Clock.currentTimeMillis),
          Effect.tap((now) => {
            lostAt ??= now
            return Effect.sleep("50 millis")
          })
        )
      )
    })
    const following = yield* Effect.forEach(players, (_, i) => Effect.forkChild(follow(i)))
    while (seen.connections < players.length) yield* Effect.sleep("20 millis")
    seen.longestAway = 0

    const fault = yield* Effect.forkChild(Effect.andThen(Effect.sleep(params.faultAtMillis), happen(fleet, history)))
    yield* Effect.all([load(params.reads, params.millis, read), load(params.writes, params.millis, write)], {
      concurrency: 2
    })
    const told = yield* Fiber.join(fault)
    yield* Fiber.interruptAll(following)
    const verdict = yield* history.verdict(yield* appliedIn(fleet.database))
    const imbalances = yield* imbalanceIn(fleet.database)
    return {
      ...verdict,
      extra: { ...seen, imbalances, ...told, ...Object.fromEntries(failures) } as Readonly<Record<string, number>>
    }
  })

/** Those that may go: all, unless there is one only. */
const others = (instances: ReadonlyArray<Fleet.Instance>) => (instances.length > 1 ? instances : [])

/** Stops an instance in order and starts it again. */
const roll = (instance: Fleet.Instance) => Effect.tap(instance.stop, () => instance.start)

const frozenFor = (instance: Fleet.Instance, millis: number) =>
  Effect.acquireUseRelease(
    instance.freeze,
    () => Effect.sleep(millis),
    () => instance.thaw
  )

const complaintsOf = ({ extra }: { readonly extra: Readonly<Record<string, number>> }, awayMillis: number) => [
  ...((extra["failed reads"] ?? 0) > 0 ? [`${extra["failed reads"]} failed reads`] : []),
  ...((extra["imbalances"] ?? 0) > 0 ? [`${extra["imbalances"]} players whose experience is not their gains`] : []),
  ...(extra["longestAway"]! > awayMillis ? [`a player was away for ${extra["longestAway"]} ms`] : [])
]

const servers = ["postgres", "redis", "etcd"] as const

const rolled = Fault.scenario({
  id: "F43/fleet",
  room: "fleet",
  title: "the games and the gateways are restarted one after the other",
  servers,
  scaled,
  full,
  run: (params) =>
    underLoad(params, (fleet) =>
      Effect.map(
        Effect.forEach([...Fleet.of(fleet, "game"), ...others(Fleet.of(fleet, "gateway"))], roll),
        (ended) => ({
          slowestExit: Math.max(...ended.map(({ millis }) => millis))
        })
      )
    ),
  judge: (measured) => [
    ...complaintsOf(measured, 2_000),
    ...(measured.unknown > 0 ? [`${measured.unknown} writes of unknown outcome`] : []),
    ...(measured.extra["slowestExit"]! > 11_000 ? [`an exit took ${measured.extra["slowestExit"]} ms`] : [])
  ]
})

const killed = Fault.scenario({
  id: "F44/fleet",
  room: "fleet",
  title: "a game is killed, then a gateway",
  servers,
  scaled: { ...scaled, services: ["auth", "game", "game", "gateway", "gateway"] },
  full,
  run: (params) =>
    underLoad(params, (fleet) =>
      Effect.gen(function* () {
        yield* Fleet.of(fleet, "game")[0]!.kill
        yield* Effect.sleep(params.faultMillis)
        yield* Fleet.of(fleet, "gateway")[0]!.kill
      })
    ),
  judge: (measured) => complaintsOf(measured, 2_000)
})

const frozen = Fault.scenario({
  id: "F45/fleet",
  room: "fleet",
  title: "a game is frozen, then a gateway",
  servers,
  scaled: { ...scaled, services: ["auth", "game", "game", "gateway", "gateway"], faultMillis: 500 },
  full,
  run: (params) =>
    underLoad(params, (fleet) =>
      Effect.gen(function* () {
        yield* frozenFor(Fleet.of(fleet, "game")[0]!, params.faultMillis)
        yield* frozenFor(Fleet.of(fleet, "gateway")[0]!, params.faultMillis)
      })
    ),
  judge: (measured) => complaintsOf(measured, 9_000)
})

const etcdAway = Fault.scenario({
  id: "F18/fleet",
  room: "fleet",
  title: "etcd is away: calls go on, and who starts meanwhile says what it misses",
  servers,
  scaled: { ...scaled, faultMillis: 100 },
  full: { ...full, faultMillis: 60_000, millis: 75_000 },
  run: (params) =>
    underLoad(params, (fleet, history) =>
      Effect.scoped(
        Effect.gen(function* () {
          yield* fleet.etcd.kill()
          const begin = yield* Clock.currentTimeMillis
          const refused = yield* Effect.exit(fleet.add("game"))
          const refusedAfter = (yield* Clock.currentTimeMillis) - begin
          const why = Exit.isFailure(refused) ? String(refused.cause) : "it started"
          const invisible = yield* fleet.add("game", { XDOORIA_REGISTRY_REQUIRED: "false" })
          yield* Effect.sleep(params.faultMillis)
          yield* fleet.etcd.restart.pipe(Effect.orDie)
          yield* history.healed
          return {
            refusedAfter,
            "refused without naming etcd": /etcd/i.test(why) ? 0 : 1,
            "served unregistered in silence": /etcd|registry/i.test(invisible.output()) ? 0 : 1
          }
        })
      )
    ),
  judge: (measured) => [
    ...complaintsOf(measured, 2_000),
    ...(measured.extra["refusedAfter"]! > 10_000 ? [`a start failed after ${measured.extra["refusedAfter"]} ms`] : []),
    ...["refused without naming etcd", "served unregistered in silence"].filter((what) => measured.extra[what] !== 0)
  ]
})

export default [rolled, killed, frozen, etcdAway]

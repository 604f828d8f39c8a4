// npm run bench -- leaderboard: an update with both places against raw ZADD, then ZREVRANK, each awaited.
//
// A board of a million members is measured by the server's own counters, in Million.ts, which is run by itself.
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Redis as Driver } from "ioredis"
import { randomUUID } from "node:crypto"
import { Leaderboard, type Ties } from "xdooria/leaderboard"
import { LeaderboardLive } from "xdooria/leaderboard/live"
import { layerLive } from "xdooria/redis/live"
import * as Bench from "../bench/Bench.ts"
import { isMissing, servers } from "../support/Servers.ts"

const members = 10_000

const address = servers.redis
if (isMissing(address)) throw new Error(address.missing)
const { host, port } = address

const keyPrefix = `bench${randomUUID().slice(0, 8)}:`

/** Deletes what begins with the prefix; the server has keys of others too. */
const clean = async (client: Driver) => {
  for await (const keys of client.scanStream({ match: `${keyPrefix}*`, count: 1_000 })) {
    if (keys.length > 0) await client.unlink(...(keys as ReadonlyArray<string>))
  }
}

const driver: Effect.Effect<Driver, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => new Driver({ host, port })),
  (client) => Effect.promise(() => clean(client).then(() => client.quit()))
)

let next = 0
const member = () => `player-${(next = (next + 7919) % members)}`
// Another one each time that a member comes round: an update that changes nothing would be no measure.
let turn = 0
const score = () => (turn = (turn + 31) % 4_999)

const raw = (fibers: number) =>
  Effect.map(driver, (client) =>
    Bench.promises(fibers, async () => {
      const who = member()
      await client.zadd(`${keyPrefix}raw`, score(), who)
      await client.zrevrank(`${keyPrefix}raw`, who)
    })
  )

const live = LeaderboardLive.pipe(Layer.provide(layerLive({ addrs: [`${host}:${port}`], keyPrefix })))

const room = (fibers: number, ties: Ties) =>
  Effect.gen(function* () {
    yield* driver
    const boards = yield* Effect.provide(Leaderboard, yield* Layer.build(live))
    const board =
      ties === "plan"
        ? Leaderboard.board({ key: "board", ties })
        : Leaderboard.within(Leaderboard.board({ key: "board", ties }), ties)
    return Bench.fibers(
      fibers,
      Effect.suspend(() => boards.set(board, member(), score()))
    )
  })

const target = { throughput: 1 }

const compare = (fibers: number) =>
  Bench.clients({
    name: `update with old and new rank, ${fibers} at once`,
    baseline: "zadd, zrevrank",
    candidates: {
      "zadd, zrevrank": raw(fibers),
      first: room(fibers, "first"),
      member: room(fibers, "member"),
      dense: room(fibers, "dense"),
      plan: room(fibers, "plan")
    },
    targets: { first: target, member: target, dense: target, plan: target }
  })

export default [compare(1), compare(100)]

// npm run bench -- session: the room against raw SET and GET of the plan's JSON with ioredis, on the real server.
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Redis as Driver } from "ioredis"
import { layerLive as redisLive } from "xdooria/redis/live"
import { Session } from "xdooria/session"
import { layerLive } from "xdooria/session/live"
import * as Bench from "../bench/Bench.ts"
import { isMissing, servers } from "../support/Servers.ts"

const fibers = 100
const players = 1_000
/** Of this process; what it leaves expires. */
const keyPrefix = `bench:${process.pid}:`

const address = servers.redis
if (isMissing(address)) throw new Error(address.missing)
const { host, port } = address

const ids = Array.from({ length: players }, (_, index) => `p${index}`)
const text = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9".repeat(4)
const token = Redacted.make(text)

let next = 0
const id = () => ids[(next = (next + 1) % players)]!

const driver: Effect.Effect<Driver, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => new Driver({ host, port })),
  (client) => Effect.promise(() => client.quit())
)

/** As `SessionManager.Set` and `Get` of the plan do it. */
const set = (client: Driver, player: string) => {
  const value = { player_id: player, token: text, gateway: "gw-1", login_time: new Date().toISOString() }
  return client.set(`${keyPrefix}raw:session:${player}`, JSON.stringify(value), "EX", 600)
}
const get = async (client: Driver, player: string) => {
  const text = await client.get(`${keyPrefix}raw:session:${player}`)
  if (text === null) return undefined
  const value = JSON.parse(text) as { readonly token: string; readonly login_time: string }
  return { ...value, login_time: new Date(value.login_time) }
}

const bare = (call: (client: Driver) => Promise<unknown>) =>
  Effect.map(driver, (client) => Bench.promises(fibers, () => call(client)))

const layer = layerLive({ retention: Duration.seconds(60) }).pipe(
  Layer.provide(redisLive({ addrs: [`${host}:${port}`], keyPrefix }))
)

/** The load that an effect of the room's makes, on players who are logged in. */
const load = (call: (session: Session["Service"]) => Effect.Effect<unknown, unknown>) =>
  Effect.gen(function* () {
    const session = Context.get(yield* Layer.build(layer), Session)
    yield* Effect.forEach(ids, (playerId) => session.login({ playerId, token, gateway: "gw-1" }), {
      concurrency: fibers
    })
    return Bench.fibers(fibers, call(session))
  })

export default [
  Bench.clients({
    name: `set and get, ${fibers} at once`,
    baseline: "ioredis",
    candidates: {
      ioredis: bare(async (client) => {
        const player = id()
        await set(client, player)
        await get(client, player)
      }),
      room: load((session) =>
        Effect.suspend(() => {
          const playerId = id()
          return Effect.andThen(session.login({ playerId, token, gateway: "gw-1" }), session.get(playerId))
        })
      )
    },
    targets: { room: { throughput: 0.9 } }
  }),
  Bench.clients({
    name: `the check of a call, ${fibers} at once`,
    baseline: "ioredis",
    candidates: {
      ioredis: Effect.flatMap(driver, (client) =>
        Effect.as(
          Effect.promise(() => Promise.all(ids.map((player) => set(client, player)))),
          Bench.promises(fibers, async () => (await get(client, id()))?.token === text)
        )
      ),
      room: load((session) => Effect.suspend(() => session.check(id(), token)))
    },
    targets: { room: { throughput: 0.9 } }
  })
]

// npm run bench -- session: the room against raw SET and GET of the plan's JSON with ioredis, on the real server. Both
// sides write and read the same players; the raw side has no epoch, ban, revocation or list of a gateway, and ends nothing.
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
/** Short, so that players who log in once do not fill the server. In seconds. */
const ttl = 2

let next = 0
const known = () => ids[(next = (next + 1) % players)]!
/** A player who never logged in before. */
const unknown = () => `n${next++}`
/** Another one at each login of a player: it is even for one round of the players, and odd for the next. */
let logins = 0
const gateway = () => `gw-${Math.floor(logins++ / players) % 2}`

const driver: Effect.Effect<Driver, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => new Driver({ host, port })),
  (client) => Effect.promise(() => client.quit())
)

/** As `SessionManager.Set` and `Get` of the plan do it. */
const set = (client: Driver, player: string, gateway: string, seconds = ttl) => {
  const value = { player_id: player, token: text, gateway, login_time: new Date().toISOString() }
  return client.set(`${keyPrefix}raw:session:${player}`, JSON.stringify(value), "EX", seconds)
}
const get = async (client: Driver, player: string) => {
  const text = await client.get(`${keyPrefix}raw:session:${player}`)
  if (text === null) return undefined
  const value = JSON.parse(text) as { readonly token: string; readonly login_time: string }
  return { ...value, login_time: new Date(value.login_time) }
}

/** What a login and a get cost; one that finds nothing ends the benchmark. */
const setAndGet = (player: () => string, gateway: () => string) => ({
  ioredis: Effect.map(driver, (client) =>
    Bench.promises(fibers, async () => {
      const one = player()
      await set(client, one, gateway())
      if ((await get(client, one)) === undefined) throw new Error("nothing is stored")
    })
  ),
  room: Effect.map(open, (session) =>
    Bench.fibers(
      fibers,
      Effect.suspend(() => {
        const playerId = player()
        return Effect.flatMap(session.login({ playerId, token, gateway: gateway() }), () =>
          Effect.flatMap(session.get(playerId), (found) =>
            found === undefined ? Effect.die("nothing is stored") : Effect.void
          )
        )
      })
    )
  )
})

const open = Effect.map(
  Layer.build(
    layerLive({ ttl: Duration.seconds(ttl), onlineTtl: Duration.seconds(1), retention: Duration.seconds(ttl) }).pipe(
      Layer.provide(redisLive({ addrs: [`${host}:${port}`], keyPrefix }))
    )
  ),
  (context) => Context.get(context, Session)
)

export default [
  Bench.clients({
    name: `set and get, first logins, ${fibers} at once`,
    baseline: "ioredis",
    candidates: setAndGet(unknown, () => "gw-1"),
    targets: { room: { throughput: 0.9 } }
  }),
  Bench.clients({
    name: `set and get, logins at another gateway that end a session, ${fibers} at once`,
    baseline: "ioredis",
    candidates: setAndGet(known, gateway)
  }),
  Bench.clients({
    name: `the check of a call, ${fibers} at once`,
    baseline: "ioredis",
    candidates: {
      ioredis: Effect.flatMap(driver, (client) =>
        Effect.as(
          Effect.promise(() => Promise.all(ids.map((player) => set(client, player, "gw-1", 600)))),
          Bench.promises(fibers, async () => (await get(client, known()))?.token === text)
        )
      ),
      room: Effect.flatMap(open, (session) =>
        Effect.as(
          Effect.forEach(ids, (playerId) => session.login({ playerId, token, gateway: "gw-1", ttl: "10 minutes" }), {
            concurrency: fibers
          }),
          Bench.fibers(
            fibers,
            Effect.suspend(() => session.check(known(), token))
          )
        )
      )
    }
  })
]

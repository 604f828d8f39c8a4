// What room auth promises while Redis is down, and of a ban: npm run faults -- F56-auth --seed 1
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as References from "effect/References"
import { Auth, type AuthError, type AuthSettings, type Tokens } from "xdooria/auth"
import { makeLive } from "xdooria/auth/live"
import * as Fault from "../faults/Fault.ts"
import { client, freshPrefix, type Options, single } from "../support/RedisBackends.ts"
import * as RedisServer from "../support/RedisServer.ts"
import { isMissing, servers } from "../support/Servers.ts"
import { secrets } from "./AuthContract.ts"

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

/** A service of its own, on a client of its own. */
const serviceOn = (options: Options, keyPrefix: string, settings: Partial<AuthSettings> = {}) =>
  Effect.flatMap(client(options, { keyPrefix }), (redis) =>
    Effect.map(Effect.provide(makeLive({ ...secrets, ...settings }), redis), Context.get(Auth))
  )

const quantile = (values: ReadonlyArray<number>, share: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
}

/** What became of a call, and how long it took. */
interface Done {
  readonly what: string
  readonly millis: number
}

const timed = <A>(call: Effect.Effect<A, AuthError>): Effect.Effect<Done & { readonly value: A | undefined }> =>
  Effect.gen(function* () {
    const startedAt = yield* Clock.currentTimeMillis
    const done = yield* Effect.match(call, {
      onSuccess: (value): { readonly what: string; readonly value: A | undefined } => ({ what: "ok", value }),
      onFailure: ({ reason }) => ({ what: reason._tag, value: undefined })
    })
    return { ...done, millis: (yield* Clock.currentTimeMillis) - startedAt }
  })

/** How late a timer is on this machine now, in milliseconds: what nothing that is measured can be better than. */
const watchLateness = Effect.gen(function* () {
  const late: Array<number> = []
  const watching = yield* Effect.forkScoped(
    Effect.forever(
      Effect.map(timed(Effect.sleep("10 millis")), ({ millis }) => {
        late.push(millis - 10)
      })
    )
  )
  return { stop: Effect.map(Fiber.interrupt(watching), () => quantile(late, 0.99)) }
})

/** A player that refreshes again and again, and tries the same token again where the answer was lost. */
class Player {
  readonly playerId: string
  tokens: Tokens
  acked = 0
  readonly done: Array<Done> = []

  constructor(playerId: string, tokens: Tokens) {
    this.playerId = playerId
    this.tokens = tokens
  }

  refresh(auth: Auth["Service"]): Effect.Effect<Done> {
    return Effect.map(timed(auth.refresh(this.tokens.refresh)), (done) => {
      this.done.push(done)
      if (done.value !== undefined) {
        this.tokens = done.value
        this.acked++
      }
      return done
    })
  }
}

const redisDown = Fault.scenario({
  id: "F53-auth",
  room: "auth",
  title: "Redis goes down while players call and refresh",
  // Beside other tests times are theirs.
  scaled: { players: 10, rate: 100, upMillis: 400, downMillis: 1_200, isTimed: false },
  full: { players: 50, rate: 200, upMillis: 5_000, downMillis: 30_000, isTimed: true },
  run: ({ downMillis, players: count, rate, upMillis }, seed) =>
    Effect.gen(function* () {
      // What it has acknowledged is there after it was killed.
      const redis = yield* RedisServer.start({ args: ["--appendonly", "yes", "--appendfsync", "always"] })
      const options = single(redis)
      const prefix = freshPrefix()
      // Few are remembered, so that most calls verify a signature.
      const settings = { cacheSize: Math.ceil(count / 4), refreshGrace: Duration.seconds(60) }
      const [auth, other] = [yield* serviceOn(options, prefix, settings), yield* serviceOn(options, prefix, settings)]
      const players = yield* Effect.forEach(
        Array.from({ length: count }, (_, index) => `p${index}`),
        (playerId) => Effect.map(auth.issue({ playerId }), (tokens) => new Player(playerId, tokens))
      )
      const pick = Effect.map(Random.nextIntBetween(0, count - 1), (index) => players[index]!)

      const calls: Array<Done> = []
      let isOver = false
      const calling = yield* Effect.forkScoped(
        Effect.repeat(
          Effect.gen(function* () {
            const { tokens } = yield* pick
            const { millis, what } = yield* timed(
              (yield* Random.nextBoolean) ? auth.verify(tokens.access) : other.verify(tokens.access)
            )
            calls.push({ millis, what })
            yield* Effect.sleep(1_000 / rate)
          }),
          { until: () => isOver }
        )
      )
      const refreshing = yield* Effect.forkScoped(
        Effect.forEach(
          players,
          (player) =>
            Effect.repeat(
              Effect.gen(function* () {
                yield* player.refresh((yield* Random.nextBoolean) ? auth : other)
                yield* Effect.sleep(50 + 100 * (yield* Random.next))
              }),
              { until: () => isOver }
            ),
          { concurrency: "unbounded", discard: true }
        )
      )

      const noise = yield* watchLateness
      yield* Effect.sleep(upMillis)
      yield* redis.kill()
      const before = players.map(({ done }) => done.length)
      const callsBefore = calls.length
      yield* Effect.sleep(downMillis)
      const down = players.flatMap(({ done }, index) => done.slice(before[index]).slice(1))
      const callsDown = calls.slice(callsBefore)
      yield* redis.restart
      const healedAt = yield* Clock.currentTimeMillis
      const ackedBefore = players.reduce((sum, { acked }) => sum + acked, 0)
      yield* Effect.repeat(Effect.sleep("5 millis"), {
        until: () => players.reduce((sum, { acked }) => sum + acked, 0) > ackedBefore
      })
      const recoverMs = (yield* Clock.currentTimeMillis) - healedAt
      yield* Effect.sleep(upMillis)
      isOver = true
      yield* Effect.andThen(Fiber.join(calling), Fiber.join(refreshing))
      const noiseMs = yield* noise.stop

      // Each goes on with the last that it was given.
      const last = yield* Effect.forEach(players, (player) => player.refresh(auth))
      const all = players.flatMap(({ done }) => done)
      return {
        acked: players.reduce((sum, { acked }) => sum + acked, 0),
        lost: last.filter(({ what }) => what !== "ok").length,
        duplicated: 0,
        unknown: all.filter(({ what }) => what === "Unavailable").length,
        maxOutageMs: downMillis,
        recoverMs,
        extra: {
          calls: callsDown.length,
          refusedCalls: calls.filter(({ what }) => what !== "ok").length,
          callP99: quantile(
            callsDown.map(({ millis }) => millis),
            0.99
          ),
          refreshedDown: down.filter(({ what }) => what === "ok").length,
          refusedOtherwise: all.filter(({ what }) => what !== "ok" && what !== "Unavailable").length,
          refreshP99: quantile(
            down.map(({ millis }) => millis),
            0.99
          ),
          noiseMs
        }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ acked, extra, recoverMs, unknown }, { isTimed }) => [
    ...(acked > 0 && unknown > 0 ? [] : [`${acked} refreshes acknowledged, ${unknown} refused: nothing was met`]),
    ...(extra.calls > 0 ? [] : ["nobody called while Redis was down"]),
    ...(extra.refusedCalls === 0 ? [] : [`${extra.refusedCalls} calls were refused`]),
    ...(extra.refreshedDown === 0 ? [] : [`${extra.refreshedDown} refreshes succeeded without Redis`]),
    ...(extra.refusedOtherwise === 0 ? [] : [`${extra.refusedOtherwise} refreshes failed for another reason`]),
    ...(isTimed && extra.callP99 > 100 + 3 * extra.noiseMs ? [`calls took ${extra.callP99} ms without Redis`] : []),
    ...(isTimed && extra.refreshP99 > 1_100 + 3 * extra.noiseMs
      ? [`refreshes took ${extra.refreshP99} ms to fail`]
      : []),
    ...(recoverMs <= 3_000 ? [] : [`it took ${recoverMs} ms until a refresh succeeded again`])
  ]
})

const banned = Fault.scenario({
  id: "F56-auth",
  room: "auth",
  title: "a player is banned who is logged in on three services",
  servers: ["redis"],
  scaled: { logins: 20, rounds: 2 },
  full: { logins: 20, rounds: 30 },
  run: ({ logins, rounds }, seed) =>
    Effect.gen(function* () {
      const server = servers.redis
      if (isMissing(server)) return yield* Effect.die(new Error(server.missing))
      const prefix = freshPrefix()
      const services = yield* Effect.forEach([1, 2, 3], () => serviceOn(single(server), prefix))
      const bystander = yield* services[0]!.issue({ playerId: "bystander" })
      let [late, refreshed, bystanders, slowestMs, calls] = [0, 0, 0, 0, 0]

      for (let round = 0; round < rounds; round++) {
        const playerId = `p${round}`
        const all = yield* Effect.forEach(
          Array.from({ length: logins }, (_, index) => services[index % services.length]!),
          (auth) => auth.issue({ playerId })
        )
        let bannedAt = Infinity
        // Until each service has refused each token, and a moment longer: none is good again.
        const watch = (auth: Auth["Service"], { access }: Tokens) =>
          Effect.gen(function* () {
            for (let refusals = 0; refusals < 5;) {
              const askedAt = yield* Clock.currentTimeMillis
              const { what } = yield* timed(auth.verify(access))
              calls++
              if (what === "Revoked") refusals++
              if (what === "ok") {
                if (askedAt > bannedAt + 1_000 || refusals > 0) late++
                if (askedAt > bannedAt) slowestMs = Math.max(slowestMs, askedAt - bannedAt)
              }
              if ((yield* timed(auth.verify(bystander.access))).what !== "ok") bystanders++
              yield* Effect.sleep(5)
            }
          })
        const watching = yield* Effect.forkScoped(
          Effect.forEach(
            all.flatMap((tokens) => services.map((auth) => [auth, tokens] as const)),
            ([auth, tokens]) => watch(auth, tokens),
            { concurrency: "unbounded", discard: true }
          )
        )
        yield* Effect.sleep(50 + 50 * (yield* Random.next))
        // From when it is asked for: that it is done is known here after the others have heard.
        bannedAt = yield* Clock.currentTimeMillis
        yield* services[yield* Random.nextIntBetween(0, 2)]!.ban(playerId, "forever")
        for (const [index, { refresh }] of all.entries()) {
          const { what } = yield* timed(services[(index + 1) % services.length]!.refresh(refresh))
          if (what !== "Banned") refreshed++
        }
        for (const auth of services) if ((yield* timed(auth.issue({ playerId }))).what !== "Banned") refreshed++
        yield* Fiber.join(watching)
      }
      return {
        acked: rounds,
        lost: late,
        duplicated: 0,
        unknown: 0,
        maxOutageMs: 0,
        recoverMs: slowestMs,
        extra: { calls, refreshed, bystanders }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ extra, recoverMs }) => [
    ...(extra.refreshed === 0 ? [] : [`${extra.refreshed} logins or refreshes of a banned player were not refused`]),
    ...(extra.bystanders === 0 ? [] : [`${extra.bystanders} calls of another player were refused`]),
    ...(recoverMs <= 1_000 ? [] : [`a token was good for ${recoverMs} ms after the ban`])
  ]
})

export default [redisDown, banned]

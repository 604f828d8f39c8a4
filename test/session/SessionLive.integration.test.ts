// What several processes see of each other, and what a server that loses its data does to sessions.
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { SessionOptions } from "xdooria/session"
import { makeLive } from "xdooria/session/live"
import { client, freshPrefix, type Options, single, suites } from "../support/RedisBackends.ts"
import * as RealServer from "../support/RealServer.ts"
import * as RedisServer from "../support/RedisServer.ts"
import { fresh, listen, loginOf, standing, tagOf } from "./SessionContract.ts"

/** As many processes on the same keys, each with a client of its own. */
const processes = (count: number, options: Options, session: Partial<SessionOptions> = {}) =>
  Effect.suspend(() => {
    const keyPrefix = freshPrefix()
    const open = Effect.flatMap(client(options, { keyPrefix }), (redis) => Effect.provide(makeLive(session), redis))
    return Effect.forEach(Array.from({ length: count }), () => open)
  })

/** Looks again until it is as it should be; the test's own timeout bounds it. */
const eventually = <A, E, R>(look: Effect.Effect<A, E, R>, holds: (value: A) => boolean) =>
  Effect.repeat(look, { until: holds, schedule: Schedule.spaced("10 millis") })

suites("SessionLive in several processes", (options, kind) => {
  describe("together", () => {
    it.live("sees at once what another process does", () =>
      Effect.gen(function* () {
        const [auth, old, young] = yield* processes(3, options)
        const [player, oldGateway, youngGateway] = [fresh("p"), fresh("gw"), fresh("gw")]
        const heard = yield* listen(old!, oldGateway)
        const one = yield* auth!.login(loginOf(player, oldGateway))
        assert.strictEqual(yield* standing(old!, one), "valid")
        yield* old!.touch(one)
        const two = yield* young!.login(loginOf(player, youngGateway))
        const kick = yield* heard.first(({ playerId }) => playerId === player)
        assert.deepInclude(kick, { epoch: one.epoch, reason: "superseded" })
        yield* old!.logout(one)
        assert.strictEqual(yield* standing(auth!, two), "valid")
        yield* auth!.ban(player, "forever")
        assert.strictEqual(yield* standing(young!, two), "Banned")
      }).pipe(Effect.scoped)
    )

    it.live("lists and counts what another process has noted", () =>
      Effect.gen(function* () {
        const [one, two] = yield* processes(2, options)
        const gateways = [fresh("gw"), fresh("gw"), fresh("gw")]
        const made = yield* Effect.forEach(gateways, (gateway) => one!.login(loginOf(fresh("p"), gateway)))
        yield* Effect.forEach(made, one!.touch)
        yield* eventually(two!.countOnline, (count) => count === 3)
        const [listed] = yield* Stream.runCollect(two!.list(gateways[0]!))
        assert.strictEqual(listed?.epoch, made[0]!.epoch)
        assert.strictEqual(yield* two!.drain(gateways[1]!, { perSecond: 1_000 }), 1)
        assert.strictEqual(yield* standing(one!, made[1]!), "NotFound")
      }).pipe(Effect.scoped)
    )

    it.live("revokes everything everywhere", () =>
      Effect.gen(function* () {
        const [one, two] = yield* processes(2, options)
        const made = yield* one!.login(loginOf(fresh("p"), "gw-1"))
        const heard = yield* listen(two!, "gw-1")
        yield* eventually(standing(two!, made), (now) => now === "valid")
        yield* Effect.sleep("5 millis")
        yield* one!.revokeAll(yield* DateTime.now)
        assert.strictEqual(yield* standing(one!, made), "Revoked")
        yield* eventually(standing(two!, made), (now) => now === "Revoked")
        assert.strictEqual((yield* heard.first(() => true)).reason, "revoked")
        // A process that starts afterwards knows it too.
        const again = yield* two!.login(loginOf(made.playerId, "gw-1"))
        assert.strictEqual(yield* standing(one!, again), "valid")
      }).pipe(Effect.scoped)
    )

    it.live("lets one of many logins at once be the session, and tells of every other one", () =>
      Effect.gen(function* () {
        const all = yield* processes(3, options)
        const [player, gateway] = [fresh("p"), fresh("gw")]
        const heard = yield* listen(all[0]!, gateway)
        const logins = Array.from({ length: 30 }, (_, index) =>
          all[index % 3]!.login(loginOf(player, gateway, { text: `token ${index}` }))
        )
        const made = yield* Effect.all(logins, { concurrency: "unbounded" })
        const epochs = made.map(({ epoch }) => epoch)
        assert.strictEqual(new Set(epochs).size, 30)
        const verdicts = yield* Effect.forEach(made, (one) => standing(all[1]!, one))
        const valid = made.filter((_, index) => verdicts[index] === "valid")
        assert.deepStrictEqual(
          valid.map(({ epoch }) => epoch),
          [Math.max(...epochs)]
        )
        const kicks = yield* heard.atLeast(29)
        assert.deepStrictEqual(
          [...new Set(kicks.map(({ epoch }) => epoch))].toSorted(),
          epochs.filter((epoch) => epoch !== Math.max(...epochs)).toSorted()
        )
      }).pipe(Effect.scoped)
    )

    it.live("waits for the replicas that are asked for, and says when they have not confirmed", () =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const logger = Logger.make(({ message }) => void lines.push(String(message)))
        const [session] = yield* Effect.provide(processes(1, options, { replicas: 1 }), Logger.layer([logger]))
        const warnings = lines.filter((line) => line.includes("session.replicas is 1, but Redis has 0 replicas"))
        assert.lengthOf(warnings, kind === "single" ? 1 : 0)
        const made = yield* session!.login(loginOf(fresh("p"), "gw-1"))
        const kicked = session!.kick(made.playerId)
        if (kind === "single") assert.strictEqual(yield* tagOf(kicked), "Unconfirmed")
        else assert.strictEqual(yield* kicked, 1)
        // Applied either way.
        assert.strictEqual(yield* standing(session!, made), "Revoked")
        const gateway = fresh("gw")
        const one = yield* session!.login(loginOf(made.playerId, gateway))
        const drained = session!.drain(gateway, { perSecond: 1_000, to: fresh("gw") })
        if (kind === "single") assert.strictEqual(yield* tagOf(drained), "Unconfirmed")
        else assert.strictEqual(yield* drained, 1)
        assert.strictEqual(yield* standing(session!, one), "Superseded")
        const again = session!.login(loginOf(made.playerId, gateway))
        if (kind === "single") assert.strictEqual(yield* tagOf(again), "Unconfirmed")
        else assert.isAbove((yield* again).epoch, one.epoch)
      }).pipe(Effect.scoped)
    )
  })
})

RealServer.suite("redis", "SessionLive on a server that loses its data", () => {
  it.live("never gives an epoch twice, and takes nothing for valid that is gone", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.start()
      const [session] = yield* processes(1, single(server), { sweepInterval: Duration.millis(100) })
      const [player, gateway] = [fresh("p"), fresh("gw")]
      const heard = yield* listen(session!, gateway)
      const one = yield* session!.login(loginOf(player, gateway))
      yield* server.command("FLUSHALL")
      assert.strictEqual(yield* standing(session!, one), "NotFound")
      const kick = yield* heard.first(() => true)
      assert.deepStrictEqual(kick, { playerId: player, device: "", epoch: one.epoch, reason: "ended" })
      const two = yield* session!.login(loginOf(player, gateway))
      assert.isAbove(two.epoch, one.epoch)
      yield* session!.logout(one)
      assert.strictEqual(yield* standing(session!, two), "valid")
    }).pipe(Effect.scoped)
  )

  it.live("takes sessions of an older snapshot for void", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.start()
      const [session] = yield* processes(1, single(server))
      const gateway = fresh("gw")
      const heard = yield* listen(session!, gateway)
      const banned = yield* session!.login(loginOf(fresh("p"), gateway))
      const kept = yield* session!.login(loginOf(fresh("p"), gateway))
      yield* server.command("SAVE")
      // Longer than what a failover may lose.
      yield* Effect.sleep("3500 millis")
      yield* session!.ban(banned.playerId, "forever")
      yield* server.restart
      // The ban is gone with the server's memory, and the session is back in its data.
      const raw = yield* server.command("KEYS", `*session:${banned.playerId}`)
      assert.include(raw, banned.playerId)
      yield* eventually(standing(session!, banned), (now) => now === "Revoked")
      yield* eventually(standing(session!, kept), (now) => now === "Revoked")
      yield* heard.first(({ playerId }) => playerId === kept.playerId)
      const again = yield* session!.login(loginOf(kept.playerId, gateway))
      assert.isAbove(again.epoch, kept.epoch)
      yield* Effect.sleep("1 second")
      assert.strictEqual(yield* standing(session!, again), "valid")
    }).pipe(Effect.scoped)
  )

  it.live("keeps sessions over a restart that loses nothing", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.start({ args: ["--appendonly", "yes", "--appendfsync", "always"] })
      const [session] = yield* processes(1, single(server))
      const one = yield* session!.login(loginOf(fresh("p"), "gw-1"))
      const two = yield* session!.login(loginOf(fresh("p"), "gw-1"))
      yield* session!.kick(two.playerId)
      yield* server.restart
      yield* eventually(standing(session!, one), (now) => now === "valid")
      yield* Effect.sleep("2 seconds")
      assert.strictEqual(yield* standing(session!, one), "valid")
      assert.strictEqual(yield* standing(session!, two), "Revoked")
    }).pipe(Effect.scoped)
  )
})

// Side by side with Go services of the plan: the very bytes on a real server, and what becomes of our sessions when such
// a service reads, rewrites or deletes the plan's value.
import { assert, layer as layerTest } from "@effect/vitest"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Redis as Driver } from "ioredis"
import { layerLive as redisLive } from "xdooria/redis/live"
import type { SessionOptions } from "xdooria/session"
import { makeLive } from "xdooria/session/live"
import { driver, single } from "../support/RedisBackends.ts"
import { connect } from "node:net"
import * as RealServer from "../support/RealServer.ts"
import * as Recorder from "../support/Recorder.ts"
import * as RedisServer from "../support/RedisServer.ts"
import { Backend, fresh, listen, loginOf, standing, tagOf, token } from "./SessionContract.ts"

/** A driver of the server, as a Go service has one. */
class Go extends Context.Service<Go, Driver>()("test/session/Go") {}

/** Every command that the server runs from here on, those of scripts too. */
const monitor = Effect.gen(function* () {
  const { host = "", port = 0 } = (yield* Go).options
  const seen = yield* Recorder.make<ReadonlyArray<string>>()
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => connect(port, host)),
    (one) => Effect.sync(() => one.destroy())
  )
  yield* Effect.callback<void>((resume) => {
    let text = ""
    socket.on("data", (bytes) => {
      const lines = (text + bytes.toString()).split("\r\n")
      text = lines.pop()!
      for (const line of lines) {
        if (line === "+OK") resume(Effect.void)
        // `+time [0 lua] "SET" "key" ...`, each argument escaped much as in JSON.
        else seen.recordUnsafe((line.match(/"(?:[^"\\]|\\.)*"/g) ?? []).map((word) => JSON.parse(word) as string))
      }
    })
    socket.write("MONITOR\r\n")
  })
  return seen
})

/** A server of its own: these tests use no prefix. */
const services = Layer.effectContext(
  Effect.gen(function* () {
    const server = yield* RedisServer.start()
    const options = single(server)
    const redis = yield* Layer.build(redisLive(options))
    const go = (yield* driver(options)) as Driver
    return Context.make(Go, go).pipe(
      Context.add(Backend, { open: (session?: Partial<SessionOptions>) => Effect.provide(makeLive(session), redis) })
    )
  })
)

const open = (options: Partial<SessionOptions> = {}) => Effect.flatMap(Effect.service(Backend), (b) => b.open(options))

const ask = <A>(use: (go: Driver) => Promise<A>) =>
  Effect.flatMap(Effect.service(Go), (go) => Effect.promise(() => use(go)))

const goValue = (playerId: string, token: string, gateway: string, time = "2026-11-23T08:31:40.400538152+08:00") =>
  `{"player_id":"${playerId}","token":"${token}","gateway":"${gateway}","login_time":"${time}"}`

/** As `SessionManager.Get` reads it: strictly typed members, and a time of RFC 3339. */
const goReads = (text: string | null) => {
  const value = JSON.parse(text!) as Record<string, unknown>
  assert.deepStrictEqual(Object.keys(value), ["player_id", "token", "gateway", "login_time"])
  for (const member of Object.values(value)) assert.isString(member)
  assert.match(value["login_time"] as string, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/)
  return value
}

RealServer.suite("redis", "SessionLive beside the plan", () => {
  layerTest(services, { excludeTestServices: true, timeout: "30 seconds" })("with Go services", (it) => {
    it.effect("writes what the plan writes, at the plan's keys, with the plan's commands", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const player = fresh("p")
        const seen = yield* monitor
        const made = yield* session.login(loginOf(player, "gw-1", { text: "to<k>en", ttl: "10 minutes" }))
        const value = `{"player_id":"${player}","token":"to<k>en","gateway":"gw-1","login_time":"${DateTime.formatIso(made.loginTime!)}"}`
        const isSet = ([name, key = ""]: ReadonlyArray<string>) => name === "SET" && key.endsWith(`:${player}`)
        assert.deepStrictEqual(yield* seen.first(isSet), ["SET", `session:${player}`, value, "EX", "600", "NX"])
        yield* session.touch(made)
        const [, online] = yield* seen.atLeast(2, isSet)
        assert.deepStrictEqual([...online!.slice(0, 2), ...online!.slice(3)], ["SET", `online:${player}`, "EX", "60"])
        assert.match(online![2]!, /^\d{10}$/)
        yield* session.login(loginOf(player, "gw-1", { ttl: 1_500 }))
        const [, , fraction] = yield* seen.atLeast(3, isSet)
        assert.deepStrictEqual(fraction!.slice(3), ["PX", "1500"])
      })
    )

    it.effect("writes nothing else that begins as the plan's keys do", () =>
      Effect.gen(function* () {
        const session = yield* open({ maxDevices: 2 })
        const player = fresh("p")
        const made = yield* session.login(loginOf(player, "gw-1", { device: "phone" }))
        yield* session.login(loginOf(player, "gw-1", { device: "tablet" }))
        yield* session.touch(made)
        assert.deepStrictEqual(
          (yield* ask((go) => go.keys(`*${player}*`))).toSorted(),
          [`online:${player}`, `session:${player}`, `xd:session:{session:${player}}`].toSorted()
        )
        goReads(yield* ask((go) => go.get(`session:${player}`)))
        const kinds = yield* ask((go) => go.keys("*"))
        assert.deepStrictEqual(
          kinds.filter((key) => !/^(session:p-|online:p-|xd:session[-:{])/.test(key)),
          []
        )
      })
    )

    it.effect("can be read by a Go service after each change", () =>
      Effect.gen(function* () {
        const session = yield* open({ maxDevices: 2 })
        const [player, gateway, to] = [fresh("p"), fresh("gw"), fresh("gw")]
        const one = yield* session.login(loginOf(player, gateway, { device: "a", text: "one", ttl: "1 hour" }))
        const two = yield* session.login(loginOf(player, "gw-2", { device: "b", text: "two" }))
        const seen = Effect.map(
          ask((go) => go.get(`session:${player}`)),
          (text) => (text === null ? undefined : goReads(text)["token"])
        )
        assert.strictEqual(yield* seen, "two")
        // It stands for the other device too, so it lasts as long.
        assert.isAbove(yield* ask((go) => go.ttl(`session:${player}`)), 3_000)
        yield* session.logout(two)
        assert.strictEqual(yield* seen, "one")
        assert.strictEqual(yield* session.drain(gateway, { perSecond: 10_000, to }), 1)
        const moved = goReads(yield* ask((go) => go.get(`session:${player}`)))
        assert.deepInclude(moved, { token: "one", gateway: to })
        assert.isAbove(yield* ask((go) => go.ttl(`session:${player}`)), 3_000)
        assert.strictEqual(yield* standing(session, { ...one, gateway: to }), "valid")
        yield* session.ban(player, "forever")
        assert.isUndefined(yield* seen)
      })
    )

    it.effect("takes a Go login for a kick of ours, and a Go session for a session", () =>
      Effect.gen(function* () {
        const session = yield* open({ sweepInterval: Duration.millis(100) })
        const [player, gateway] = [fresh("p"), fresh("gw")]
        const heard = yield* listen(session, gateway)
        const made = yield* session.login(loginOf(player, gateway))
        yield* ask((go) => go.set(`session:${player}`, goValue(player, "go token", "gw-go")))
        assert.strictEqual(yield* standing(session, made), "Superseded")
        assert.strictEqual(yield* tagOf(session.touch(made)), "Superseded")
        assert.deepStrictEqual(yield* heard.first(() => true), {
          playerId: player,
          device: "",
          epoch: made.epoch,
          reason: "superseded"
        })
        const theirs = yield* session.check(player, token("go token"), { gateway: "gw-go" })
        assert.deepInclude({ ...theirs, token: "" }, { playerId: player, device: "", epoch: 0, gateway: "gw-go" })
        assert.strictEqual(DateTime.formatIso(theirs.loginTime!), "2026-11-23T00:31:40.400Z")
        assert.strictEqual((yield* session.get(player))?.epoch, 0)
        assert.strictEqual(yield* tagOf(session.check(player, token("go token"), { gateway: "gw-1" })), "Superseded")
        // A late logout of ours leaves theirs.
        yield* session.logout(made)
        assert.strictEqual(yield* ask((go) => go.ttl(`session:${player}`)), -1)
        assert.strictEqual((yield* session.get(player))?.gateway, "gw-go")
        const again = yield* session.login(loginOf(player, gateway))
        assert.isAbove(again.epoch, made.epoch)
        assert.strictEqual(yield* standing(session, theirs), "Superseded")
      })
    )

    it.effect("takes a changed gateway for a kick, and a value rewritten as it was for none", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const player = fresh("p")
        const made = yield* session.login(loginOf(player, "gw-1", { text: "same" }))
        // What a Go service writes that has read ours: its own form of the time, and a new TTL.
        yield* ask((go) => go.set(`session:${player}`, goValue(player, "same", "gw-1"), "EX", 900))
        const kept = yield* session.check(player, made.token, { gateway: "gw-1" })
        assert.strictEqual(kept.epoch, made.epoch)
        yield* session.touch(made)
        assert.isAbove(yield* ask((go) => go.ttl(`session:${player}`)), 800)
        yield* ask((go) => go.set(`session:${player}`, goValue(player, "same", "gw-2"), "EX", 900))
        assert.strictEqual(yield* standing(session, made), "Superseded")
        yield* session.logout(made)
        assert.strictEqual((yield* session.get(player))?.gateway, "gw-2")
      })
    )

    it.effect("takes a deletion by a Go service for a kick of all devices", () =>
      Effect.gen(function* () {
        const session = yield* open({ maxDevices: 2, sweepInterval: Duration.millis(100) })
        const [player, gateway] = [fresh("p"), fresh("gw")]
        const heard = yield* listen(session, gateway)
        const one = yield* session.login(loginOf(player, gateway, { device: "a" }))
        const two = yield* session.login(loginOf(player, gateway, { device: "b", text: "two" }))
        yield* ask((go) => go.del(`session:${player}`))
        assert.strictEqual(yield* standing(session, one), "Revoked")
        assert.strictEqual(yield* standing(session, two), "Revoked")
        assert.strictEqual(yield* tagOf(session.touch(two)), "Revoked")
        const kicks = yield* heard.atLeast(2)
        assert.deepStrictEqual(
          kicks.map(({ reason }) => reason),
          ["revoked", "revoked"]
        )
        const three = yield* session.login(loginOf(player, gateway, { device: "a" }))
        assert.strictEqual(yield* standing(session, three), "valid")
        assert.strictEqual(yield* standing(session, two), "Revoked")
      })
    )

    it.effect("serves a session that a Go service wrote", () =>
      Effect.gen(function* () {
        const session = yield* open({ sweepInterval: Duration.millis(100) })
        const [player, gateway] = [fresh("p"), fresh("gw")]
        const heard = yield* listen(session, gateway)
        const online = yield* session.countOnline
        yield* ask((go) => go.set(`session:${player}`, goValue(player, "go", gateway), "EX", 100))
        const theirs = yield* session.check(player, token("go"))
        yield* session.touch(theirs)
        assert.isAbove(yield* ask((go) => go.ttl(`session:${player}`)), 500)
        assert.isTrue((yield* session.presence(player)).online)
        assert.strictEqual(yield* session.countOnline, online + 1)
        // Another login by Go at the same gateway.
        yield* ask((go) => go.set(`session:${player}`, goValue(player, "go again", gateway)))
        assert.deepInclude(yield* heard.first(() => true), { playerId: player, epoch: 0 })
        const again = yield* session.check(player, token("go again"))
        yield* session.touch(again)
        assert.strictEqual(yield* ask((go) => go.ttl(`session:${player}`)), -1)
        assert.strictEqual(yield* tagOf(session.touch(theirs)), "NotFound")
        yield* session.logout(theirs)
        assert.strictEqual(yield* standing(session, again), "valid")
        assert.strictEqual(yield* session.drain(gateway, { perSecond: 100, to: "gw-9" }), 1)
        assert.strictEqual(yield* standing(session, { ...again, gateway: "gw-9" }), "valid")
        yield* session.logout({ ...again, gateway: "gw-9" })
        assert.isNull(yield* ask((go) => go.get(`session:${player}`)))
        assert.isFalse((yield* session.presence(player)).online)
      })
    )

    it.effect("ends what a Go service wrote: by a kick, a ban, and a revocation of what began before", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const player = fresh("p")
        const write = (time?: string) => ask((go) => go.set(`session:${player}`, goValue(player, "go", "gw-go", time)))
        const isThere = Effect.map(
          ask((go) => go.exists(`session:${player}`)),
          (n) => n === 1
        )
        yield* write()
        assert.strictEqual(yield* session.kick(player), 1)
        assert.isFalse(yield* isThere)
        yield* write("2026-11-23T00:31:40Z")
        assert.strictEqual(yield* session.revoke(player, DateTime.makeUnsafe("2026-11-23T00:31:39.999Z")), 0)
        assert.isTrue(yield* isThere)
        assert.strictEqual(yield* session.revoke(player, DateTime.makeUnsafe("2026-11-23T00:31:40Z")), 1)
        assert.isFalse(yield* isThere)
        // Written again as it was: revoked still, also for who reads before it is ended.
        yield* write("2026-11-23T00:31:40Z")
        assert.strictEqual(yield* tagOf(session.check(player, token("go"))), "Revoked")
        assert.isUndefined(yield* session.get(player))
        yield* write("0001-01-01T00:00:00Z")
        assert.strictEqual(yield* tagOf(session.check(player, token("go"))), "Revoked")
        yield* write(DateTime.formatIso(yield* DateTime.now))
        assert.strictEqual((yield* session.check(player, token("go"))).epoch, 0)
        yield* session.ban(player, "forever")
        assert.isFalse(yield* isThere)
        yield* write()
        assert.strictEqual(yield* tagOf(session.check(player, token("go"))), "Banned")
        assert.isUndefined(yield* session.get(player))
      })
    )

    it.effect("fails with Unreadable where no session stands, until the next login", () =>
      Effect.gen(function* () {
        const session = yield* open()
        for (const spoil of [
          (key: string) => ask((go) => go.set(key, "{")),
          (key: string) => ask((go) => go.set(key, goValue("p", "t", "g", "yesterday"))),
          (key: string) =>
            Effect.andThen(
              ask((go) => go.del(key)),
              ask((go) => go.hset(key, "a", "b"))
            )
        ]) {
          const player = fresh("p")
          const made = yield* session.login(loginOf(player, "gw-1"))
          yield* spoil(`session:${player}`)
          assert.strictEqual(yield* tagOf(session.get(player)), "Unreadable")
          assert.strictEqual(yield* tagOf(session.check(player, made.token)), "Unreadable")
          assert.strictEqual(yield* tagOf(session.touch(made)), "Unreadable")
          yield* session.logout(made)
          const again = yield* session.login(loginOf(player, "gw-1"))
          assert.strictEqual(yield* standing(session, again), "valid")
          yield* spoil(`session:${player}`)
          assert.strictEqual(yield* session.kick(player), 1)
          assert.isUndefined(yield* session.get(player))
        }
      })
    )

    it.effect("reads a session without a token, which is nobody's", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const player = fresh("p")
        yield* ask((go) => go.set(`session:${player}`, "{}"))
        assert.strictEqual(Redacted.value((yield* session.get(player))!.token), "")
        assert.strictEqual(yield* tagOf(session.check(player, token(""))), "NotFound")
      })
    )

    it.effect("knows who is online by a Go service, whatever it wrote", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const [one, two, three] = [fresh("p"), fresh("p"), fresh("p")]
        yield* ask((go) => go.set(`online:${one}`, "1795394305", "EX", 100))
        yield* ask((go) => go.set(`online:${two}`, "yes"))
        yield* ask((go) => go.hset(`online:${three}`, "a", "b"))
        const seen = yield* session.presence(one)
        assert.deepStrictEqual(seen, { online: true, lastSeen: DateTime.makeUnsafe(1_795_394_305_000) })
        assert.deepStrictEqual(yield* session.presence(two), { online: true, lastSeen: undefined })
        assert.deepStrictEqual(yield* session.presence(three), { online: true, lastSeen: undefined })
      })
    )

    it.effect("keeps what it needs after a session, and no longer", () =>
      Effect.gen(function* () {
        const session = yield* open({ retention: Duration.seconds(1_000), onlineTtl: Duration.seconds(10) })
        const player = fresh("p")
        const record = `xd:session:{session:${player}}`
        const left = ask((go) => go.ttl(record))
        yield* session.login(loginOf(player, "gw-1", { ttl: "100 seconds" }))
        assert.closeTo(yield* left, 1_100, 2)
        yield* session.kick(player)
        assert.closeTo(yield* left, 1_000, 2)
        yield* session.ban(player, DateTime.add(yield* DateTime.now, { seconds: 500 }))
        assert.closeTo(yield* left, 1_500, 2)
        yield* session.ban(player, "forever")
        assert.strictEqual(yield* left, -1)
        yield* session.unban(player)
        assert.closeTo(yield* left, 1_000, 2)
      })
    )
  })
})

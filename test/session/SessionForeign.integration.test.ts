// What a Go service, or nobody that is known, leaves at the keys: no form of it makes an operation say that it has done
// what it has not, and none stops what runs in the background.
import { assert, layer as layerTest } from "@effect/vitest"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Redis as Driver } from "ioredis"
import { layerLive as redisLive } from "xdooria/redis/live"
import type { Session, SessionData, SessionOptions } from "xdooria/session"
import { makeLive } from "xdooria/session/live"
import { driver, single } from "../support/RedisBackends.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as RealServer from "../support/RealServer.ts"
import * as RedisServer from "../support/RedisServer.ts"
import { type Backend, fresh, listen, loginOf, standing, tagOf, token } from "./SessionContract.ts"

class Server extends Context.Service<
  Server,
  {
    readonly go: Driver
    readonly proxy: FaultProxy.FaultProxy
    readonly open: Backend["Service"]["open"]
    /** Through the proxy, with little patience. */
    readonly openFar: Backend["Service"]["open"]
  }
>()("test/session/Server") {}

const services = Layer.effect(
  Server,
  Effect.gen(function* () {
    const node = yield* RedisServer.start()
    const proxy = yield* FaultProxy.make({ host: node.host, port: node.port, seed: 1 })
    const near = yield* Layer.build(redisLive(single(node)))
    const far = yield* Layer.build(
      redisLive({ ...single(node), addrs: [`127.0.0.1:${proxy.port}`], commandTimeout: Duration.millis(300) })
    )
    return {
      go: (yield* driver(single(node))) as Driver,
      proxy,
      open: (options) => Effect.provide(makeLive(options), near),
      openFar: (options) => Effect.provide(makeLive(options), far)
    } as Server["Service"]
  })
)

const open = (options: Partial<SessionOptions> = {}) => Effect.flatMap(Effect.service(Server), (s) => s.open(options))
const ask = <A>(call: (go: Driver) => Promise<A>) =>
  Effect.flatMap(Effect.service(Server), ({ go }) => Effect.promise(() => call(go)))
const write = (player: string, value: string | Buffer) => ask((go) => go.set(`session:${player}`, value, "EX", 100))

const plain = (player: string, text: string, gateway: string, time = new Date(0).toISOString()) =>
  JSON.stringify({ player_id: player, token: text, gateway, login_time: time })

/** One value, in bytes that readers of JSON do not agree about; `T` and `G` stand for token and gateway. */
const forms: ReadonlyArray<readonly [what: string, text: string]> = [
  ["names in upper case", '{"TOKEN":"T","Gateway":"G"}'],
  ["a duplicate in another case before", '{"Token":"old","token":"T","gateway":"G"}'],
  ["a duplicate in another case behind", '{"token":"old","TOKEN":"T","gateway":"G"}'],
  ["a null behind", '{"token":"T","token":null,"gateway":"G"}'],
  ["the Kelvin sign", '{"to\u212Aen":"T","gateway":"G"}'],
  ["a lone surrogate", String.raw`{"token":"T","gateway":"G","x":"\ud800"}`],
  ["deep nesting", `{"token":"T","gateway":"G","x":${"[".repeat(1_100)}${"]".repeat(1_100)}}`],
  ["a number that is too large", '{"token":"T","gateway":"G","x":1e999}']
]

const inForm = (text: string, { gateway, playerId }: SessionData) =>
  text.replace('"T"', `"token of ${playerId}"`).replace('"G"', `"${gateway}"`)

const ends: ReadonlyArray<
  readonly [what: string, end: (session: Session["Service"], one: SessionData) => Effect.Effect<unknown, unknown>]
> = [
  ["logout", (session, one) => session.logout(one)],
  ["kick", (session, one) => session.kick(one.playerId)],
  ["kick of a device", (session, one) => session.kick(one.playerId, "")],
  ["drain", (session, one) => session.drain(one.gateway, { perSecond: 10_000 })]
]

RealServer.suite("redis", "SessionLive on what others have written", () => {
  layerTest(services, { excludeTestServices: true, timeout: "30 seconds" })("there", (it) => {
    for (const [what, text] of forms) {
      it.effect(`ends what it says it has ended: ${what}`, () =>
        Effect.gen(function* () {
          const session = yield* open()
          for (const [name, end] of ends) {
            const [player, gateway] = [fresh("p"), fresh("gw")]
            const one = yield* session.login(loginOf(player, gateway, { text: `token of ${player}` }))
            yield* write(player, inForm(text, one))
            assert.strictEqual(yield* standing(session, one), "valid", name)
            yield* session.touch(one)
            assert.isAbove(yield* ask((go) => go.ttl(`session:${player}`)), 500, name)
            yield* end(session, one)
            assert.notStrictEqual(yield* standing(session, one), "valid", name)
            assert.strictEqual(yield* ask((go) => go.exists(`session:${player}`)), 0, name)
          }
          // A session of a Go service.
          const [player, gateway] = [fresh("p"), fresh("gw")]
          const form = inForm(text, { playerId: player, gateway } as SessionData)
          yield* write(player, form)
          const theirs = yield* session.check(player, token(`token of ${player}`))
          yield* session.touch(theirs)
          assert.isAbove(yield* ask((go) => go.ttl(`session:${player}`)), 500)
          yield* session.logout(theirs)
          assert.strictEqual(yield* standing(session, theirs), "NotFound")
          yield* write(player, form)
          assert.strictEqual(yield* session.kick(player, ""), 1)
          assert.isUndefined(yield* session.get(player))
        })
      )
    }

    it.effect("ends a session whose token is not text", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const player = fresh("p")
        yield* write(player, Buffer.from('{"token":"a\u00ffb","gateway":"gw-1"}', "latin1"))
        const theirs = yield* session.check(player, token("a\ufffdb"))
        yield* session.logout(theirs)
        assert.isUndefined(yield* session.get(player))
      })
    )

    it.effect("goes on beside a session whose gateway is no name", () =>
      Effect.gen(function* () {
        const [one, two] = [yield* open(), yield* open()]
        const gateway = fresh("gw")
        for (const name of ["", "10.0.0.1:9000", 'a"b']) {
          const player = fresh("p")
          yield* write(player, plain(player, "go", name))
          const theirs = yield* one.check(player, token("go"))
          yield* one.touch(theirs)
          const before = yield* one.login(loginOf(fresh("p"), gateway))
          yield* one.touch(before)
          yield* one.countOnline
          assert.strictEqual(yield* one.kick(player), 1)
          yield* write(player, plain(player, "go", name))
          yield* one.logout(theirs)
          assert.isUndefined(yield* one.get(player))
        }
        // Written behind, all the same.
        const listed = Effect.map(Stream.runCollect(two.list(gateway)), (all) => all.length)
        yield* Effect.repeat(listed, { until: (count) => count === 3, schedule: Schedule.spaced("10 millis") })
      })
    )

    it.effect("passes over what is no member of a list", () =>
      Effect.gen(function* () {
        const session = yield* open({ sweepInterval: Duration.millis(50) })
        const gateway = fresh("gw")
        const heard = yield* listen(session, gateway)
        const one = yield* session.login(loginOf(fresh("p"), gateway))
        yield* ask((go) =>
          go.zadd(`xd:session-gateway:${gateway}`, 9e15, "a:b  5", 9e15, "ok gar bage", 9e15, "p \n 1")
        )
        yield* ask((go) => go.publish(`xd:session-kicks:${gateway}`, "garbage"))
        assert.lengthOf(yield* Stream.runCollect(session.list(gateway)), 1)
        yield* ask((go) => go.del(`session:${one.playerId}`))
        assert.strictEqual((yield* heard.first(({ epoch }) => epoch === one.epoch)).reason, "revoked")
      })
    )

    it.effect("tells a gateway at once what becomes of a session that a Go service wrote", () =>
      Effect.gen(function* () {
        const [here, there] = [yield* open({ sweepInterval: Duration.hours(1) }), yield* open()]
        const gateway = fresh("gw")
        const heard = yield* listen(here, gateway)
        // The receipt that it listens.
        const first = yield* here.login(loginOf(fresh("p"), gateway))
        yield* there.kick(first.playerId)
        yield* heard.first(({ epoch }) => epoch === first.epoch)
        const acts: ReadonlyArray<
          readonly [reason: string, act: (player: string, held: SessionData) => Effect.Effect<unknown, unknown>]
        > = [
          ["revoked", (player) => there.kick(player)],
          ["banned", (player) => there.ban(player, "forever")],
          ["superseded", (player) => there.login(loginOf(player, "gw-other"))],
          ["revoked", (player) => there.revoke(player, DateTime.makeUnsafe(1_000))],
          ["ended", (_, held) => there.logout(held)]
        ]
        for (const [reason, act] of acts) {
          for (const isTouched of [true, false]) {
            const player = fresh("p")
            yield* write(player, plain(player, "go", gateway))
            const held = yield* here.check(player, token("go"))
            if (isTouched) yield* here.touch(held)
            yield* act(player, held)
            const kick = yield* heard.first(({ playerId }) => playerId === player)
            assert.deepStrictEqual(kick, { playerId: player, device: "", epoch: 0, reason: reason as "ended" })
          }
        }
        // What the gateway does itself is no news.
        const own = fresh("p")
        yield* write(own, plain(own, "go", gateway))
        const held = yield* here.check(own, token("go"))
        yield* here.touch(held)
        yield* here.logout(held)
        const last = yield* here.login(loginOf(fresh("p"), gateway))
        yield* there.kick(last.playerId)
        yield* heard.first(({ epoch }) => epoch === last.epoch)
        assert.notInclude(
          (yield* heard.all).map(({ playerId }) => playerId),
          own
        )
      })
    )

    it.effect("tells a gateway again when a session has come back with the same token", () =>
      Effect.gen(function* () {
        const session = yield* open({ sweepInterval: Duration.millis(50) })
        const [player, gateway] = [fresh("p"), fresh("gw")]
        const heard = yield* listen(session, gateway)
        for (const count of [1, 2, 3]) {
          yield* write(player, plain(player, "same", gateway))
          yield* session.touch(yield* session.check(player, token("same")))
          yield* ask((go) => go.del(`session:${player}`))
          yield* heard.atLeast(count)
        }
      })
    )

    it.effect("hears of a session whose logout has failed", () =>
      Effect.gen(function* () {
        const { openFar, proxy } = yield* Server
        const [here, there] = [yield* openFar(), yield* open()]
        const gateway = fresh("gw")
        const heard = yield* listen(here, gateway)
        const one = yield* here.login(loginOf(fresh("p"), gateway))
        yield* proxy.blackhole
        yield* Effect.flip(here.logout(one))
        yield* proxy.cut
        yield* proxy.heal
        yield* there.ban(one.playerId, "forever")
        yield* heard.first(({ epoch }) => epoch === one.epoch)
      })
    )

    for (const garbage of ["garbage", "[]", "1 2 3", "0 0 0 soon x", "99999999999999999999 0 0 - =", "list"]) {
      it.effect(`replaces what is no record of a player: ${garbage}`, () =>
        Effect.gen(function* () {
          const session = yield* open()
          const spoiled = Effect.gen(function* () {
            const player = fresh("p")
            const key = `xd:session:{session:${player}}`
            yield* garbage === "list" ? ask((go) => go.lpush(key, "1")) : ask((go) => go.set(key, garbage))
            return player
          })
          const one = yield* session.login(loginOf(yield* spoiled, "gw-1"))
          assert.isTrue(Number.isSafeInteger(one.epoch))
          yield* session.touch(one)
          assert.strictEqual(yield* standing(session, one), "valid")
          const player = yield* spoiled
          assert.isUndefined(yield* session.get(player))
          yield* session.ban(player, "forever")
          assert.strictEqual(yield* tagOf(session.login(loginOf(player, "gw-1"))), "Banned")
        })
      )
    }

    it.effect("takes no instant for a floor but an instant", () =>
      Effect.gen(function* () {
        for (const spoil of [
          () => ask((go) => go.set("xd:session-floor", "garbage")),
          () => ask(async (go) => (await go.del("xd:session-floor"), go.lpush("xd:session-floor", "1")))
        ]) {
          yield* spoil()
          const session = yield* open()
          const one = yield* session.login(loginOf(fresh("p"), "gw-1"))
          assert.strictEqual(yield* standing(session, one), "valid")
          yield* Effect.sleep("5 millis")
          yield* session.revokeAll(yield* DateTime.now)
          assert.strictEqual(yield* standing(session, one), "Revoked")
        }
      })
    )
  })
})

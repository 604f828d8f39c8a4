import { assert, layer as layerTest } from "@effect/vitest"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { randomUUID } from "node:crypto"
import { inspect } from "node:util"
import type { Kick, Login, Session, SessionData, SessionError, SessionOptions } from "xdooria/session"
import * as Recorder from "../support/Recorder.ts"

/** Opens the room with options of one test, on what the layer of the suite is. */
export class Backend extends Context.Service<
  Backend,
  { readonly open: (options?: Partial<SessionOptions>) => Effect.Effect<Session["Service"], SessionError, Scope.Scope> }
>()("test/session/Backend") {}

/** A player, or a gateway, of one test. */
export const fresh = (kind: string): string => `${kind}-${randomUUID().slice(0, 8)}`

export const token = (text: string): Redacted.Redacted => Redacted.make(text)

/** Logs in with a token named like the gateway and what else tells the login apart. */
export const loginOf = (playerId: string, gateway: string, more: Partial<Login> & { readonly text?: string } = {}) => {
  const { text = `token of ${playerId} at ${gateway}`, ...rest } = more
  return { playerId, gateway, token: token(text), ...rest }
}

/** The reason of a failure. */
export const tagOf = <A, R>(effect: Effect.Effect<A, SessionError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)

/** Whether the session is still good, or the reason. */
export const standing = (session: Session["Service"], { device, gateway, playerId, token }: SessionData) =>
  session.check(playerId, token, { device, gateway }).pipe(
    Effect.as("valid"),
    Effect.catch(({ reason }) => Effect.succeed<string>(reason._tag))
  )

/** What a gateway hears, from now on until the test ends. */
export const listen = (session: Session["Service"], gateway: string) =>
  Effect.gen(function* () {
    const heard = yield* Recorder.make<Kick>()
    yield* Effect.forkScoped(Stream.runForEach(session.kicks(gateway), heard.record))
    return heard
  })

const listed = (session: Session["Service"], gateway: string) =>
  Effect.map(Stream.runCollect(session.list(gateway)), (all) => all.map(({ playerId }) => playerId).toSorted())

const second = (n: number) => Duration.seconds(n)

/**
 * The promises of room session, for a backend on a store that nobody else uses.
 *
 * - `clock`: `test` where the backend takes its time from Effect, `live` where a server has a clock of its own
 */
export const suite = <E>(
  name: string,
  layer: Layer.Layer<Backend, E>,
  { clock }: { readonly clock: "test" | "live" }
): void => {
  /** Lets so many milliseconds pass: the one permitted wait. */
  const advance = (millis: number) => (clock === "test" ? TestClock.adjust(millis) : Effect.sleep(millis))
  const open = (options: Partial<SessionOptions> = {}) =>
    Effect.flatMap(Effect.service(Backend), (b) => b.open(options))

  layerTest(layer, { excludeTestServices: clock === "live", timeout: "60 seconds" })(name, (it) => {
    it.effect("gives back what a login has stored, and knows its token", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const player = fresh("p")
        assert.isUndefined(yield* session.get(player))
        const made = yield* session.login(loginOf(player, "gw-1"))
        assert.isAbove(made.epoch, 0)
        for (const found of [yield* session.get(player), yield* session.check(player, made.token)]) {
          assert.deepStrictEqual({ ...found!, token: "" }, { ...made, token: "" })
          assert.strictEqual(Redacted.value(found!.token), Redacted.value(made.token))
        }
        assert.strictEqual(yield* tagOf(session.check(player, token("another"))), "NotFound")
        assert.strictEqual(yield* tagOf(session.check(player, token(""))), "NotFound")
        assert.strictEqual(yield* tagOf(session.check(fresh("p"), made.token)), "NotFound")
        assert.strictEqual(yield* tagOf(session.check(player, made.token, { gateway: "gw-2" })), "Superseded")
        assert.strictEqual(yield* tagOf(session.check(player, made.token, { device: "phone" })), "NotFound")
      })
    )

    it.effect("knows a token without being told its device", () =>
      Effect.gen(function* () {
        for (const maxDevices of [1, 2]) {
          const session = yield* open({ maxDevices })
          const player = fresh("p")
          const one = yield* session.login(loginOf(player, "gw-1", { device: "phone", text: "one" }))
          assert.strictEqual((yield* session.check(player, one.token)).epoch, one.epoch)
          const two = yield* session.login(loginOf(player, "gw-1", { device: "tablet", text: "two" }))
          assert.strictEqual((yield* session.check(player, two.token)).epoch, two.epoch)
          const first = Effect.map(session.check(player, one.token), ({ epoch }) => epoch)
          if (maxDevices === 2) assert.strictEqual(yield* first, one.epoch)
          else assert.strictEqual(yield* tagOf(first), "Superseded")
          assert.strictEqual(yield* tagOf(session.check(player, token("three"))), "NotFound")
        }
      })
    )

    it.effect("ends what listens when it closes", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const session = yield* Scope.provide(open(), scope)
        const gateway = fresh("gw")
        const made = yield* session.login(loginOf(fresh("p"), gateway))
        const ready = yield* Deferred.make<void>()
        const listening = yield* session.kicks(gateway).pipe(
          Stream.tap(() => Deferred.succeed(ready, undefined)),
          Stream.runDrain,
          Effect.forkChild
        )
        yield* session.kick(made.playerId)
        yield* Deferred.await(ready)
        yield* Scope.close(scope, Exit.void)
        yield* Fiber.join(listening)
      })
    )

    it.effect("lets a new login end the old one, and tells its gateway", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const [player, old, young] = [fresh("p"), fresh("gw"), fresh("gw")]
        const heard = yield* listen(session, old)
        const one = yield* session.login(loginOf(player, old))
        const two = yield* session.login(loginOf(player, young))
        assert.isAbove(two.epoch, one.epoch)
        const kick = yield* heard.first(({ playerId }) => playerId === player)
        assert.deepStrictEqual(kick, { playerId: player, device: "", epoch: one.epoch, reason: "superseded" })
        assert.strictEqual(yield* standing(session, one), "Superseded")
        assert.strictEqual(yield* standing(session, two), "valid")
        assert.strictEqual(yield* tagOf(session.touch(one)), "Superseded")
        assert.deepStrictEqual(yield* listed(session, old), [])
        assert.deepStrictEqual(yield* listed(session, young), [player])
      })
    )

    it.effect("keeps the newer session when an older one is logged out", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const player = fresh("p")
        const one = yield* session.login(loginOf(player, "gw-1"))
        // The same token and gateway: only the epoch tells them apart.
        const two = yield* session.login(loginOf(player, "gw-1"))
        yield* session.logout(one)
        assert.strictEqual(yield* standing(session, two), "valid")
        yield* session.logout(two)
        assert.strictEqual(yield* standing(session, two), "NotFound")
        assert.isUndefined(yield* session.get(player))
        yield* session.logout(two)
        assert.strictEqual(yield* tagOf(session.touch(two)), "NotFound")
      })
    )

    it.effect("ends a session after its time, which a touch prolongs", () =>
      Effect.gen(function* () {
        const session = yield* open({ sweepInterval: Duration.millis(200) })
        const [idle, busy, own] = [fresh("p"), fresh("p"), fresh("p")]
        const gateway = fresh("gw")
        const heard = yield* listen(session, gateway)
        const ttl = second(1)
        const one = yield* session.login(loginOf(idle, gateway, { ttl }))
        const two = yield* session.login(loginOf(busy, gateway, { ttl }))
        const three = yield* session.login(loginOf(own, gateway, { ttl: second(3) }))
        yield* advance(700)
        yield* session.touch(two)
        yield* advance(600)
        assert.strictEqual(yield* standing(session, one), "NotFound")
        assert.strictEqual(yield* standing(session, two), "valid")
        assert.strictEqual(yield* standing(session, three), "valid")
        const kick = yield* heard.first(({ playerId }) => playerId === idle)
        assert.deepStrictEqual(kick, { playerId: idle, device: "", epoch: one.epoch, reason: "ended" })
        assert.deepStrictEqual(yield* listed(session, gateway), [busy, own].toSorted())
        yield* advance(700)
        assert.strictEqual(yield* tagOf(session.touch(two)), "NotFound")
      })
    )

    it.effect("does not prolong a session that does not slide", () =>
      Effect.gen(function* () {
        const session = yield* open({ sliding: false })
        const one = yield* session.login(loginOf(fresh("p"), "gw-1", { ttl: second(1) }))
        yield* advance(600)
        yield* session.touch(one)
        assert.isTrue((yield* session.presence(one.playerId)).online)
        yield* advance(600)
        assert.strictEqual(yield* standing(session, one), "NotFound")
      })
    )

    it.effect("knows who is online, who was, and how many are", () =>
      Effect.gen(function* () {
        const session = yield* open({ onlineTtl: second(1) })
        const [one, two, three] = [fresh("p"), fresh("p"), fresh("p")]
        const before = yield* session.countOnline
        assert.deepStrictEqual(yield* session.presence(one), { online: false, lastSeen: undefined })
        const sessions = yield* Effect.forEach([one, two, three], (p) => session.login(loginOf(p, fresh("gw"))))
        assert.strictEqual(yield* session.countOnline, before)
        for (const made of sessions.slice(0, 2)) yield* session.touch(made)
        assert.strictEqual(yield* session.countOnline, before + 2)
        const seen = yield* session.presence(one)
        assert.isTrue(seen.online)
        assert.isFalse((yield* session.presence(three)).online)
        yield* session.logout(sessions[1]!)
        assert.isFalse((yield* session.presence(two)).online)
        assert.strictEqual(yield* session.countOnline, before + 1)
        yield* advance(1_100)
        const later = yield* session.presence(one)
        assert.isFalse(later.online)
        assert.closeTo(DateTime.toEpochMillis(later.lastSeen!), DateTime.toEpochMillis(seen.lastSeen!), 1_000)
        assert.strictEqual(yield* session.countOnline, before)
      })
    )

    it.effect("gives a player several devices up to a bound, and ends the oldest", () =>
      Effect.gen(function* () {
        const session = yield* open({ maxDevices: 2 })
        const [player, gateway] = [fresh("p"), fresh("gw")]
        const heard = yield* listen(session, gateway)
        const on = (device: string, text = device) => session.login(loginOf(player, gateway, { device, text }))
        const phone = yield* on("phone")
        const tablet = yield* on("tablet")
        assert.deepStrictEqual([yield* standing(session, phone), yield* standing(session, tablet)], ["valid", "valid"])
        const again = yield* on("phone", "phone again")
        assert.strictEqual(yield* tagOf(session.touch(phone)), "Superseded")
        assert.strictEqual(yield* standing(session, tablet), "valid")
        const desk = yield* on("desk")
        assert.strictEqual(yield* standing(session, tablet), "Superseded")
        assert.strictEqual(yield* standing(session, again), "valid")
        assert.strictEqual((yield* session.get(player))?.device, "desk")
        assert.deepStrictEqual(
          // By a message or by a look, whichever is first.
          (yield* heard.atLeast(2))
            .toSorted((one, two) => one.epoch - two.epoch)
            .map(({ device, epoch, reason }) => [device, epoch, reason]),
          [
            ["phone", phone.epoch, "superseded"],
            ["tablet", tablet.epoch, "superseded"]
          ]
        )
        // The newest of what remains takes the place of the one that is gone.
        yield* session.logout(desk)
        assert.strictEqual((yield* session.get(player))?.device, "phone")
        assert.strictEqual(yield* standing(session, again), "valid")
        assert.strictEqual(yield* session.kick(player, "desk"), 0)
        assert.strictEqual(yield* session.kick(player, "phone"), 1)
        assert.strictEqual(yield* standing(session, again), "Revoked")
        assert.isUndefined(yield* session.get(player))
      })
    )

    it.effect("lets each of several devices last its own time", () =>
      Effect.gen(function* () {
        const session = yield* open({ maxDevices: 3 })
        const player = fresh("p")
        const on = (device: string, ttl: number) =>
          session.login(loginOf(player, "gw-1", { device, ttl: Duration.millis(ttl) }))
        const long = yield* on("long", 3_000)
        const short = yield* on("short", 600)
        const other = yield* on("other", 900)
        yield* advance(700)
        assert.strictEqual(yield* standing(session, short), "NotFound")
        assert.strictEqual(yield* standing(session, long), "valid")
        assert.strictEqual(yield* standing(session, other), "valid")
        assert.strictEqual(yield* tagOf(session.touch(short)), "NotFound")
        yield* session.touch(long)
        assert.strictEqual(yield* standing(session, long), "valid")
      })
    )

    it.effect("bans until an instant, for ever, and no longer", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const [player, gateway] = [fresh("p"), fresh("gw")]
        const heard = yield* listen(session, gateway)
        const one = yield* session.login(loginOf(player, gateway))
        yield* session.touch(one)
        yield* session.ban(player, "forever")
        const kick = yield* heard.first(({ playerId }) => playerId === player)
        assert.deepStrictEqual(kick, { playerId: player, device: "", epoch: one.epoch, reason: "banned" })
        const refused = yield* Effect.flip(session.check(player, one.token))
        assert.strictEqual(refused.message, "session: the player is banned for ever")
        assert.strictEqual(yield* tagOf(session.touch(one)), "Banned")
        assert.strictEqual(yield* tagOf(session.login(loginOf(player, gateway))), "Banned")
        assert.isUndefined(yield* session.get(player))
        assert.isFalse((yield* session.presence(player)).online)
        yield* session.unban(player)
        assert.strictEqual(yield* standing(session, one), "Revoked")
        const two = yield* session.login(loginOf(player, gateway))
        const until = DateTime.add(yield* DateTime.now, { milliseconds: 800 })
        yield* session.ban(player, until)
        const { reason } = yield* Effect.flip(session.login(loginOf(player, gateway)))
        assert.deepInclude({ ...reason }, { _tag: "Banned", until })
        yield* advance(1_000)
        assert.strictEqual(yield* standing(session, two), "Revoked")
        assert.strictEqual(yield* standing(session, yield* session.login(loginOf(player, gateway))), "valid")
      })
    )

    it.effect("kicks a player everywhere, who may come back", () =>
      Effect.gen(function* () {
        const session = yield* open({ maxDevices: 3 })
        const [player, one, two] = [fresh("p"), fresh("gw"), fresh("gw")]
        const [atOne, atTwo] = [yield* listen(session, one), yield* listen(session, two)]
        const first = yield* session.login(loginOf(player, one, { device: "a" }))
        const other = yield* session.login(loginOf(player, two, { device: "b" }))
        yield* session.touch(first)
        assert.strictEqual(yield* session.kick(player), 2)
        assert.strictEqual((yield* atOne.first(({ epoch }) => epoch === first.epoch)).reason, "revoked")
        assert.strictEqual((yield* atTwo.first(({ epoch }) => epoch === other.epoch)).reason, "revoked")
        assert.strictEqual(yield* standing(session, first), "Revoked")
        assert.isFalse((yield* session.presence(player)).online)
        assert.strictEqual(yield* session.kick(player), 0)
        assert.strictEqual(yield* standing(session, yield* session.login(loginOf(player, one))), "valid")
      })
    )

    it.effect("revokes what began until an instant, and nothing later", () =>
      Effect.gen(function* () {
        const session = yield* open({ maxDevices: 3 })
        const player = fresh("p")
        const one = yield* session.login(loginOf(player, "gw-1", { device: "a" }))
        yield* advance(20)
        const between = yield* DateTime.now
        yield* advance(20)
        const two = yield* session.login(loginOf(player, "gw-1", { device: "b" }))
        assert.strictEqual(yield* session.revoke(player, between), 1)
        assert.strictEqual(yield* standing(session, one), "Revoked")
        assert.strictEqual(yield* standing(session, two), "valid")
        // An instant to come counts as now: who logs in afterwards stays.
        assert.strictEqual(yield* session.revoke(player, DateTime.add(yield* DateTime.now, { hours: 1 })), 1)
        assert.strictEqual(yield* standing(session, two), "Revoked")
        const three = yield* session.login(loginOf(player, "gw-1", { device: "a" }))
        assert.strictEqual(yield* standing(session, three), "valid")
        assert.strictEqual(yield* session.revoke(player, between), 0)
        assert.strictEqual(yield* standing(session, three), "valid")
      })
    )

    it.effect("lets in who logs in within the millisecond of a revocation", () =>
      Effect.gen(function* () {
        const session = yield* open()
        // An instant to come counts as now. On a server the clock goes on: some of so many meet the same millisecond.
        const now = DateTime.add(yield* DateTime.now, { hours: 1 })
        for (let round = 0; round < 30; round++) {
          yield* advance(2)
          const player = fresh("p")
          yield* session.login(loginOf(player, "gw-1"))
          const together = Effect.all([session.revoke(player, now), session.login(loginOf(player, "gw-1"))], {
            concurrency: "unbounded"
          })
          const [, again] = yield* together
          assert.strictEqual(yield* standing(session, again), "valid")
          yield* session.revokeAll(now)
          const made = yield* session.login(loginOf(player, "gw-1"))
          assert.strictEqual(yield* standing(session, made), "valid")
          // Nothing else is known of this one.
          yield* session.revokeAll(now)
          assert.strictEqual(yield* standing(session, yield* session.login(loginOf(fresh("p"), "gw-1"))), "valid")
        }
      })
    )

    it.effect("lists the sessions of a gateway", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const [gateway, other] = [fresh("gw"), fresh("gw")]
        const players = Array.from({ length: 30 }, () => fresh("p"))
        const made = yield* Effect.forEach(players, (p) => session.login(loginOf(p, gateway)), { concurrency: 10 })
        yield* session.login(loginOf(fresh("p"), other))
        assert.deepStrictEqual(yield* listed(session, gateway), players.toSorted())
        yield* session.logout(made[0]!)
        yield* session.kick(players[1]!)
        yield* session.login(loginOf(players[2]!, other))
        assert.deepStrictEqual(yield* listed(session, gateway), players.slice(3).toSorted())
        assert.deepStrictEqual(yield* listed(session, fresh("gw")), [])
      })
    )

    it.effect("drains a gateway by ending its sessions", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const gateway = fresh("gw")
        const heard = yield* listen(session, gateway)
        const players = Array.from({ length: 12 }, () => fresh("p"))
        const made = yield* Effect.forEach(players, (p) => session.login(loginOf(p, gateway)))
        const drained = yield* Effect.forkChild(session.drain(gateway, { perSecond: 20 }))
        yield* heard.atLeast(1)
        // 12 sessions at 20 a second take 600 ms.
        yield* advance(1_000)
        assert.strictEqual(yield* Fiber.join(drained), 12)
        const kicks = yield* heard.atLeast(12)
        assert.deepStrictEqual([...new Set(kicks.map(({ reason }) => reason))], ["ended"])
        assert.deepStrictEqual(kicks.map(({ epoch }) => epoch).toSorted(), made.map(({ epoch }) => epoch).toSorted())
        assert.deepStrictEqual(yield* listed(session, gateway), [])
      })
    )

    it.effect("drains a gateway by handing its sessions over", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const [gateway, to] = [fresh("gw"), fresh("gw")]
        const heard = yield* listen(session, gateway)
        const one = yield* session.login(loginOf(fresh("p"), gateway))
        const drained = yield* Effect.forkChild(session.drain(gateway, { perSecond: 10_000, to }))
        const kick = yield* heard.first(({ playerId }) => playerId === one.playerId)
        assert.deepStrictEqual(kick, { playerId: one.playerId, device: "", epoch: one.epoch, reason: "moved", to })
        yield* advance(100)
        assert.strictEqual(yield* Fiber.join(drained), 1)
        const moved = yield* session.check(one.playerId, one.token, { gateway: to })
        assert.isAbove(moved.epoch, one.epoch)
        assert.deepStrictEqual(moved.loginTime, one.loginTime)
        // The old gateway closes the connection: that must not end the session.
        yield* session.logout(one)
        assert.strictEqual(yield* standing(session, moved), "valid")
        assert.strictEqual(yield* standing(session, one), "Superseded")
        assert.deepStrictEqual(yield* listed(session, to), [one.playerId])
        assert.deepStrictEqual(yield* listed(session, gateway), [])
      })
    )

    it.effect("tells a gateway that comes late what has ended before", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const [gateway, other] = [fresh("gw"), fresh("gw")]
        const gone = yield* session.login(loginOf(fresh("p"), gateway))
        const kept = yield* session.login(loginOf(fresh("p"), gateway))
        const left = yield* session.login(loginOf(fresh("p"), gateway))
        yield* session.login(loginOf(gone.playerId, other))
        yield* session.logout(left)
        const heard = yield* listen(session, gateway)
        const kick = yield* heard.first(() => true)
        assert.deepStrictEqual(kick, { playerId: gone.playerId, device: "", epoch: gone.epoch, reason: "superseded" })
        yield* session.kick(kept.playerId)
        yield* heard.first(({ playerId }) => playerId === kept.playerId)
        assert.lengthOf(yield* heard.all, 2)
      })
    )

    it.effect("does not tell a gateway what it did itself", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const gateway = fresh("gw")
        const heard = yield* listen(session, gateway)
        const one = yield* session.login(loginOf(fresh("p"), gateway))
        const two = yield* session.login(loginOf(fresh("p"), gateway))
        yield* session.kick(two.playerId)
        yield* heard.first(({ playerId }) => playerId === two.playerId)
        yield* session.logout(one)
        const three = yield* session.login(loginOf(fresh("p"), gateway))
        yield* session.kick(three.playerId)
        yield* heard.first(({ playerId }) => playerId === three.playerId)
        assert.deepStrictEqual(
          (yield* heard.all).map(({ playerId }) => playerId),
          [two.playerId, three.playerId]
        )
      })
    )

    it.effect("revokes everything that began until an instant, and tells the gateways", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const gateway = fresh("gw")
        const heard = yield* listen(session, gateway)
        const one = yield* session.login(loginOf(fresh("p"), gateway))
        yield* advance(20)
        yield* session.revokeAll(yield* DateTime.now)
        assert.strictEqual(yield* standing(session, one), "Revoked")
        assert.strictEqual(yield* tagOf(session.touch(one)), "Revoked")
        assert.isUndefined(yield* session.get(one.playerId))
        const kick = yield* heard.first(({ playerId }) => playerId === one.playerId)
        assert.strictEqual(kick.reason, "revoked")
        const two = yield* session.login(loginOf(one.playerId, gateway))
        assert.strictEqual(yield* standing(session, two), "valid")
      })
    )

    it.effect("refuses names that it cannot store as they are, before it sends anything", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const good = yield* session.login(loginOf(fresh("p"), "gw-1"))
        const bad = ["", "a:b", "a b", "*", "?", "a}{b", "..", "\r\n", "\0", "x".repeat(257), "a/b", "\ud800"]
        for (const id of bad) {
          const tags = yield* Effect.forEach(
            [
              session.login(loginOf(id, "gw-1")),
              session.get(id),
              session.check(id, token("t")),
              session.touch({ ...good, playerId: id }),
              session.logout({ ...good, playerId: id }),
              session.presence(id),
              session.kick(id),
              session.ban(id, "forever"),
              session.unban(id),
              session.revoke(id, yield* DateTime.now)
            ] as ReadonlyArray<Effect.Effect<unknown, SessionError>>,
            tagOf
          )
          assert.deepStrictEqual([...new Set(tags)], ["InvalidPlayerId"], inspect(id))
          assert.strictEqual(yield* tagOf(session.login(loginOf("p", id))), "InvalidInput")
          assert.strictEqual(yield* tagOf(Stream.runDrain(session.list(id))), "InvalidInput")
          assert.strictEqual(yield* tagOf(Stream.runDrain(session.kicks(id))), "InvalidInput")
          if (id !== "") {
            assert.strictEqual(yield* tagOf(session.login(loginOf("p", "gw-1", { device: id }))), "InvalidInput")
            assert.strictEqual(yield* tagOf(session.check("p", token("t"), { device: id })), "InvalidInput")
          }
        }
        for (const text of ["", "x".repeat(8_193), "\ud800"]) {
          assert.strictEqual(yield* tagOf(session.login(loginOf("p", "gw-1", { text }))), "InvalidInput")
        }
        for (const ttl of [0, -1, Duration.days(400), Duration.infinity]) {
          assert.strictEqual(yield* tagOf(session.login(loginOf("p", "gw-1", { ttl }))), "InvalidInput")
        }
        for (const perSecond of [0, 0.5, Number.NaN, 10_001]) {
          assert.strictEqual(yield* tagOf(session.drain("gw-1", { perSecond })), "InvalidInput")
        }
        assert.strictEqual(yield* tagOf(session.drain("gw-1", { perSecond: 1, to: "gw-1" })), "InvalidInput")
        assert.strictEqual(yield* tagOf(session.drain("gw-1", { perSecond: 1, to: "" })), "InvalidInput")
      })
    )

    it.effect("takes ids of any script, and tokens of any text", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const text = `<>&"\\\u2028 \0 ü 🎲`
        for (const player of ["玩家一", "Ünï_c.o@d=e~1+2-3", "x".repeat(256), "__proto__"]) {
          const made = yield* session.login(loginOf(player, "网关", { text }))
          assert.strictEqual(yield* standing(session, made), "valid")
          assert.strictEqual((yield* session.get(player))?.gateway, "网关")
          yield* session.logout(made)
        }
      })
    )

    it.effect("shows no token", () =>
      Effect.gen(function* () {
        const session = yield* open()
        const canary = "canary-5d1e"
        const player = fresh("p")
        const made = yield* session.login(loginOf(player, "gw-1", { text: canary }))
        const error = yield* Effect.flip(session.login(loginOf(player, "", { text: canary })))
        for (const thing of [made, yield* session.get(player), error]) {
          assert.notInclude(`${inspect(thing, { depth: 9 })} ${JSON.stringify(thing)} ${String(thing)}`, canary)
        }
      })
    )
  })
}

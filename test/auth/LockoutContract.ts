import { assert, layer as layerTest } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { randomUUID } from "node:crypto"
import type { AuthError, AuthSettings } from "xdooria/auth"
import { Lockout } from "xdooria/auth"
import { Backend, fresh, reasonOf, secrets } from "./AuthContract.ts"

const attemptOf = (account = fresh("account"), address = fresh("address")) => ({ account, address })

/** Whether it may be tried, or what is locked; an attempt that is only asked for is withdrawn. */
const standing = (lockout: Lockout["Service"], attempt: ReturnType<typeof attemptOf>) =>
  Effect.catch(Effect.as(Effect.flatMap(lockout.check(attempt), lockout.withdrawn), "open"), ({ reason }: AuthError) =>
    Effect.succeed(reason._tag === "LockedOut" ? reason.of : reason._tag)
  )

/** An attempt that fails. */
const failOnce = (lockout: Lockout["Service"], attempt: ReturnType<typeof attemptOf>) =>
  Effect.flatMap(lockout.check(attempt), lockout.failed)

/** An attempt that comes in. */
const logIn = (lockout: Lockout["Service"], attempt: ReturnType<typeof attemptOf>) =>
  Effect.flatMap(lockout.check(attempt), lockout.succeeded)

/** The promises of lockout. See the suite of tokens. */
export const suite = <E>(
  name: string,
  layer: Layer.Layer<Backend, E>,
  { clock }: { readonly clock: "test" | "live" }
): void => {
  /** Lets so many milliseconds pass: the one permitted wait. */
  const advance = (millis: number) => (clock === "test" ? TestClock.adjust(millis) : Effect.sleep(millis))
  const open = (settings: Partial<AuthSettings> = {}) =>
    Effect.map(
      Effect.flatMap(Effect.service(Backend), (backend) => backend.open({ ...secrets, ...settings })),
      Context.get(Lockout)
    )
  const fail = (lockout: Lockout["Service"], attempt: ReturnType<typeof attemptOf>, times: number) =>
    Effect.repeat(failOnce(lockout, attempt), { times: times - 1 })

  layerTest(layer, { excludeTestServices: clock === "live", timeout: "60 seconds" })(name, (it) => {
    it.effect("locks an account after so many failures, from wherever they come", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAccount: 3, lockoutAccountWindow: Duration.minutes(1) })
        const account = fresh("account")
        for (let failures = 0; failures < 3; failures++) {
          const attempt = attemptOf(account)
          assert.strictEqual(yield* standing(lockout, attempt), "open")
          yield* failOnce(lockout, attempt)
        }
        const attempt = attemptOf(account)
        assert.strictEqual(yield* standing(lockout, attempt), "account")
        const reason = yield* reasonOf(lockout.check(attempt))
        assert.strictEqual(reason.isRetryable, true)
        const left = reason._tag === "LockedOut" ? reason.retryAfterMillis : 0
        assert.isTrue(left > 0 && left <= 60_000, String(left))
        // Neither the addresses nor other accounts.
        assert.strictEqual(yield* standing(lockout, { ...attempt, account: fresh("account") }), "open")
      })
    )

    it.effect("forgets the failures of an account that has logged in", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAccount: 3, lockoutAddress: 4 })
        const attempt = attemptOf()
        yield* fail(lockout, attempt, 2)
        const reservation = yield* lockout.check(attempt)
        yield* lockout.succeeded(reservation)
        yield* lockout.succeeded(reservation)
        yield* fail(lockout, attempt, 1)
        assert.strictEqual(yield* standing(lockout, attempt), "open")
        // Who knows one password may not try at all the others with it.
        yield* logIn(lockout, attempt)
        yield* fail(lockout, attempt, 1)
        assert.strictEqual(yield* standing(lockout, attempt), "address")
      })
    )

    it.effect("lets a lock go after its time, and failures that were before it", () =>
      Effect.gen(function* () {
        const window = { lockoutAccountWindow: Duration.seconds(1), lockoutAddressWindow: Duration.seconds(1) }
        const lockout = yield* open({ lockoutAccount: 2, ...window })
        const attempt = attemptOf()
        yield* fail(lockout, attempt, 2)
        assert.strictEqual(yield* standing(lockout, attempt), "account")
        yield* advance(1_100)
        assert.strictEqual(yield* standing(lockout, attempt), "open")
        yield* fail(lockout, attempt, 1)
        assert.strictEqual(yield* standing(lockout, attempt), "open")
        yield* advance(1_100)
        yield* fail(lockout, attempt, 1)
        assert.strictEqual(yield* standing(lockout, attempt), "open")
        // And counts from then on as before.
        yield* fail(lockout, attempt, 1)
        assert.strictEqual(yield* standing(lockout, attempt), "account")
      })
    )

    it.effect("locks for the whole time from the failure that locked", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAccount: 2, lockoutAccountWindow: Duration.seconds(2) })
        const attempt = attemptOf()
        yield* failOnce(lockout, attempt)
        yield* advance(1_200)
        const reservation = yield* lockout.check(attempt)
        yield* lockout.failed(reservation)
        yield* advance(1_200)
        // Told twice, it does not prolong it.
        yield* lockout.failed(reservation)
        assert.strictEqual(yield* standing(lockout, attempt), "account")
        yield* advance(1_200)
        assert.strictEqual(yield* standing(lockout, attempt), "open")
      })
    )

    it.effect("locks an address, or a network of IPv6, after so many failures of whichever accounts", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAddress: 4 })
        const network = `2001:db8:${randomUUID().slice(0, 4)}`
        for (const [failed, same, others] of [
          [
            ["10.1.2.3", "::ffff:10.1.2.3", "::FFFF:0a01:203", "64:ff9b::10.1.2.3"],
            [
              "10.1.2.3",
              "0:0:0:0:0:ffff:a01:203",
              "0064:FF9B::0A01:0203",
              "64:ff9b:0:0:0:0:10.1.2.3",
              "::ffff:10.1.2.3%1"
            ],
            [
              "10.1.2.4",
              "::ffff:10.1.2.4",
              "::ffff:a01:204",
              "64:ff9b::a01:204",
              // Of another prefix, and not of IPv4.
              "::10.1.2.3",
              "64:ff9b:1::10.1.2.3",
              "::ffff:0:10.1.2.3"
            ]
          ],
          [
            [
              `${network}:1::1`,
              `${network.toUpperCase()}:0001:0:0:0:2`,
              `${network}:1:2:3:4:5`,
              `${network}:1::9%eth0`
            ],
            [`${network}:1:ffff::`],
            [`${network}:2::1`, `${network}::1`, "::1"]
          ],
          [["unix:", "unix:", "unix:", "unix:"], ["unix:"], [""]]
        ] as const) {
          for (const address of failed) yield* failOnce(lockout, attemptOf(undefined, address))
          for (const address of same) {
            assert.strictEqual(yield* standing(lockout, attemptOf(undefined, address)), "address", address)
          }
          for (const address of others) {
            assert.strictEqual(yield* standing(lockout, attemptOf(undefined, address)), "open", address)
          }
        }
      })
    )

    it.effect("tells of two locks the longer one", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAccount: 1, lockoutAddress: 1 })
        const attempt = attemptOf()
        yield* failOnce(lockout, attempt)
        // An account is locked for a minute, an address for ten.
        assert.strictEqual(yield* standing(lockout, attempt), "address")
      })
    )

    it.effect("never locks where the limit is 0", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAccount: 0, lockoutAddress: 0 })
        const attempt = attemptOf()
        yield* fail(lockout, attempt, 20)
        assert.strictEqual(yield* standing(lockout, attempt), "open")
        yield* logIn(lockout, attempt)
        const accounts = yield* open({ lockoutAccount: 2, lockoutAddress: 0 })
        yield* fail(accounts, attempt, 2)
        assert.strictEqual(yield* standing(accounts, attempt), "account")
      })
    )

    it.effect("counts what happens at once", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAccount: 10 })
        const account = fresh("account")
        const failing = (count: number) =>
          Effect.all(
            Array.from({ length: count }, () => failOnce(lockout, attemptOf(account))),
            { concurrency: "unbounded", discard: true }
          )
        yield* failing(9)
        assert.strictEqual(yield* standing(lockout, attemptOf(account)), "open")
        yield* failing(1)
        assert.strictEqual(yield* standing(lockout, attemptOf(account)), "account")
      })
    )

    it.effect("takes accounts of any text", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAccount: 1 })
        for (const account of ["", "a:b", "玩家@例.cn", "*", "\0", "x".repeat(100_000), "__proto__", "\ud800"]) {
          yield* failOnce(lockout, attemptOf(account))
          assert.strictEqual(yield* standing(lockout, attemptOf(account)), "account")
          assert.strictEqual(yield* standing(lockout, attemptOf(`${account} `)), "open")
        }
      })
    )

    /** Guesses of all attempts at once, each of which ends when a test says so; gives how many were let through. */
    const guessing = (lockout: Lockout["Service"], attempts: ReadonlyArray<ReturnType<typeof attemptOf>>) =>
      Effect.gen(function* () {
        let begun = 0
        const [many, end] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const limit = 5
        const guess = Effect.gen(function* () {
          if (++begun === limit) yield* Deferred.succeed(many, undefined)
          yield* Deferred.await(end)
          return yield* Effect.fail("wrong password" as const)
        })
        const fibers = yield* Effect.forEach(attempts, (attempt) =>
          Effect.forkScoped(
            Effect.exit(Effect.provideService(Lockout.guard(attempt, () => true)(guess), Lockout, lockout))
          )
        )
        yield* Deferred.await(many)
        // Who waits for a turn has asked again and again by then.
        yield* advance(500)
        assert.strictEqual(begun, limit)
        yield* Deferred.succeed(end, undefined)
        yield* Effect.forkScoped(Effect.forever(advance(100)))
        yield* Effect.forEach(fibers, Fiber.await)
        return begun
      }).pipe(Effect.scoped)

    it.effect("lets of 50 guesses at once no more through than may fail", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAccount: 5, lockoutAddress: 0 })
        const account = fresh("account")
        const all = Array.from({ length: 50 }, () => attemptOf(account))
        assert.strictEqual(yield* guessing(lockout, all), 5)
        assert.strictEqual(yield* standing(lockout, attemptOf(account)), "account")
      })
    )

    it.effect("does so for an address, and gives back the places of accounts that none was needed of", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAccount: 1, lockoutAddress: 5 })
        const address = fresh("address")
        const all = Array.from({ length: 50 }, () => attemptOf(undefined, address))
        assert.strictEqual(yield* guessing(lockout, all), 5)
        const standings = yield* Effect.forEach(all, ({ account }) => standing(lockout, attemptOf(account)))
        assert.strictEqual(standings.filter((one) => one === "account").length, 5)
        assert.strictEqual(standings.filter((one) => one === "open").length, 45)
      })
    )

    it.effect("lets all in who are right and come at once, in turn", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAccount: 2, lockoutAddress: 3 })
        const attempt = attemptOf()
        let inside = 0
        const login = Effect.gen(function* () {
          assert.isAtMost(++inside, 2)
          yield* Effect.yieldNow
          inside--
          return "in"
        })
        yield* Effect.forkScoped(Effect.forever(advance(100)))
        const all = yield* Effect.forEach(
          Array.from({ length: 10 }, () => attempt),
          (one) => Effect.provideService(Lockout.guard(one, () => true)(login), Lockout, lockout),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(all.length, 10)
      }).pipe(Effect.scoped)
    )

    it.effect("tells who waited in vain to come again soon", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAccount: 1 })
        const attempt = attemptOf()
        const reservation = yield* lockout.check(attempt)
        const waiting = yield* Effect.forkScoped(reasonOf(lockout.check(attempt)))
        yield* Effect.forkScoped(Effect.forever(advance(100)))
        assert.deepInclude({ ...(yield* Fiber.join(waiting)) }, { of: "account", retryAfterMillis: 1_000 })
        yield* lockout.withdrawn(reservation)
        assert.strictEqual(yield* standing(lockout, attempt), "open")
      }).pipe(Effect.scoped)
    )

    it.effect("counts no login that was interrupted, or that died", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAccount: 1, lockoutAddress: 1 })
        const attempt = attemptOf()
        const guarded = (login: Effect.Effect<void>) =>
          Effect.provideService(Lockout.guard(attempt, () => true)(login), Lockout, lockout)
        const begun = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkScoped(
          guarded(Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))
        )
        yield* Deferred.await(begun)
        // Nor one that waits for its turn.
        const waiting = yield* Effect.forkScoped(guarded(Effect.void), { startImmediately: true })
        yield* Fiber.interrupt(waiting)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* standing(lockout, attempt), "open")
        assert.strictEqual((yield* Effect.exit(guarded(Effect.die("a bug"))))._tag, "Failure")
        assert.strictEqual(yield* standing(lockout, attempt), "open")
      }).pipe(Effect.scoped)
    )

    it.effect("stands around a login", () =>
      Effect.gen(function* () {
        const lockout = yield* open({ lockoutAccount: 2 })
        const attempt = attemptOf()
        let runs = 0
        const login = (result: "in" | "wrong password" | "no database") =>
          Effect.suspend(() => {
            runs++
            return result === "in" ? Effect.succeed(result) : Effect.fail(result)
          }).pipe(
            Lockout.guard(attempt, (error) => error === "wrong password"),
            Effect.provideService(Lockout, lockout),
            Effect.catch((error) => Effect.succeed(typeof error === "string" ? error : error.reason._tag))
          )
        for (const [result, given] of [
          ["no database", "no database"],
          ["no database", "no database"],
          ["wrong password", "wrong password"],
          ["in", "in"],
          ["wrong password", "wrong password"],
          ["wrong password", "wrong password"],
          ["in", "LockedOut"]
        ] as const) {
          assert.strictEqual(yield* login(result), given)
        }
        assert.strictEqual(runs, 6)
      })
    )
  })
}

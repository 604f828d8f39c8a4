import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { createHook } from "node:async_hooks"
import { Crypto } from "xdooria/utils"

/** As little as argon2 allows: these tests are about what is around it. */
const cheap: Crypto.PasswordCost = { memory: 8, passes: 1, parallelism: 1 }

const secret = (text: string) => Redacted.make(text)

const password = Arbitrary.schema(
  Schema.String.check(
    Schema.isMinLength(1),
    Schema.isMaxLength(64),
    Schema.makeFilter((text: string) => text.isWellFormed())
  )
)

describe("passwords", () => {
  it.effect.prop("fit the hash that was made of them, and no other", [password, password], ([one, other]) =>
    Effect.gen(function* () {
      const { hash, needsRehash, verify } = yield* Crypto.passwords(cheap)
      const made = yield* hash(secret(one))
      assert.isTrue(yield* verify(secret(one), made))
      assert.strictEqual(yield* verify(secret(other), made), one.normalize("NFKC") === other.normalize("NFKC"))
      assert.isFalse(yield* verify(secret(one), undefined))
      assert.isFalse(needsRehash(made))
    })
  )

  it.effect("cost what OWASP recommends, and are written in the form that others read", () =>
    Effect.gen(function* () {
      const { hash, verify } = yield* Crypto.passwords()
      const made = yield* hash(secret("correct horse"))
      assert.match(Redacted.value(made), /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
      assert.notStrictEqual(Redacted.value(yield* hash(secret("correct horse"))), Redacted.value(made))
      assert.isTrue(yield* verify(secret("correct horse"), made))
      assert.isFalse(yield* verify(secret("correct horsf"), made))
    })
  )

  it.effect("verify what another implementation has hashed, with its parameters", () =>
    Effect.gen(function* () {
      const { needsRehash, verify } = yield* Crypto.passwords()
      // Of the tests of the reference implementation, https://github.com/P-H-C/phc-winner-argon2: m=2^8, t=2, p=2.
      const reference = secret("$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc")
      assert.isTrue(yield* verify(secret("password"), reference))
      assert.isFalse(yield* verify(secret("passwore"), reference))
      assert.isTrue(needsRehash(reference))
    })
  )

  it.effect("are one however their characters were composed", () =>
    Effect.gen(function* () {
      const { hash, verify } = yield* Crypto.passwords(cheap)
      const made = yield* hash(secret("caf\u00e9 \ufb01"))
      assert.isTrue(yield* verify(secret("cafe\u0301 fi"), made))
    })
  )

  it.effect("have 1 to 256 characters", () =>
    Effect.gen(function* () {
      const { hash, verify } = yield* Crypto.passwords(cheap)
      const longest = "\u{1f600}".repeat(256)
      assert.isTrue(Crypto.isPassword(longest))
      assert.isTrue(yield* verify(secret(longest), yield* hash(secret(longest))))
      // The last one is a ligature that NFKC takes apart, into 18 characters.
      for (const wrong of [
        "",
        `${longest}x`,
        "x".repeat(257),
        "x".repeat(10_000_000),
        "a\ud800",
        "\ufdfa".repeat(15)
      ]) {
        assert.isFalse(Crypto.isPassword(wrong))
        assert.strictEqual((yield* Effect.flip(hash(secret(wrong)))).reason._tag, "InvalidInput")
        assert.strictEqual((yield* Effect.flip(verify(secret(wrong), undefined))).reason._tag, "InvalidInput")
      }
    })
  )

  it.effect.each([
    "",
    "password",
    "$argon2i$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    "$argon2id$v=16$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    "$argon2id$v=19$m=65537,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    "$argon2id$v=19$m=4294967295,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    "$argon2id$v=19$m=256,t=11,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    "$argon2id$v=19$m=256,t=2,p=5$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    "$argon2id$v=19$m=15,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    "$argon2id$v=19$m=0,t=0,p=0$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    "$argon2id$v=19$m=256,t=2,p=2$$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$",
    `$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$${"A".repeat(1_000_000)}`,
    "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"
  ])("are not compared with %s", (text) =>
    Effect.gen(function* () {
      const { needsRehash, verify } = yield* Crypto.passwords(cheap)
      const error = yield* Effect.flip(verify(secret("password"), secret(text)))
      assert.strictEqual(error.reason._tag, "InvalidHash")
      if (text !== "") assert.notInclude(JSON.stringify(error), text)
      assert.isTrue(needsRehash(secret(text)))
    })
  )

  it.effect("of a cost that no hash may have are a defect", () =>
    Effect.gen(function* () {
      for (const cost of [
        { ...cheap, memory: 65_537 },
        { ...cheap, passes: 11 },
        { ...cheap, parallelism: 2 }
      ]) {
        assert.isTrue((yield* Effect.exit(Crypto.passwords(cost)))._tag === "Failure")
      }
    })
  )

  it.live("are hashed two at once, however many come, and who no longer waits is not hashed", () =>
    Effect.gen(function* () {
      let begun = 0
      let ended = 0
      let most = 0
      const mine = new Set<number>()
      const hook = createHook({
        init: (id, type) => {
          if (type !== "ARGON2REQUEST") return
          mine.add(id)
          most = Math.max(most, ++begun - ended)
        },
        before: (id) => void (mine.has(id) && ended++)
      }).enable()
      yield* Effect.addFinalizer(() => Effect.sync(() => hook.disable()))
      // So much that those who wait are gone before the first ends, on a busy machine too.
      const { hash } = yield* Crypto.passwords({ memory: 65_536, passes: 3, parallelism: 1 })
      const forked = yield* Effect.all(
        Array.from({ length: 6 }, () => Effect.forkChild(hash(secret("password")), { startImmediately: true }))
      )
      assert.strictEqual(begun, 2)
      // One that waits leaves at once; one that has begun keeps its place until its memory is free.
      const [first, , , ...waiting] = forked
      yield* Effect.forEach(waiting, Fiber.interrupt)
      assert.strictEqual(begun, 2)
      yield* Fiber.interrupt(first!)
      yield* Fiber.joinAll(forked.slice(1, 3))
      assert.deepStrictEqual({ begun, ended, most }, { begun: 3, ended: 3, most: 2 })
    })
  )
})

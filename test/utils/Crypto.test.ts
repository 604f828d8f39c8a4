import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { createCipheriv, createHmac, randomBytes } from "node:crypto"
import { inspect } from "node:util"
import { Crypto, type CryptoError } from "xdooria/utils"

const secret = (text: string) => Redacted.make(text)
const key = () => secret(randomBytes(32).toString("base64url"))
const ringOf = (current: string, keys: Record<string, Redacted.Redacted<string>>) =>
  Result.getOrThrow(Crypto.keyRing({ current, keys }))
const tagOf = <A>(result: Result.Result<A, CryptoError>) =>
  Result.isFailure(result) ? result.failure.reason._tag : "none"

const wellFormed = Schema.String.check(Schema.makeFilter((text: string) => text.isWellFormed()))

/** Texts that are one where a lone surrogate is replaced. */
const unlike = ["p\ud800", "p\ud801", "p\udfff", "p\ufffd"] as const

describe("token", () => {
  it.effect("has the bytes that it was asked for, as base64url, never twice", () =>
    Effect.gen(function* () {
      for (const bytes of [16, 32, 64]) {
        const made = yield* Effect.all(Array.from({ length: 200 }, () => Crypto.token(bytes)))
        const texts = new Set(made.map(Redacted.value))
        assert.strictEqual(texts.size, 200)
        for (const text of texts) {
          assert.match(text, /^[A-Za-z0-9_-]+$/)
          assert.strictEqual(Buffer.from(text, "base64url").length, bytes)
        }
      }
      assert.strictEqual(Redacted.value(yield* Crypto.token()).length, 43)
    })
  )

  it.effect("of another length is a defect", () =>
    Effect.gen(function* () {
      for (const bytes of [15, 65, 16.5, Number.NaN]) {
        assert.isTrue((yield* Effect.exit(Crypto.token(bytes)))._tag === "Failure")
      }
    })
  )
})

describe("equals", () => {
  it.prop("says whether two texts are one", [Schema.String, Schema.String], ([one, other]) => {
    assert.isTrue(Crypto.equals(secret(one), secret(one)))
    assert.strictEqual(Crypto.equals(secret(one), secret(other)), one === other)
    assert.isFalse(Crypto.equals(secret(one), secret(`${one}x`)))
  })

  it("tells texts apart that UTF-8 cannot hold", () => {
    const [first, ...others] = unlike
    assert.isTrue(Crypto.equals(secret(first), secret(first)))
    for (const other of others) assert.isFalse(Crypto.equals(secret(first), secret(other)))
  })
})

describe("hmac", () => {
  it.prop("is HMAC-SHA256", [wellFormed], ([text]) => {
    const material = "k".repeat(32)
    const mac = Result.getOrThrow(Crypto.macKey(secret(material)))
    assert.strictEqual(Crypto.hmac(mac, text), createHmac("sha256", material).update(text).digest("base64url"))
  })

  it("tells texts apart that UTF-8 cannot hold, and takes none of them as a key", () => {
    const mac = Result.getOrThrow(Crypto.macKey(secret("k".repeat(32))))
    assert.strictEqual(new Set(unlike.map((text) => Crypto.hmac(mac, text))).size, unlike.length)
    assert.strictEqual(tagOf(Crypto.macKey(secret("\ud800".repeat(32)))), "InvalidKey")
  })

  it("takes no key of fewer than 32 bytes, and tells none", () => {
    const result = Crypto.macKey(secret("short-secret-value-of-31-bytes!"))
    assert.strictEqual(tagOf(result), "InvalidKey")
    assert.notInclude(inspect(result, { depth: 9 }), "short")
    assert.isTrue(Result.isSuccess(Crypto.macKey(secret("ü".repeat(16)))))
    assert.notInclude(inspect(Crypto.macKey(secret("visible".repeat(6))), { depth: 9, showHidden: true }), "visible")
  })
})

describe("keyRing", () => {
  it("refuses what is no key, and tells none", () => {
    const wrong = ["", "short", "x".repeat(42), "x".repeat(44), `${"x".repeat(42)}!`, randomBytes(32).toString("hex")]
    for (const text of wrong) {
      const result = Crypto.keyRing({ current: "a", keys: { a: secret(text) } })
      assert.strictEqual(tagOf(result), "InvalidKey")
      if (text !== "") assert.notInclude(inspect(result, { depth: 9 }), text)
    }
    assert.strictEqual(tagOf(Crypto.keyRing({ current: "b", keys: { a: key() } })), "InvalidKey")
    for (const id of ["", "a.b", "a b", "x".repeat(65)]) {
      assert.strictEqual(tagOf(Crypto.keyRing({ current: id, keys: { [id]: key() } })), "InvalidKey")
    }
  })

  it("takes base64 of either alphabet, padded or not", () => {
    const bytes = Buffer.alloc(32, 0xfb)
    for (const text of [bytes.toString("base64"), bytes.toString("base64url")]) {
      assert.isTrue(Result.isSuccess(Crypto.keyRing({ current: "a", keys: { a: secret(text) } })))
    }
  })
})

describe("seal", () => {
  it.effect.prop("opens with the key that sealed, whichever is current", [wellFormed, wellFormed], ([text, beside]) =>
    Effect.gen(function* () {
      const keys = { k1: key(), k2: key() }
      const sealed = yield* Crypto.seal(ringOf("k1", keys), secret(text), beside)
      const opened = Crypto.open(ringOf("k2", keys), sealed, beside)
      assert.strictEqual(Redacted.value(Result.getOrThrow(opened)), text)
    })
  )

  it.effect.prop("opens in no other way", [wellFormed, Arbitrary.schema(Schema.Int)], ([text, seed]) =>
    Effect.gen(function* () {
      const keys = { k1: key(), k2: key() }
      const ring = ringOf("k1", keys)
      const sealed = yield* Crypto.seal(ring, secret(text), "beside")
      // Every character is authenticated: its encoding, too.
      const at = Math.abs(seed) % sealed.length
      const changed = sealed[at] === "A" ? "B" : "A"
      const attempts = [
        Crypto.open(ring, sealed.slice(0, at) + changed + sealed.slice(at + 1), "beside"),
        Crypto.open(ring, sealed.slice(0, at), "beside"),
        Crypto.open(ring, `${sealed}A`, "beside"),
        Crypto.open(ring, `${sealed}=`, "beside"),
        Crypto.open(ring, `${sealed}.`, "beside"),
        Crypto.open(ring, sealed, "Beside"),
        Crypto.open(ring, sealed.replace(".k1.", ".k2."), "beside"),
        Crypto.open(ringOf("k2", { k2: keys.k2 }), sealed, "beside"),
        Crypto.open(ringOf("k1", { k1: keys.k2 }), sealed, "beside")
      ]
      for (const [i, attempt] of attempts.entries()) {
        assert.strictEqual(tagOf(attempt), "NotSealed", `attempt ${i}`)
      }
      // One answer for all: nothing tells which of them it was.
      assert.strictEqual(new Set(attempts.map((one) => JSON.stringify(one))).size, 1)
    })
  )

  it.effect("never seals alike", () =>
    Effect.gen(function* () {
      const ring = ringOf("k1", { k1: key() })
      const all = yield* Effect.all(Array.from({ length: 500 }, () => Crypto.seal(ring, secret("text"), "")))
      assert.strictEqual(new Set(all).size, 500)
    })
  )

  it.effect("opens beside the same text only, also beside those that UTF-8 cannot hold", () =>
    Effect.gen(function* () {
      const ring = ringOf("k1", { k1: key() })
      for (const beside of unlike) {
        const sealed = yield* Crypto.seal(ring, secret("text"), beside)
        for (const other of unlike) {
          assert.strictEqual(Result.isSuccess(Crypto.open(ring, sealed, other)), other === beside)
        }
      }
    })
  )

  it.effect("refuses a text that UTF-8 cannot hold", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Crypto.seal(ringOf("k1", { k1: key() }), secret("a\ud800b"), ""))
      assert.strictEqual(error.reason._tag, "InvalidInput")
    })
  )

  it("opens what another implementation of the form has sealed", () => {
    const bytes = randomBytes(32)
    const cipher = createCipheriv("aes-256-gcm", bytes, Buffer.alloc(12, 7)).setAAD(Buffer.from("1.k1.purpose"))
    const data = Buffer.concat([Buffer.alloc(12, 7), cipher.update("text"), cipher.final(), cipher.getAuthTag()])
    const ring = ringOf("k1", { k1: secret(bytes.toString("base64")) })
    const opened = Crypto.open(ring, `1.k1.${data.toString("base64url")}`, "purpose")
    assert.strictEqual(Redacted.value(Result.getOrThrow(opened)), "text")
    // A tag that was cut short opens nothing, though the cipher would take it.
    const short = data.subarray(0, -4).toString("base64url")
    assert.strictEqual(tagOf(Crypto.open(ring, `1.k1.${short}`, "purpose")), "NotSealed")
  })

  it("prints neither keys nor texts", () => {
    const material = key()
    const ring = ringOf("k1", { k1: material })
    for (const print of [JSON.stringify(ring), inspect(ring, { depth: 9, showHidden: true })]) {
      assert.notInclude(print, Redacted.value(material))
      assert.notInclude(print, Buffer.from(Redacted.value(material), "base64").toString("hex").slice(0, 8))
    }
  })
})

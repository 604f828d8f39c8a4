import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { calculateJwkThumbprint, type JWK, jwtVerify, SignJWT } from "jose"
import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto"
import { inspect } from "node:util"
import type { InvalidConfig } from "xdooria/config"
import type { AuthSettings } from "xdooria/auth"
import { begin, forge, now, open, part, read, secret, signWith, verdict } from "./Forge.ts"
import { keyFiles, pemOf } from "./KeyFiles.ts"

const pairs = {
  EdDSA: generateKeyPairSync("ed25519"),
  ES256: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  RS256: generateKeyPairSync("rsa", { modulusLength: 2048 })
}

const noSecret = { secret: Redacted.make("") }

const issueOf = (error: InvalidConfig) => (error.reason._tag === "Rejected" ? error.reason.issues[0]! : error.reason)

const refused = (settings: Partial<AuthSettings>) => Effect.map(Effect.flip(open(settings)), issueOf)

describe.each(Object.keys(pairs) as ReadonlyArray<keyof typeof pairs>)("a pair of keys for %s", (algorithm) => {
  const { privateKey, publicKey } = pairs[algorithm]

  const setUp = Effect.gen(function* () {
    yield* begin
    const { key, pub } = yield* keyFiles({ key: privateKey, pub: publicKey })
    const signer = yield* open({ ...noSecret, signingKeyFile: key })
    return { signer, token: yield* signWith(signer), verifier: yield* open({ ...noSecret, verifyKeyFiles: [pub] }) }
  })

  it.effect("signs what itself, the holder of the public half and jose take", () =>
    Effect.gen(function* () {
      const { signer, token, verifier } = yield* setUp
      assert.deepStrictEqual(yield* signer.verify(token), yield* verifier.verify(token))
      const options = { issuer: "xdooria", audience: "xdooria", typ: "at+jwt", currentDate: new Date(now) }
      yield* Effect.promise(() => jwtVerify(token, publicKey, { algorithms: [algorithm], ...options }))
      const theirs = yield* Effect.promise(() =>
        new SignJWT(read(token, 1)).setProtectedHeader(read(token, 0) as { alg: string }).sign(privateKey)
      )
      assert.strictEqual(yield* verdict(verifier, theirs), "good")
    })
  )

  it.effect("is published by its public half alone, under the name that RFC 7638 gives it", () =>
    Effect.gen(function* () {
      const { signer, token, verifier } = yield* setUp
      const jwk = publicKey.export({ format: "jwk" })
      const kid = yield* Effect.promise(() => calculateJwkThumbprint(jwk as JWK))
      assert.deepStrictEqual(yield* signer.jwks, { keys: [{ ...jwk, kid, alg: algorithm, use: "sig" }] })
      assert.deepStrictEqual(yield* verifier.jwks, yield* signer.jwks)
      assert.deepStrictEqual(read(token, 0), { alg: algorithm, typ: "at+jwt", kid })
    })
  )

  it.effect("is for its algorithm alone: its public half is no secret", () =>
    Effect.gen(function* () {
      const { token, verifier } = yield* setUp
      const [header, payload] = [read(token, 0), read(token, 1)]
      for (const key of [
        pemOf(publicKey),
        pemOf(publicKey).trimEnd(),
        publicKey.export({ format: "der", type: "spki" })
      ]) {
        const bad = forge({ ...header, alg: "HS256" }, payload, key)
        assert.strictEqual(yield* verdict(verifier, bad), "AlgorithmNotAllowed")
      }
      for (const other of ["EdDSA", "ES256", "RS256"].filter((one) => one !== algorithm)) {
        const [, , signature] = token.split(".")
        const bad = `${part({ ...header, alg: other })}.${part(payload)}.${signature}`
        assert.strictEqual(yield* verdict(verifier, bad), "AlgorithmNotAllowed")
      }
    })
  )

  it.effect("did not sign what has another signature, of any length", () =>
    Effect.gen(function* () {
      const { token, verifier } = yield* setUp
      const [header, payload, signature] = token.split(".") as [string, string, string]
      const bytes = Buffer.from(signature, "base64url")
      const flipped = Buffer.from(bytes)
      flipped[7]! ^= 1
      const others = [
        flipped,
        Buffer.alloc(0),
        bytes.subarray(1),
        Buffer.concat([bytes, Buffer.alloc(1)]),
        Buffer.alloc(bytes.length),
        Buffer.alloc(1_000)
      ]
      for (const other of others) {
        assert.strictEqual(yield* verdict(verifier, `${header}.${payload}.${part(other)}`), "SignatureInvalid")
      }
    })
  )
})

describe("a secret", () => {
  it.effect("has one name in every service, which tells nothing of it", () =>
    Effect.gen(function* () {
      yield* begin
      const [one, other] = [yield* open(), yield* open()]
      const kids = [read(yield* signWith(one), 0)["kid"], read(yield* signWith(other), 0)["kid"]]
      assert.deepStrictEqual(kids, ["iw56KjVmWJEjX1NHDuK1ZG", "iw56KjVmWJEjX1NHDuK1ZG"])
      assert.deepStrictEqual(yield* one.jwks, { keys: [] })
    })
  )

  it.effect("shorter than 32 bytes is refused, in settings too", () =>
    Effect.gen(function* () {
      const short = Redacted.make("x".repeat(31))
      assert.deepInclude(yield* refused({ secret: short }), { path: "auth.secret", expected: "32 bytes or more" })
      assert.deepInclude(yield* refused({ previousSecrets: [short] }), { path: "auth.previous_secrets" })
      yield* open({ secret: Redacted.make("ä".repeat(16)) })
    })
  )

  it.effect("is needed, where no other key is", () =>
    Effect.gen(function* () {
      assert.deepInclude(yield* refused(noSecret), { path: "auth.secret" })
    })
  )
})

describe("a rollover", () => {
  const old = Redacted.make("the old secret, of 32 bytes or more")
  const next = Redacted.make("the next secret, of 32 bytes or more")

  it.effect("of secrets: both verify while both are there, and none does that is not", () =>
    Effect.gen(function* () {
      yield* begin
      const stages = yield* Effect.forEach(
        [
          { secret: old },
          { secret: old, previousSecrets: [next] },
          { secret: next, previousSecrets: [old] },
          { secret: next }
        ],
        open
      )
      const byOld = yield* signWith(stages[0]!)
      const byNext = yield* signWith(stages[3]!)
      const seen = yield* Effect.forEach(stages, (one) => Effect.all([verdict(one, byOld), verdict(one, byNext)]))
      assert.deepStrictEqual(seen, [
        ["good", "KeyUnknown"],
        ["good", "good"],
        ["good", "good"],
        ["KeyUnknown", "good"]
      ])
    })
  )

  it.effect("from a secret to a pair, and from one pair to another", () =>
    Effect.gen(function* () {
      yield* begin
      const paths = yield* keyFiles({
        ed: pairs.EdDSA.privateKey,
        es: pairs.ES256.privateKey,
        edPublic: pairs.EdDSA.publicKey,
        esPublic: pairs.ES256.publicKey
      })
      const bySecret = yield* signWith(yield* open())
      const between = yield* open({
        ...noSecret,
        previousSecrets: [Redacted.make(secret)],
        signingKeyFile: paths.ed,
        verifyKeyFiles: [paths.esPublic]
      })
      const byFirst = yield* signWith(between)
      const after = yield* open({ ...noSecret, signingKeyFile: paths.es, verifyKeyFiles: [paths.edPublic] })
      const bySecond = yield* signWith(after)
      assert.deepStrictEqual(yield* Effect.forEach([bySecret, byFirst, bySecond], (one) => verdict(between, one)), [
        "good",
        "good",
        "good"
      ])
      assert.deepStrictEqual(yield* Effect.forEach([bySecret, byFirst, bySecond], (one) => verdict(after, one)), [
        "KeyUnknown",
        "good",
        "good"
      ])
    })
  )

  it.effect("publishes a pair once that signs and is among those that verify", () =>
    Effect.gen(function* () {
      const { key, pub } = yield* keyFiles({ key: pairs.EdDSA.privateKey, pub: pairs.EdDSA.publicKey })
      const tokens = yield* open({ ...noSecret, signingKeyFile: key, verifyKeyFiles: [pub, pub] })
      assert.strictEqual((yield* tokens.jwks).keys.length, 1)
    })
  )

  it.effect("leaves a secret unused beside a pair", () =>
    Effect.gen(function* () {
      yield* begin
      const bySecret = yield* signWith(yield* open())
      const { key } = yield* keyFiles({ key: pairs.EdDSA.privateKey })
      const tokens = yield* open({ signingKeyFile: key })
      assert.strictEqual(read(yield* signWith(tokens), 0)["alg"], "EdDSA")
      assert.strictEqual(yield* verdict(tokens, bySecret), "KeyUnknown")
    })
  )
})

describe("a file that cannot be used", () => {
  const { privateKey, publicKey } = pairs.EdDSA
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 })
  const curve = generateKeyPairSync("ec", { namedCurve: "secp256k1" })
  const larger = generateKeyPairSync("ec", { namedCurve: "P-384" })
  const pss = generateKeyPairSync("rsa-pss", { modulusLength: 2048 })
  const exchange = generateKeyPairSync("x25519")
  const encrypted = privateKey
    .export({ format: "pem", type: "pkcs8", cipher: "aes-256-cbc", passphrase: "p" })
    .toString()

  const signing: Readonly<Record<string, readonly [KeyObject | string, string]>> = {
    "a public key": [publicKey, "ERR_OSSL_UNSUPPORTED"],
    "RSA of 1024 bits": [weak.privateKey, "another kind of key"],
    "RSA-PSS": [pss.privateKey, "another kind of key"],
    "another curve": [curve.privateKey, "another kind of key"],
    "a larger curve": [larger.privateKey, "another kind of key"],
    "a key to exchange keys": [exchange.privateKey, "another kind of key"],
    "an encrypted key": [encrypted, "an encrypted key"],
    "no PEM": ["a secret of 32 bytes in the wrong place", "ERR_OSSL_UNSUPPORTED"],
    nothing: ["", "ERR_OSSL_UNSUPPORTED"]
  }

  it.effect.each(Object.entries(signing))("to sign: %s", ([, [text, actual]]) =>
    Effect.gen(function* () {
      const { key } = yield* keyFiles({ key: text })
      assert.deepStrictEqual(
        { ...(yield* refused({ ...noSecret, signingKeyFile: key })) },
        {
          source: key,
          path: "auth.signing_key_file",
          expected:
            "a PEM file with a private key (Ed25519, P-256, or RSA from 2048 bits with an odd exponent from 3), not encrypted",
          actual
        }
      )
    })
  )

  it.effect("to verify: a private key, one that is too weak, none", () =>
    Effect.gen(function* () {
      const one = createPublicKey({
        key: { ...pairs.RS256.publicKey.export({ format: "jwk" }), e: "AQ" },
        format: "jwk"
      })
      const paths = yield* keyFiles({ private: privateKey, weak: weak.publicKey, one, none: "x" })
      const actual = (path: string) => Effect.map(refused({ verifyKeyFiles: [path] }), (issue) => issue.actual)
      assert.strictEqual(yield* actual(paths.private), "a private key")
      assert.strictEqual(yield* actual(paths.weak), "another kind of key")
      assert.strictEqual(yield* actual(paths.one), "another kind of key")
      assert.strictEqual(yield* actual(paths.none), "ERR_OSSL_UNSUPPORTED")
      assert.strictEqual(yield* actual(`${paths.none}-absent`), "ENOENT")
      assert.strictEqual(yield* actual("/dev/zero"), "no regular file")
    })
  )

  it.effect("is not shown", () =>
    Effect.gen(function* () {
      const { key } = yield* keyFiles({ key: `${encrypted}\ncanary` })
      const error = yield* Effect.flip(open({ signingKeyFile: key }))
      const body = encrypted.split("\n")[1]!
      for (const canary of ["canary", body])
        assert.notInclude(`${inspect(error, { depth: 9 })} ${JSON.stringify(error)}`, canary)
    })
  )
})

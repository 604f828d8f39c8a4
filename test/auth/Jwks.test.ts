import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { generateKeyPairSync, type JsonWebKey, type KeyObject } from "node:crypto"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { inspect } from "node:util"
import { Config } from "xdooria/config"
import { Health } from "xdooria/health"
import type * as Tokens from "../../src/auth/internal/tokens.ts"
import * as Recorder from "../support/Recorder.ts"
import { begin, forge, open, part, read, signWith, verdict } from "./Forge.ts"
import { keyFiles } from "./KeyFiles.ts"

/** A server of keys that answers as a test wants, and records who asked. */
const keyServer = Effect.gen(function* () {
  const asked = yield* Recorder.make<string>()
  const state: { answer: (response: http.ServerResponse) => void } = { answer: () => undefined }
  const server = yield* Effect.acquireRelease(
    Effect.callback<http.Server>((resume) => {
      const server = http.createServer((request, response) => {
        state.answer(response)
        asked.recordUnsafe(request.url!)
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`,
    asked,
    count: Effect.map(asked.all, (all) => all.length),
    answer: (answer: (response: http.ServerResponse) => void) =>
      Effect.sync(() => {
        state.answer = answer
      }),
    publish: (keys: ReadonlyArray<unknown>) =>
      Effect.sync(() => {
        state.answer = (response) => response.end(JSON.stringify({ keys }))
      })
  }
})

/** A service that signs by a pair of its own. */
const signer = Effect.gen(function* () {
  const { privateKey } = generateKeyPairSync("ed25519")
  const { key } = yield* keyFiles({ key: privateKey })
  const tokens = yield* open({ secret: Redacted.make(""), signingKeyFile: key })
  const { keys } = yield* tokens.jwks
  return { tokens, jwk: keys[0]!, token: yield* signWith(tokens) }
})

/** A service that only verifies, by what is read at a URL. */
const verifierOf = (url: string) => open({ secret: Redacted.make(""), jwksUrl: url })

const setUp = Effect.gen(function* () {
  yield* begin
  const server = yield* keyServer
  const first = yield* signer
  yield* server.publish([first.jwk])
  return { server, first, start: verifierOf(server.url) }
})

const unknown = (index: number) => forge({ alg: "HS256", typ: "at+jwt", kid: `k${index}` }, {})

const verdicts = (tokens: Tokens.AccessTokens, texts: ReadonlyArray<string>) =>
  Effect.map(
    Effect.forEach(texts, (text) => verdict(tokens, text), { concurrency: "unbounded" }),
    (all) => [...new Set(all)]
  )

const hundred = Array.from({ length: 100 }, (_, index) => unknown(index))

describe("keys that are read from elsewhere", () => {
  it.effect("verify as soon as they are there: who asks first waits, and they are read once", () =>
    Effect.gen(function* () {
      const { first, server, start } = yield* setUp
      const verifier = yield* start
      const texts = yield* Effect.forEach(Array.from({ length: 20 }), () => signWith(first.tokens))
      assert.deepStrictEqual(yield* verdicts(verifier, texts), ["good"])
      assert.deepStrictEqual(yield* server.asked.all, ["/keys"])
      assert.deepStrictEqual(yield* verifier.jwks, { keys: [first.jwk] })
    })
  )

  it.effect("are not read for every name that somebody makes up: once in 30 seconds", () =>
    Effect.gen(function* () {
      const { server, start } = yield* setUp
      const verifier = yield* start
      assert.deepStrictEqual(yield* verdicts(verifier, hundred), ["KeyUnknown"])
      assert.strictEqual(yield* server.count, 1)
      yield* TestClock.adjust("29 seconds")
      assert.deepStrictEqual(yield* verdicts(verifier, hundred), ["KeyUnknown"])
      assert.strictEqual(yield* server.count, 1)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* verdicts(verifier, hundred), ["KeyUnknown"])
      assert.strictEqual(yield* server.count, 2)
    })
  )

  it.effect("roll over: a new one is read when a token names it", () =>
    Effect.gen(function* () {
      const { first, server, start } = yield* setUp
      const verifier = yield* start
      assert.strictEqual(yield* verdict(verifier, first.token), "good")
      const second = yield* signer
      yield* server.publish([first.jwk, second.jwk])
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* verdicts(verifier, [second.token, first.token]), ["good"])
      assert.strictEqual(yield* server.count, 2)
    })
  )

  it.effect("verify no longer once they are taken out: within five minutes, remembered tokens too", () =>
    Effect.gen(function* () {
      const { first, server, start } = yield* setUp
      const second = yield* signer
      yield* server.publish([first.jwk, second.jwk])
      const verifier = yield* start
      assert.deepStrictEqual(yield* verdicts(verifier, [first.token, second.token]), ["good"])
      yield* server.publish([second.jwk])
      yield* TestClock.adjust("5 minutes")
      yield* server.asked.atLeast(2)
      // Whoever reads while it is read waits for that.
      assert.strictEqual(yield* verdict(verifier, unknown(1)), "KeyUnknown")
      assert.isUndefined(verifier.recall(first.token))
      assert.strictEqual(yield* verdict(verifier, first.token), "KeyUnknown")
      assert.strictEqual(yield* verdict(verifier, second.token), "good")
    })
  )

  it.effect("go on verifying while their server is away, and are read again when it is back", () =>
    Effect.gen(function* () {
      const { first, server, start } = yield* setUp
      const verifier = yield* start
      assert.strictEqual(yield* verdict(verifier, first.token), "good")
      yield* server.answer((response) => response.destroy())
      yield* TestClock.adjust("5 minutes")
      yield* server.asked.atLeast(2)
      const error = yield* Effect.flip(verifier.verify(unknown(1)))
      assert.deepInclude(error.reason, { _tag: "Unavailable", detail: "the keys of auth.jwks_url (ECONNRESET)" })
      assert.strictEqual(yield* verdict(verifier, yield* signWith(first.tokens)), "good")
      const second = yield* signer
      yield* server.publish([second.jwk])
      yield* TestClock.adjust("1 second")
      yield* server.asked.atLeast(3)
      assert.strictEqual(yield* verdict(verifier, second.token), "good")
    })
  )

  it.effect("are read on when who asked has left", () =>
    Effect.gen(function* () {
      const { first, server, start } = yield* setUp
      const held: Array<http.ServerResponse> = []
      yield* server.answer((response) => held.push(response))
      const verifier = yield* start
      yield* server.asked.atLeast(1)
      const impatient = yield* Effect.forkChild(verifier.verify(first.token), { startImmediately: true })
      yield* Fiber.interrupt(impatient)
      for (const response of held) response.end(JSON.stringify({ keys: [first.jwk] }))
      assert.strictEqual(yield* verdict(verifier, first.token), "good")
      assert.strictEqual(yield* server.count, 1)
    })
  )

  it.effect("are waited for 5 seconds, no longer", () =>
    Effect.gen(function* () {
      const { first, server, start } = yield* setUp
      yield* server.answer(() => undefined)
      const verifier = yield* start
      const waiting = yield* Effect.forkChild(Effect.flip(verifier.verify(first.token)))
      yield* server.asked.atLeast(1)
      yield* TestClock.adjust("5 seconds")
      const { reason } = yield* Fiber.join(waiting)
      assert.deepInclude(reason, { _tag: "Unavailable", detail: "the keys of auth.jwks_url (no answer in time)" })
    })
  )

  it.effect("are a part of the service's health while there is none", () =>
    Effect.gen(function* () {
      yield* begin
      const server = yield* keyServer
      const { jwk, token } = yield* signer
      const reports = yield* Recorder.make<readonly [string, Health.HealthState]>()
      const reporter = {
        ...Health.Reporter.defaultValue(),
        report: (name: string, state: Health.HealthState) => reports.record([name, state])
      }
      yield* server.answer((response) => response.writeHead(503).end())
      const verifier = yield* Effect.provideService(verifierOf(server.url), Health.Reporter, reporter)
      assert.strictEqual(yield* verdict(verifier, token), "Unavailable")
      yield* server.publish([jwk])
      yield* TestClock.adjust("1 second")
      yield* reports.first(([, { status }]) => status === "up")
      assert.deepStrictEqual(yield* reports.all, [
        ["jwks", { status: "down", detail: "the keys that verify tokens: status 503" }],
        ["jwks", { status: "up" }]
      ])
      assert.strictEqual(yield* verdict(verifier, token), "good")
    })
  )
})

describe("an answer that cannot be used", () => {
  const { publicKey } = generateKeyPairSync("ed25519")
  const fitting = { ...publicKey.export({ format: "jwk" }), kid: "fits" }

  const answers: Readonly<Record<string, readonly [(response: http.ServerResponse) => void, string]>> = {
    "404": [(response) => response.writeHead(404).end(JSON.stringify({ keys: [fitting] })), "status 404"],
    nothing: [(response) => response.end(), "no set of keys"],
    HTML: [(response) => response.end("<html></html>"), "no set of keys"],
    "a list": [(response) => response.end(JSON.stringify([fitting])), "no set of keys"],
    "101 keys": [
      (response) => response.end(JSON.stringify({ keys: Array.from({ length: 101 }, () => fitting) })),
      "no set of keys"
    ],
    "no key": [(response) => response.end(JSON.stringify({ keys: [] })), "a set without any key that fits"],
    "more than 64 KB": [
      (response) => response.end(JSON.stringify({ keys: [fitting], x: "x".repeat(65_536) })),
      "more than 65536 bytes"
    ],
    "more than 64 KB without an end": [(response) => response.write("x".repeat(70_000)), "more than 65536 bytes"],
    "half of it": [
      (response) => response.writeHead(200, { "content-length": 1_000 }).write("{", () => response.destroy()),
      "ECONNRESET"
    ],
    "what is not HTTP": [(response) => response.socket!.end("SSH-2.0\r\n\r\n"), "HPE_INVALID_CONSTANT"]
  }

  it.effect.each(Object.entries(answers))("%s", ([, [answer, detail]]) =>
    Effect.gen(function* () {
      yield* begin
      const server = yield* keyServer
      yield* server.answer(answer)
      const { reason } = yield* Effect.flip((yield* verifierOf(server.url)).verify(unknown(1)))
      assert.deepInclude(reason, { _tag: "Unavailable", detail: `the keys of auth.jwks_url (${detail})` })
    })
  )

  it.effect("another address, which is not asked", () =>
    Effect.gen(function* () {
      yield* begin
      const server = yield* keyServer
      const other = yield* keyServer
      yield* other.publish([fitting])
      yield* server.answer((response) => response.writeHead(302, { location: other.url }).end())
      const { reason } = yield* Effect.flip((yield* verifierOf(server.url)).verify(unknown(1)))
      assert.deepInclude(reason, { detail: "the keys of auth.jwks_url (status 302)" })
      assert.strictEqual(yield* other.count, 0)
    })
  )

  it.effect("nobody there", () =>
    Effect.gen(function* () {
      yield* begin
      const { url } = yield* Effect.scoped(keyServer)
      const { reason } = yield* Effect.flip((yield* verifierOf(url)).verify(unknown(1)))
      assert.deepInclude(reason, { detail: "the keys of auth.jwks_url (ECONNREFUSED)" })
    })
  )
})

describe("of a set of keys", () => {
  const jwkOf = (key: KeyObject): JsonWebKey => key.export({ format: "jwk" })
  const ed = generateKeyPairSync("ed25519")
  const edJwk = jwkOf(ed.publicKey)
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 })
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048, publicExponent: 3 })
  const exchange = generateKeyPairSync("x25519")

  const passedOver: ReadonlyArray<unknown> = [
    null,
    "a key",
    {},
    { ...edJwk },
    { ...edJwk, kid: "../passwd" },
    { ...edJwk, kid: "encrypts", use: "enc" },
    { ...edJwk, kid: "another algorithm", alg: "RS256" },
    { ...edJwk, kid: "cut", x: edJwk.x!.slice(1) },
    { kty: "oct", kid: "a-secret", k: part("x".repeat(32)), alg: "HS256" },
    { ...jwkOf(weak.publicKey), kid: "weak" },
    // With an exponent of 1 every number is its own signature; an even one is of no key.
    ...["AQ", "Ag", "AQAA"].map((e) => ({ ...jwkOf(rsa.publicKey), e, kid: `exponent-${e}` })),
    { ...edJwk, kid: "encrypts-too", key_ops: ["encrypt"] },
    { ...edJwk, kid: "no-list", key_ops: "verify" },
    { ...edJwk, kid: "nothing", key_ops: [] },
    { ...jwkOf(exchange.publicKey), kid: "exchange" }
  ]

  it.effect("only those are taken that fit, and of each what is public", () =>
    Effect.gen(function* () {
      yield* begin
      const server = yield* keyServer
      yield* server.publish([
        ...passedOver,
        { ...edJwk, kid: "fits", alg: "EdDSA", key_ops: ["verify"] },
        { ...jwkOf(rsa.publicKey), kid: "smallest" }
      ])
      const verifier = yield* verifierOf(server.url)
      assert.strictEqual(yield* verdict(verifier, unknown(1)), "KeyUnknown")
      assert.deepStrictEqual(yield* verifier.jwks, {
        keys: [
          { ...edJwk, kid: "fits", alg: "EdDSA", use: "sig" },
          { ...jwkOf(rsa.publicKey), kid: "smallest", alg: "RS256", use: "sig" }
        ]
      })
    })
  )

  it.effect("none is taken that is not public, or whose name another has, and that is said, without it, once", () => {
    const warnings: Array<string> = []
    const recorder = Logger.layer([
      Logger.make(({ logLevel, message }) => void (logLevel === "Warn" && warnings.push(inspect(message))))
    ])
    return Effect.gen(function* () {
      yield* begin
      const server = yield* keyServer
      const other = jwkOf(generateKeyPairSync("ed25519").publicKey)
      const secret = { kty: "oct", kid: "a-secret", k: part("x".repeat(32)), alg: "HS256" }
      yield* server.publish([
        { ...edJwk, kid: "fits" },
        { ...other, kid: "fits" },
        { ...jwkOf(ed.privateKey), kid: "private" },
        { ...jwkOf(rsa.privateKey), kid: "private-rsa" },
        { ...jwkOf(rsa.privateKey), d: undefined, kid: "half-private" },
        secret,
        { ...edJwk, kid: "null", d: null }
      ])
      const verifier = yield* verifierOf(server.url)
      assert.strictEqual(yield* verdict(verifier, unknown(1)), "KeyUnknown")
      assert.deepStrictEqual(yield* verifier.jwks, { keys: [{ ...edJwk, kid: "fits", alg: "EdDSA", use: "sig" }] })
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* verdict(verifier, unknown(2)), "KeyUnknown")
      assert.strictEqual(yield* server.count, 2)
      assert.strictEqual(warnings.length, 1, warnings.join("\n"))
      assert.include(warnings.join(), "not taken: 5 not public, 1 of a name that another has")
      const values = [jwkOf(ed.privateKey).d!, jwkOf(rsa.privateKey).d!, jwkOf(rsa.privateKey).p!, secret.k]
      for (const value of values) assert.notInclude(warnings.join(), value)
    }).pipe(Effect.provide(recorder))
  })

  it.effect("none is a secret", () =>
    Effect.gen(function* () {
      const { first, start } = yield* setUp
      const verifier = yield* start
      assert.strictEqual(yield* verdict(verifier, first.token), "good")
      const [header, payload] = [read(first.token, 0), read(first.token, 1)]
      for (const key of [String(first.jwk["x"]), Buffer.from(String(first.jwk["x"]), "base64url")]) {
        assert.strictEqual(
          yield* verdict(verifier, forge({ ...header, alg: "HS256" }, payload, key)),
          "AlgorithmNotAllowed"
        )
      }
    })
  )
})

describe("the address of keys", () => {
  const refused = (jwksUrl: string) => Effect.map(Effect.flip(open({ jwksUrl })), ({ reason }) => reason.message)

  it.effect("has http or https and no password", () =>
    Effect.gen(function* () {
      for (const url of ["keys", "ftp://auth/keys", "file:///etc/passwd", "http://user:canary@auth/keys", "http://"]) {
        const message = yield* refused(url)
        assert.include(message, "auth.jwks_url: expected a URL with http or https and no password")
        assert.notInclude(message, "canary")
      }
    })
  )

  it.effect("is not read in plain text from another machine in prod", () =>
    Effect.gen(function* () {
      const current = yield* Config.Current
      const inProd = (jwksUrl: string) =>
        Effect.provideService(Effect.scoped(open({ jwksUrl })), Config.Current, { ...current, env: "prod" })
      const { reason } = yield* Effect.flip(inProd("http://auth:8081/keys"))
      assert.include(
        reason.message,
        "auth.jwks_url: expected a URL with https, or http on this machine, and no password"
      )
      for (const url of [
        "https://auth/keys",
        "http://127.0.0.1:1/keys",
        "http://[::1]:1/keys",
        "http://localhost:1/keys"
      ]) {
        yield* inProd(url)
      }
    })
  )
})

// npm run bench -- auth: verifying access tokens against jose, as a server does under load: 64 calls at once, by 1,000 players.
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { type CryptoKey, importJWK, type JWK, jwtVerify } from "jose"
import { generateKeyPairSync } from "node:crypto"
import { Auth, type AuthSettings } from "xdooria/auth"
import { makeEmbedded } from "xdooria/auth/embedded"
import * as Bench from "../bench/Bench.ts"
import { keyFiles } from "./KeyFiles.ts"

const fibers = 64
const players = 1_000

const secret = "a secret of ours, 32 bytes or more"

type Algorithm = "HS256" | "EdDSA"

/** The room with keys for an algorithm, tokens that it issued, and the key as jose is fastest with it. */
const setUp = (algorithm: Algorithm, settings: Partial<AuthSettings> = {}) =>
  Effect.gen(function* () {
    const { key } = yield* keyFiles({ key: generateKeyPairSync("ed25519").privateKey })
    const keys = algorithm === "HS256" ? { secret: Redacted.make(secret) } : { signingKeyFile: key }
    const auth = yield* Effect.provide(Auth, yield* makeEmbedded({ ...keys, ...settings }))
    const tokens = yield* Effect.forEach(Array.from({ length: players }), (_, index) =>
      auth.issue({ playerId: `p${index}` })
    )
    const [jwk] = (yield* auth.jwks).keys
    return {
      auth,
      tokens: tokens.map(({ access }) => access),
      imported: yield* Effect.promise(() =>
        algorithm === "HS256"
          ? crypto.subtle.importKey("raw", Buffer.from(secret), { name: "HMAC", hash: "SHA-256" }, false, ["verify"])
          : (importJWK(jwk as JWK) as Promise<CryptoKey>)
      )
    }
  })

/** The next of the tokens, in turn. */
const inTurn = <A>(values: ReadonlyArray<A>): (() => A) => {
  let next = 0
  return () => values[(next = (next + 1) % values.length)]!
}

const jose = (algorithm: Algorithm) =>
  Effect.map(setUp(algorithm), ({ imported, tokens }) => {
    const next = inTurn(tokens.map(Redacted.value))
    const options = {
      algorithms: [algorithm],
      issuer: "xdooria",
      audience: "xdooria",
      typ: "at+jwt",
      clockTolerance: 5,
      requiredClaims: ["sub", "jti", "exp", "iat"]
    }
    return Bench.promises(fibers, () => jwtVerify(next(), imported, options))
  })

const room = (algorithm: Algorithm, settings?: Partial<AuthSettings>) =>
  Effect.map(setUp(algorithm, settings), ({ auth, tokens }) => {
    const next = inTurn(tokens)
    return Bench.fibers(
      fibers,
      Effect.suspend(() => auth.verify(next()))
    )
  })

/** What the server asks for each call, without any effect: the text of its header is another one every time. */
const recalled = (algorithm: Algorithm) =>
  Effect.gen(function* () {
    const { auth, tokens } = yield* setUp(algorithm)
    yield* Effect.forEach(tokens, auth.verify, { discard: true })
    const next = inTurn(tokens.map((token) => `Bearer ${Redacted.value(token)}`))
    return (millis: number) =>
      Effect.sync(() => {
        const end = performance.now() + millis
        let calls = 0
        while (performance.now() < end) {
          if (auth.recall(next().slice(7)) === undefined) throw new Error("a token is not remembered")
          calls++
        }
        return calls
      })
  })

const comparison = (algorithm: Algorithm) =>
  Bench.clients({
    name: `verify ${algorithm}, 64 at once`,
    baseline: "jose",
    candidates: {
      jose: jose(algorithm),
      "room, not remembered": room(algorithm, { cacheSize: 0 }),
      "room, remembered": room(algorithm),
      "room, recalled": recalled(algorithm)
    },
    targets: {
      // Where jose hands the work to other threads, only the CPU tells.
      "room, not remembered": algorithm === "HS256" ? { throughput: 0.9 } : { cpu: 1.1 },
      // Half of it is the fiber that each call begins in; the server asks without one.
      "room, remembered": { throughput: 50 },
      "room, recalled": { throughput: 100 }
    }
  })

export default [comparison("HS256"), comparison("EdDSA")]

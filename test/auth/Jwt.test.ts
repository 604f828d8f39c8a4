import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { jwtVerify, SignJWT } from "jose"
import { generateKeyPairSync } from "node:crypto"
import { inspect } from "node:util"
import { begin, claims, forge, now, open, part, read, secret, signWith, verdict } from "./Forge.ts"

const setUp = Effect.gen(function* () {
  yield* begin
  const tokens = yield* open()
  const token = yield* signWith(tokens)
  return { tokens, token, header: read(token, 0), payload: read(token, 1) }
})

const second = now / 1_000

describe("an access token", () => {
  it.effect("says who it is for, and lasts as long as the configuration says", () =>
    Effect.gen(function* () {
      const { header, payload, token, tokens } = yield* setUp
      const { jti, ...rest } = payload
      assert.deepStrictEqual(Object.keys(header), ["alg", "typ", "kid"])
      assert.strictEqual(header["typ"], "at+jwt")
      assert.deepStrictEqual(rest, {
        iss: "xdooria",
        aud: "xdooria",
        sub: "p1",
        player_id: "p1",
        roles: ["admin"],
        sid: "f1",
        gen: 3,
        iat: second,
        exp: second + 900
      })
      assert.deepStrictEqual(yield* tokens.verify(token), {
        playerId: "p1",
        roles: ["admin"],
        tokenId: jti as string,
        family: "f1",
        generation: 3,
        profile: "own",
        issuedAt: now,
        expiresAt: now + 900_000
      })
      const { expiresAt } = yield* tokens.sign(claims)
      assert.strictEqual(expiresAt, now + 900_000)
    })
  )

  it.effect("has an id of its own, also in one second", () =>
    Effect.gen(function* () {
      const { tokens } = yield* setUp
      const ids = yield* Effect.forEach(Array.from({ length: 50 }), () =>
        Effect.map(signWith(tokens), (one) => read(one, 1)["jti"])
      )
      assert.strictEqual(new Set(ids).size, 50)
    })
  )

  it.effect("is what jose takes, and what jose signs is taken", () =>
    Effect.gen(function* () {
      const { header, payload, token, tokens } = yield* setUp
      const key = Buffer.from(secret)
      const options = { issuer: "xdooria", audience: "xdooria", typ: "at+jwt", currentDate: new Date(now) }
      const verified = yield* Effect.promise(() => jwtVerify(token, key, { algorithms: ["HS256"], ...options }))
      assert.deepStrictEqual(verified.payload as unknown, payload)
      const theirs = yield* Effect.promise(() =>
        new SignJWT(payload).setProtectedHeader(header as { alg: string }).sign(key)
      )
      assert.strictEqual(yield* verdict(tokens, theirs), "good")
    })
  )
})

interface Row {
  readonly what: string
  readonly gives: string
  readonly token: (good: {
    readonly token: string
    readonly header: Record<string, unknown>
    readonly payload: Record<string, unknown>
  }) => string
}

const parts = (token: string) => token.split(".") as [string, string, string]

/** Another last letter of which fewer bits count than it has: Node, and many others, read the same bytes. */
const loose = (text: string): string => {
  const bytes = Buffer.from(text, "base64url")
  const letter = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"].find(
    (one) => one !== text.at(-1) && Buffer.from(text.slice(0, -1) + one, "base64url").equals(bytes)
  )!
  return text.slice(0, -1) + letter
}

const without = (from: Record<string, unknown>, name: string) => {
  const { [name]: _, ...rest } = from
  return rest
}

const attacker = generateKeyPairSync("ed25519")

const shapes: ReadonlyArray<Row> = [
  { what: "nothing", gives: "Missing", token: () => "" },
  { what: "no dot", gives: "Malformed", token: () => "token" },
  { what: "two parts", gives: "Malformed", token: ({ token }) => parts(token).slice(0, 2).join(".") },
  { what: "four parts", gives: "Malformed", token: ({ token }) => `${token}.${part("more")}` },
  { what: "the five parts of a JWE", gives: "Malformed", token: ({ token }) => `${token}.AAAA.AAAA` },
  { what: "three empty parts", gives: "Malformed", token: () => ".." },
  { what: "a refresh token", gives: "Malformed", token: () => "p1.f1.c2VjcmV0LXNlY3JldC1zZWNyZXQ" },
  { what: "a line break behind it", gives: "Malformed", token: ({ token }) => `${token}\n` },
  { what: "a blank before it", gives: "Malformed", token: ({ token }) => ` ${token}` },
  { what: "padding", gives: "Malformed", token: ({ token }) => `${token}=` },
  {
    what: "the letters of base64",
    gives: "Malformed",
    token: ({ header, payload }) => forge({ ...header, x: "???>>>" }, payload).replace(/[-_]/g, "+")
  },
  { what: "bits that do not count", gives: "Malformed", token: ({ token }) => loose(token) },
  {
    what: "more than 8 KB",
    gives: "TooLarge",
    token: ({ header, payload }) => forge(header, { ...payload, x: "x".repeat(6_200) })
  },
  { what: "a header that is no JSON", gives: "Malformed", token: ({ payload }) => forge("{alg", payload) },
  { what: "a header that is a list", gives: "Malformed", token: ({ payload }) => forge([], payload) },
  { what: "a header that is null", gives: "Malformed", token: ({ payload }) => forge("null", payload) },
  {
    what: "a header that is not UTF-8",
    gives: "Malformed",
    token: ({ payload }) =>
      forge(Buffer.concat([Buffer.from('{"alg":"HS256","x":"'), Buffer.from([0xff]), Buffer.from('"}')]), payload)
  },
  {
    what: "a header with a BOM",
    gives: "Malformed",
    token: ({ header, payload }) => forge(`\ufeff${JSON.stringify(header)}`, payload)
  },
  {
    what: "a deep header",
    gives: "Malformed",
    token: ({ payload }) => forge("[".repeat(2_000) + "]".repeat(2_000), payload)
  },
  {
    what: "JSON and more",
    gives: "Malformed",
    token: ({ header, payload }) => forge(header, `${JSON.stringify(payload)}{}`)
  },
  { what: "claims that are a list", gives: "Malformed", token: ({ header }) => forge(header, []) },
  { what: "no claims", gives: "Malformed", token: ({ header }) => forge(header, "") },
  {
    what: "NaN for a time",
    gives: "Malformed",
    token: ({ header, payload }) => forge(header, JSON.stringify(payload).replace(/"exp":\d+/, '"exp":NaN'))
  }
]

const headers: ReadonlyArray<Row> = [
  ...["none", "None", "NONE", "", "hs256", "HS384", "HS512", "PS256", "ES384", "__proto__"].map((alg): Row => ({
    what: `algorithm "${alg}"`,
    gives: "AlgorithmNotAllowed",
    token: ({ header, payload }) => `${part({ ...header, alg })}.${part(payload)}.`
  })),
  {
    what: "HS512 with the secret",
    gives: "AlgorithmNotAllowed",
    token: ({ header, payload }) => forge({ ...header, alg: "HS512" }, payload, secret, "sha512")
  },
  {
    what: "another algorithm of ours",
    gives: "AlgorithmNotAllowed",
    token: ({ header, payload }) => forge({ ...header, alg: "RS256" }, payload)
  },
  { what: "no algorithm", gives: "Malformed", token: ({ header, payload }) => forge(without(header, "alg"), payload) },
  {
    what: "a number for an algorithm",
    gives: "Malformed",
    token: ({ header, payload }) => forge({ ...header, alg: 256 }, payload)
  },
  { what: "no kid", gives: "KeyUnknown", token: ({ header, payload }) => forge(without(header, "kid"), payload) },
  {
    what: "an unknown kid",
    gives: "KeyUnknown",
    token: ({ header, payload }) => forge({ ...header, kid: "another" }, payload)
  },
  ...[
    ["a list", ["k"]],
    ["1 KB", "k".repeat(1_024)],
    ["nothing", ""],
    ["a path", "../../etc/passwd"],
    ["a NUL", "k\0"],
    ["SQL", "k' or '1'='1"],
    ["null", null]
  ].map(([what, kid]): Row => ({
    what: `a kid that is ${String(what)}`,
    gives: "Malformed",
    token: ({ header, payload }) => forge({ ...header, kid }, payload)
  })),
  {
    what: "a kid of every object",
    gives: "KeyUnknown",
    token: ({ header, payload }) => forge({ ...header, kid: "constructor" }, payload)
  },
  {
    what: "crit",
    gives: "Malformed",
    token: ({ header, payload }) => forge({ ...header, crit: ["b64"], b64: false }, payload)
  },
  {
    what: "an empty crit",
    gives: "Malformed",
    token: ({ header, payload }) => forge({ ...header, crit: [] }, payload)
  },
  ...["jku", "x5u"].map((name): Row => ({
    what: `${name}, which is not looked at`,
    gives: "good",
    token: ({ header, payload }) => forge({ ...header, [name]: "http://127.0.0.1:1/keys" }, payload)
  })),
  {
    what: "a key of its own",
    gives: "SignatureInvalid",
    token: ({ header, payload }) =>
      forge(
        { ...header, jwk: { kty: "oct", k: part("another secret"), ...attacker.publicKey.export({ format: "jwk" }) } },
        payload,
        "another secret"
      )
  },
  ...[undefined, "JWT", "rt+jwt", "AT+JWT", "application/at+jwt"].map((typ): Row => ({
    what: `type ${typ}`,
    gives: "ClaimInvalid typ",
    token: ({ header, payload }) => forge({ ...without(header, "typ"), ...(typ === undefined ? {} : { typ }) }, payload)
  })),
  {
    what: "another secret",
    gives: "SignatureInvalid",
    token: ({ header, payload }) => forge(header, payload, "x".repeat(32))
  },
  { what: "no signature", gives: "SignatureInvalid", token: ({ token }) => `${parts(token).slice(0, 2).join(".")}.` },
  {
    what: "a short signature",
    gives: "SignatureInvalid",
    token: ({ token }) => `${parts(token).slice(0, 2).join(".")}.${part("short")}`
  },
  {
    what: "other claims under its signature",
    gives: "SignatureInvalid",
    token: ({ payload, token }) =>
      `${parts(token)[0]}.${part({ ...payload, sub: "p2", player_id: "p2" })}.${parts(token)[2]}`
  }
]

const claimsOf =
  (changes: Record<string, unknown>): Row["token"] =>
  ({ header, payload }) =>
    forge(header, { ...payload, ...changes })

const contents: ReadonlyArray<Row> = [
  ...["iss", "aud", "sub", "jti", "exp", "iat", "player_id", "roles", "sid", "gen"].map((name): Row => ({
    what: `no ${name}`,
    gives: `ClaimInvalid ${name}`,
    token: ({ header, payload }) => forge(header, without(payload, name))
  })),
  { what: "another issuer", gives: "ClaimInvalid iss", token: claimsOf({ iss: "another" }) },
  { what: "another service's audience", gives: "ClaimInvalid aud", token: claimsOf({ aud: "shop" }) },
  { what: "audiences without ours", gives: "ClaimInvalid aud", token: claimsOf({ aud: ["shop", "xdooria2"] }) },
  { what: "audiences with ours", gives: "good", token: claimsOf({ aud: ["shop", "xdooria"] }) },
  { what: "an empty player", gives: "ClaimInvalid sub", token: claimsOf({ sub: "", player_id: "" }) },
  { what: "a player of dots", gives: "ClaimInvalid sub", token: claimsOf({ sub: "..", player_id: ".." }) },
  { what: "a player that is a number", gives: "ClaimInvalid sub", token: claimsOf({ sub: 1, player_id: 1 }) },
  { what: "two players", gives: "ClaimInvalid player_id", token: claimsOf({ player_id: "p2" }) },
  {
    what: "a claim twice, of which the later one counts",
    gives: "ClaimInvalid player_id",
    token: ({ header, payload }) => forge(header, `${JSON.stringify(payload).slice(0, -1)},"player_id":"p2"}`)
  },
  { what: "a role that is none", gives: "ClaimInvalid roles", token: claimsOf({ roles: ["admin "] }) },
  {
    what: "17 roles",
    gives: "ClaimInvalid roles",
    token: claimsOf({ roles: Array.from({ length: 17 }, (_, i) => `r${i}`) })
  },
  ...[String(second + 60), second + 0.5, 1e308, -1, null, true].map((exp): Row => ({
    what: `exp ${JSON.stringify(exp)}`,
    gives: "ClaimInvalid exp",
    token: claimsOf({ exp })
  })),
  { what: "a lifetime over 15 minutes", gives: "ClaimInvalid exp", token: claimsOf({ exp: second + 901 }) },
  {
    what: "an end before its beginning",
    gives: "ClaimInvalid exp",
    token: claimsOf({ iat: second + 3, exp: second + 2 })
  },
  { what: "iat 6 s ahead", gives: "NotYetValid", token: claimsOf({ iat: second + 6 }) },
  { what: "iat 5 s ahead, as clocks differ", gives: "good", token: claimsOf({ iat: second + 5 }) },
  { what: "nbf 6 s ahead", gives: "NotYetValid", token: claimsOf({ nbf: second + 6 }) },
  { what: "nbf 5 s ahead, as clocks differ", gives: "good", token: claimsOf({ nbf: second + 5 }) },
  { what: "an end 5 s ago", gives: "Expired", token: claimsOf({ iat: second - 60, exp: second - 5 }) },
  { what: "an end 4 s ago, as clocks differ", gives: "good", token: claimsOf({ iat: second - 60, exp: second - 4 }) },
  {
    what: "deep JSON that nobody asked for",
    gives: "good",
    token: ({ header, payload }) =>
      forge(header, `${JSON.stringify(payload).slice(0, -1)},"x":${"[".repeat(2_000)}${"]".repeat(2_000)}}`)
  },
  {
    what: "a prototype",
    gives: "ClaimInvalid iss",
    token: ({ header, payload }) => forge(header, `{"__proto__":${JSON.stringify(payload)}}`)
  }
]

describe.each([
  ["the shape", shapes],
  ["the header and the signature", headers],
  ["the claims", contents]
])("what is wrong with %s is a reason", (_, rows) => {
  for (const { gives, token, what } of rows) {
    it.effect(`${what}: ${gives}`, () =>
      Effect.gen(function* () {
        const good = yield* setUp
        const bad = token(good)
        assert.strictEqual(yield* verdict(good.tokens, bad), gives)
        // Once more: nothing of a token that was refused is remembered.
        assert.strictEqual(yield* verdict(good.tokens, bad), gives)
        assert.strictEqual(good.tokens.recall(bad) !== undefined, gives === "good")
      })
    )
  }
})

describe("a refusal", () => {
  it.effect("says nothing of the token or the secret", () =>
    Effect.gen(function* () {
      const good = yield* setUp
      for (const { gives, token } of [...shapes, ...headers, ...contents]) {
        if (gives === "good" || gives === "Missing") continue
        const bad = token(good)
        const error = yield* Effect.flip(good.tokens.verify(bad))
        const text = `${inspect(error, { depth: 9 })} ${JSON.stringify(error)} ${error.message}`
        const canaries = [
          secret,
          ...bad.split(".").filter((one) => one.length > 8),
          ...Object.values(good.payload).filter((one) => String(one).length > 8)
        ]
        for (const canary of canaries) assert.notInclude(text, String(canary))
      }
    })
  )
})

describe("time", () => {
  it.effect("ends a token with the skew of the configuration, remembered or not", () =>
    Effect.gen(function* () {
      const { token, tokens } = yield* setUp
      const forgetful = yield* open({ cacheSize: 0 })
      const both = Effect.forEach([tokens, forgetful], (one) => verdict(one, token))
      assert.deepStrictEqual(yield* both, ["good", "good"])
      yield* TestClock.setTime(now + 900_000 + 4_999)
      assert.deepStrictEqual(yield* both, ["good", "good"])
      assert.isDefined(tokens.recall(token))
      yield* TestClock.setTime(now + 900_000 + 5_000)
      assert.isUndefined(tokens.recall(token))
      assert.deepStrictEqual(yield* both, ["Expired", "Expired"])
    })
  )
})

describe("a service without a key to sign with", () => {
  it.effect("verifies, and refuses to sign", () =>
    Effect.gen(function* () {
      const { token } = yield* setUp
      const verifier = yield* open({ secret: Redacted.make(""), previousSecrets: [Redacted.make(secret)] })
      assert.strictEqual(yield* verdict(verifier, token), "good")
      const { reason } = yield* Effect.flip(verifier.sign(claims))
      assert.deepInclude(reason, { _tag: "Refused", detail: "there is no key to sign with" })
    })
  )
})

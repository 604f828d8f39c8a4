import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { hash } from "node:crypto"
import { begin, forge, now, open, read, secret, signWith, verdict } from "./Forge.ts"

const planSecret = "a secret of the Go services, 32 bytes"

const header = { alg: "HS256", typ: "JWT" }

const second = now / 1_000

/** Header and claims as a Go service of the plan writes them for player p1 at this second, signed with this secret. */
const golden =
  "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." +
  "eyJwbGF5ZXJfaWQiOiJwMSIsImV4cCI6MTc5NTQ4MDI5OSwiaWF0IjoxNzk1MzkzODk5fQ." +
  "gWkGAhsDjjd7fa0DWQrhuRpq3lHyIi-f9QyhO9RxaxQ"

const plain = { playerId: "p1", roles: [], family: "f1", generation: 3 }

const withPlan = (plan: "off" | "verify" | "issue") => open({ plan, planSecret: Redacted.make(planSecret) })

describe("a token of a Go service", () => {
  it.effect("is taken as it was written", () =>
    Effect.gen(function* () {
      yield* begin
      const tokens = yield* withPlan("verify")
      assert.deepStrictEqual(yield* tokens.verify(golden), {
        playerId: "p1",
        roles: [],
        tokenId: hash("sha256", golden, "base64url"),
        profile: "plan",
        issuedAt: 1_795_393_899_000,
        expiresAt: 1_795_480_299_000
      })
    })
  )

  it.effect("is refused where the profile is off", () =>
    Effect.gen(function* () {
      yield* begin
      assert.strictEqual(yield* verdict(yield* withPlan("off"), golden), "KeyUnknown")
    })
  )

  it.effect("ends a day later, and the skew", () =>
    Effect.gen(function* () {
      yield* begin
      const tokens = yield* withPlan("verify")
      yield* TestClock.setTime(now + 86_400_000 + 4_999)
      assert.strictEqual(yield* verdict(tokens, golden), "good")
      yield* TestClock.setTime(now + 86_400_000 + 5_000)
      assert.strictEqual(yield* verdict(tokens, golden), "Expired")
    })
  )
})

describe("what Go takes, and the profile does not", () => {
  const good = { player_id: "p1", exp: second + 86_400, iat: second }
  const changed = (changes: object) => forge(header, { ...good, ...changes }, planSecret)
  const json = (text: string) => forge(header, text, planSecret)

  const rows: Readonly<Record<string, readonly [string, string]>> = {
    "claims that nobody asked for are not looked at": [changed({ roles: ["admin"], iss: "x", aud: 1 }), "good"],
    "another HMAC": [forge({ ...header, alg: "HS512" }, good, planSecret, "sha512"), "AlgorithmNotAllowed"],
    "another algorithm of ours": [forge({ ...header, alg: "EdDSA" }, good, planSecret), "AlgorithmNotAllowed"],
    "no type": [forge({ alg: "HS256" }, good, planSecret), "ClaimInvalid typ"],
    "the type of a refresh token": [forge({ ...header, typ: "rt+jwt" }, good, planSecret), "ClaimInvalid typ"],
    "the type of ours": [forge({ ...header, typ: "at+jwt" }, good, planSecret), "ClaimInvalid typ"],
    crit: [forge({ ...header, crit: ["b64"] }, good, planSecret), "Malformed"],
    "the secret of ours": [forge(header, good, secret), "SignatureInvalid"],
    "a kid": [forge({ ...header, kid: "k" }, good, planSecret), "KeyUnknown"],
    "no player": [changed({ player_id: undefined }), "ClaimInvalid player_id"],
    "an empty player": [changed({ player_id: "" }), "ClaimInvalid player_id"],
    "a player in capitals": [json(`{"PLAYER_ID":"p1","exp":${good.exp},"iat":${good.iat}}`), "ClaimInvalid player_id"],
    "a player that cannot be a key": [changed({ player_id: "a:b" }), "ClaimInvalid player_id"],
    "no end": [changed({ exp: undefined }), "ClaimInvalid exp"],
    "an end that is null": [changed({ exp: null }), "ClaimInvalid exp"],
    "an end in quotes": [changed({ exp: String(good.exp) }), "ClaimInvalid exp"],
    "an end with a fraction": [changed({ exp: good.exp - 0.5 }), "ClaimInvalid exp"],
    "an end far away": [json(`{"player_id":"p1","exp":1e10,"iat":${good.iat}}`), "ClaimInvalid exp"],
    "an end that is NaN": [json(`{"player_id":"p1","exp":NaN,"iat":${good.iat}}`), "Malformed"],
    "a second more than a day": [changed({ exp: good.exp + 1 }), "ClaimInvalid exp"],
    "no beginning": [changed({ iat: undefined }), "ClaimInvalid iat"],
    "a beginning to come": [changed({ iat: second + 6 }), "NotYetValid"],
    "not before a time to come": [changed({ nbf: second + 6 }), "NotYetValid"]
  }

  it.effect.each(Object.entries(rows))("%s", ([, [token, gives]]) =>
    Effect.gen(function* () {
      yield* begin
      assert.strictEqual(yield* verdict(yield* withPlan("verify"), token), gives)
    })
  )
})

describe("a fleet with both", () => {
  it.effect("gives a player what a Go service would, byte by byte, but for its length of time", () =>
    Effect.gen(function* () {
      yield* begin
      const tokens = yield* withPlan("issue")
      const token = yield* signWith(tokens, plain)
      assert.strictEqual(
        token,
        forge('{"alg":"HS256","typ":"JWT"}', `{"player_id":"p1","exp":${second + 900},"iat":${second}}`, planSecret)
      )
      const { expiresAt } = yield* tokens.sign(plain)
      assert.strictEqual(expiresAt, now + 900_000)
      assert.deepInclude(yield* tokens.verify(token), { playerId: "p1", profile: "plan" })
    })
  )

  it.effect("gives who has roles a token of ours, for a Go service could sign roles as well", () =>
    Effect.gen(function* () {
      yield* begin
      const tokens = yield* withPlan("issue")
      const token = yield* signWith(tokens, { ...plain, roles: ["admin"] })
      assert.strictEqual(read(token, 0)["typ"], "at+jwt")
      assert.deepInclude(yield* tokens.verify(token), { roles: ["admin"], profile: "own" })
    })
  )

  it.effect("signs tokens of ours where the plan's are only taken", () =>
    Effect.gen(function* () {
      yield* begin
      const token = yield* signWith(yield* withPlan("verify"), plain)
      assert.strictEqual(read(token, 0)["typ"], "at+jwt")
    })
  )

  it.effect("has a secret that signs nothing else", () =>
    Effect.gen(function* () {
      const { reason } = yield* Effect.flip(open({ plan: "verify", planSecret: Redacted.make(secret) }))
      assert.include(reason.message, "auth.plan_secret: expected another secret than those of our own tokens")
    })
  )
})

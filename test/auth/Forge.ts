// Tokens made by hand, right and wrong, and the room's half that signs and verifies them.
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { createHmac } from "node:crypto"
import { AuthConfig, type AuthError, type AuthSettings } from "xdooria/auth"
import * as Tokens from "../../src/auth/internal/tokens.ts"

export const secret = "a secret of ours, 32 bytes or more"

/** A whole second, in milliseconds of the epoch: when tests begin. */
export const now = 1_795_393_899_000

const defaults: AuthSettings = {
  ...Schema.decodeSync(AuthConfig.schema)({}),
  secret: Redacted.make(secret)
}

/** Signs and verifies by settings of one test, with the secret of the tests where it names no key. */
export const open = (settings: Partial<AuthSettings> = {}) => Tokens.make({ ...defaults, ...settings })

/** What most tests sign. */
export const claims = { playerId: "p1", roles: ["admin"], family: "f1", generation: 3 }

/** Signs, with the token as text. */
export const signWith = (tokens: Tokens.AccessTokens, given = claims) =>
  Effect.map(tokens.sign(given), ({ token }) => Redacted.value(token))

/** A part of a token: a text or bytes as they are, anything else as JSON. */
export const part = (value: unknown): string =>
  (Buffer.isBuffer(value) ? value : Buffer.from(typeof value === "string" ? value : JSON.stringify(value))).toString(
    "base64url"
  )

/** What a part of a token says. */
export const read = (token: string, index: 0 | 1): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split(".")[index]!, "base64url").toString())

/** A token, signed by HS256 unless told otherwise. */
export const forge = (header: unknown, payload: unknown, key: string | Buffer = secret, hash = "sha256"): string => {
  const signed = `${part(header)}.${part(payload)}`
  return `${signed}.${createHmac(hash, key).update(signed).digest("base64url")}`
}

/** The reason why a token is refused, or `good`. */
export const verdict = (tokens: Tokens.AccessTokens, token: string): Effect.Effect<string> =>
  Effect.match(tokens.verify(token), { onSuccess: () => "good", onFailure: told })

/** A reason in one word, or two where it names a claim. */
export const told = ({ reason }: AuthError): string =>
  reason._tag === "ClaimInvalid" ? `${reason._tag} ${reason.claim}` : reason._tag

/** Begins a test at {@link now}. */
export const begin = TestClock.setTime(now)

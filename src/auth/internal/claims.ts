// What our tokens say, and what those of a Go service of the plan do.
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { hash } from "node:crypto"
import type { AuthSettings, Identity } from "../Auth.ts"
import { type AuthErrorReason, ClaimInvalid, Expired, Malformed, NotYetValid } from "../AuthError.ts"

/** The type of our access tokens (RFC 9068), in their header. */
export const ownType = "at+jwt"

/** The type of a Go service's tokens. */
export const planType = "JWT"

/** The longest that a token of ours lasts, whichever service issued it, in seconds. */
const longestOwn = 900

/** What an access token is issued for. `generation`: of the player's tokens; all of a lower one have ended. */
export interface Claims {
  readonly playerId: string
  readonly roles: ReadonlyArray<string>
  readonly family: string
  readonly generation: number
}

/** Who an access token is for, and what its end is looked up by; a token of profile `plan` has no generation. */
export interface Verified extends Identity {
  readonly generation?: number
}

/** It is remembered, and given to everybody who asks: nobody changes it. */
const frozen = (verified: Verified): Verified => {
  Object.freeze(verified.roles)
  return Object.freeze(verified)
}

/** Only dots are no part of a key of Redis. */
const name = /^(?!\.+$)[A-Za-z0-9._-]{1,64}$/

/** A player, a role, a login or a token. */
export const Name = Schema.String.check(Schema.isPattern(name))

/** How many roles a player may have. */
export const mostRoles = 16

/** Whether a text can be the id of a player, or a role: the same for who issues as for who verifies. */
export const isName = (text: string): boolean => name.test(text)

const Whole = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

const times = { exp: Whole, iat: Whole, nbf: Schema.optionalKey(Whole) }

const OwnClaims = Schema.Struct({
  iss: Schema.String,
  aud: Schema.Union([Schema.String, Schema.Array(Schema.String)]),
  sub: Name,
  player_id: Name,
  jti: Name,
  roles: Schema.Array(Name).check(Schema.isMaxLength(mostRoles)),
  sid: Name,
  gen: Whole,
  ...times
})

const PlanClaims = Schema.Struct({ player_id: Name, ...times })

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const reader = <A>(schema: Schema.Codec<A, unknown>) => {
  const decode = Schema.decodeUnknownResult(schema)
  return (claims: unknown): Result.Result<A, AuthErrorReason> =>
    Result.mapError(decode(claims), ({ issue }) => {
      const [step] = format(issue).issues[0]?.path ?? []
      return step === undefined
        ? new Malformed({ problem: "its claims are no JSON object" })
        : new ClaimInvalid({ claim: String(typeof step === "object" ? step.key : step) })
    })
}

const readOwn = reader(OwnClaims)
const readPlan = reader(PlanClaims)

const wrong = (claim: string) => Result.fail(new ClaimInvalid({ claim }))

/** What tokens are held against. Lengths of time in seconds. */
export interface Rules {
  readonly issuer: string
  readonly audience: string
  readonly accessTtl: number
  readonly planTtl: number
  readonly skew: number
}

/** The rules of a configuration. */
export const rulesOf = (settings: AuthSettings): Rules => ({
  issuer: settings.issuer,
  audience: settings.audience,
  // JWT has whole seconds.
  accessTtl: Math.max(1, Math.floor(Duration.toSeconds(settings.accessTtl))),
  planTtl: Duration.toSeconds(settings.planTtl),
  skew: Duration.toSeconds(settings.clockSkew)
})

/** Whether the time of a token is over. `now`: in milliseconds of the epoch. */
export const isOver = ({ expiresAt }: Identity, { skew }: Rules, now: number): boolean =>
  now >= expiresAt + skew * 1_000

const inTime = (
  { exp, iat, nbf = 0 }: { readonly exp: number; readonly iat: number; readonly nbf?: number },
  longest: number,
  { skew }: Rules,
  now: number
): Result.Result<{ readonly issuedAt: number; readonly expiresAt: number }, AuthErrorReason> => {
  if (exp <= iat || exp - iat > longest) return wrong("exp")
  const seconds = now / 1_000
  if (Math.max(iat, nbf) > seconds + skew) return Result.fail(new NotYetValid())
  if (exp <= seconds - skew) return Result.fail(new Expired())
  return Result.succeed({ issuedAt: iat * 1_000, expiresAt: exp * 1_000 })
}

/**
 * Reads the claims of a token of ours.
 *
 * - `claims`: JSON
 * - `now`: in milliseconds of the epoch
 *
 * Fails with `Malformed`, `ClaimInvalid`, `Expired` or `NotYetValid`.
 */
export const verifyOwn = (claims: unknown, rules: Rules, now: number): Result.Result<Verified, AuthErrorReason> =>
  Result.flatMap(readOwn(claims), (own) => {
    if (own.iss !== rules.issuer) return wrong("iss")
    if (own.aud !== rules.audience && !(Array.isArray(own.aud) && own.aud.includes(rules.audience))) return wrong("aud")
    if (own.player_id !== own.sub) return wrong("player_id")
    return Result.map(inTime(own, longestOwn, rules, now), (time) =>
      frozen({
        playerId: own.sub,
        roles: own.roles,
        tokenId: own.jti,
        family: own.sid,
        generation: own.gen,
        profile: "own",
        ...time
      })
    )
  })

/** Reads the claims of a Go service's token. `text`: the token, which its id is made of. See {@link verifyOwn}. */
export const verifyPlan = (
  claims: unknown,
  text: string,
  rules: Rules,
  now: number
): Result.Result<Verified, AuthErrorReason> =>
  Result.flatMap(readPlan(claims), (plan) =>
    Result.map(inTime(plan, rules.planTtl, rules, now), (time) =>
      frozen({
        playerId: plan.player_id,
        roles: [],
        // It has none, and two tokens of a player and a second are one.
        tokenId: hash("sha256", text, "base64url"),
        profile: "plan",
        ...time
      })
    )
  )

const timesOf = ({ accessTtl }: Rules, now: number) => {
  const iat = Math.floor(now / 1_000)
  return { iat, exp: iat + accessTtl }
}

/** The claims of a token of ours that is issued now. */
export const issueOwn = (claims: Claims, tokenId: string, rules: Rules, now: number): typeof OwnClaims.Type => ({
  iss: rules.issuer,
  aud: rules.audience,
  sub: claims.playerId,
  jti: tokenId,
  player_id: claims.playerId,
  roles: claims.roles,
  sid: claims.family,
  gen: claims.generation,
  ...timesOf(rules, now)
})

/** The claims of a token of profile `plan` that is issued now, in the order of a Go service. */
export const issuePlan = (playerId: string, rules: Rules, now: number): typeof PlanClaims.Type => {
  const { exp, iat } = timesOf(rules, now)
  return { player_id: playerId, exp, iat }
}

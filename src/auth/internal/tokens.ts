// Access tokens without any state but keys: signed, and verified by what they say. What has ended since is another's to know.
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { CompactSign } from "jose"
import { randomBytes } from "node:crypto"
import * as Config from "../../config/Config.ts"
import { InvalidConfig, Rejected } from "../../config/ConfigError.ts"
import { AuthConfig, type AuthSettings, type Jwks } from "../Auth.ts"
import {
  AlgorithmNotAllowed,
  AuthError,
  type AuthErrorReason,
  ClaimInvalid,
  KeyUnknown,
  Refused
} from "../AuthError.ts"
import { SignatureInvalid, Unavailable } from "../AuthError.ts"
import * as Cache from "./cache.ts"
import {
  type Claims,
  issueOwn,
  issuePlan,
  isOver,
  ownType,
  planType,
  rulesOf,
  type Verified,
  verifyOwn,
  verifyPlan
} from "./claims.ts"
import { follow } from "./jwks.ts"
import { isSignedBy, parse, type Parts, readJson, type VerifyKey } from "./jwt.ts"
import { hasKeys, load, secretKey, type SigningKey } from "./keys.ts"

/** An access token that was issued. `expiresAt`: in milliseconds of the epoch. */
export interface Signed {
  readonly token: Redacted.Redacted
  readonly expiresAt: number
}

/** Signs and verifies access tokens. */
export interface AccessTokens {
  /**
   * Issues an access token, good for `auth.access_ttl` from now. The claims are taken as they are. With `auth.plan` at
   * `issue` it is one of profile `plan`, but for who has roles: what a Go service signs must not give any.
   *
   * Fails with `Refused` in a service that has no key to sign with.
   */
  readonly sign: (claims: Claims) => Effect.Effect<Signed, AuthError>
  /**
   * Verifies an access token, and remembers it. Fails with any reason from `Missing` to `ClaimInvalid`, and with
   * `Unavailable` while the keys of others cannot be read.
   */
  readonly verify: (token: string) => Effect.Effect<Verified, AuthError>
  /** What {@link verify} would give for a token that it verified before, if that is remembered and its time is not over. */
  readonly recall: (token: string) => Verified | undefined
  /** The public keys that verify. */
  readonly jwks: Effect.Effect<Jwks>
}

const fail = (reason: AuthErrorReason) => Effect.fail(new AuthError({ reason }))

/** Whether other keys than those at hand may verify it. */
const isUnknown = ({ _tag }: AuthErrorReason): boolean => _tag === "KeyUnknown" || _tag === "Unavailable"

/** What the configuration's own check says also of settings that were given as arguments. */
const checked = (settings: AuthSettings): Effect.Effect<void, InvalidConfig> =>
  Effect.flatMap(Effect.service(Config.Current), ({ env }) => {
    const faults = hasKeys(settings)
      ? AuthConfig.check(settings, env)
      : [{ field: "secret", expected: "a secret, or files with keys: there is none that signs or verifies" }]
    const issues = faults.map(({ field, ...fault }) => ({
      source: "the settings",
      path: `auth.${field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`,
      actual: "what is given",
      ...fault
    }))
    return issues.length === 0 ? Effect.void : Effect.fail(new InvalidConfig({ reason: new Rejected({ issues }) }))
  })

const compact = (claims: unknown, header: { readonly alg: string; readonly typ: string; readonly kid?: string }) =>
  new CompactSign(Buffer.from(JSON.stringify(claims))).setProtectedHeader(header)

const signOwn = (claims: unknown, { algorithm, key, kid }: SigningKey) =>
  Effect.promise(() => compact(claims, { alg: algorithm, typ: ownType, kid }).sign(key))

const signPlan = (claims: unknown, { algorithm, key }: SigningKey) =>
  Effect.promise(() => compact(claims, { alg: algorithm, typ: planType }).sign(key))

/** Whether a token was signed with the key that it should be, and is of the kind that it should be. */
const proven = (parts: Parts, key: VerifyKey, typ: string): Result.Result<unknown, AuthErrorReason> => {
  if (parts.algorithm !== key.algorithm) return Result.fail(new AlgorithmNotAllowed())
  if (!isSignedBy(parts, key)) return Result.fail(new SignatureInvalid())
  return parts.typ === typ ? Result.succeed(readJson(parts.payload)) : Result.fail(new ClaimInvalid({ claim: "typ" }))
}

/**
 * Makes them of a configuration. Fails when it has no key, or one that cannot be used. With `auth.jwks_url` it does not wait
 * for the keys: their server may be started with this one.
 */
export const make = (settings: AuthSettings): Effect.Effect<AccessTokens, InvalidConfig, Scope.Scope> =>
  Effect.gen(function* () {
    yield* checked(settings)
    const clock = yield* Clock.Clock
    const keys = yield* load(settings)
    const planKey = settings.plan === "off" ? undefined : secretKey(settings.planSecret)
    const rules = rulesOf(settings)
    const cache = Cache.make<Verified>(settings.cacheSize)
    const remote = settings.jwksUrl === "" ? undefined : yield* follow(settings.jwksUrl, cache.clear)
    const keyOf = (kid: string) => keys.verifying.get(kid) ?? remote?.current().get(kid)

    const unknownKey = () => {
      const problem = remote?.problem()
      return problem === undefined
        ? new KeyUnknown()
        : new Unavailable({ detail: `the keys of auth.jwks_url (${problem})` })
    }

    const check = (text: string): Result.Result<Verified, AuthErrorReason> =>
      Result.flatMap(parse(text), (parts) => {
        const now = clock.currentTimeMillisUnsafe()
        if (parts.kid === undefined && planKey !== undefined) {
          return Result.flatMap(proven(parts, planKey, planType), (claims) => verifyPlan(claims, text, rules, now))
        }
        const key = keyOf(parts.kid ?? "")
        return key === undefined
          ? Result.fail(unknownKey())
          : Result.flatMap(proven(parts, key, ownType), (claims) => verifyOwn(claims, rules, now))
      })

    const recall = (text: string): Verified | undefined => {
      const known = cache.get(text)
      if (known === undefined || !isOver(known, rules, clock.currentTimeMillisUnsafe())) return known
      cache.delete(text)
      return undefined
    }

    const remembered = (text: string, verified: Result.Result<Verified, AuthErrorReason>) => {
      if (Result.isFailure(verified)) return fail(verified.failure)
      cache.set(text, verified.success)
      return Effect.succeed(verified.success)
    }

    return {
      sign: Effect.fnUntraced(function* (claims) {
        const now = clock.currentTimeMillisUnsafe()
        if (settings.plan === "issue" && planKey !== undefined && claims.roles.length === 0) {
          const plan = issuePlan(claims.playerId, rules, now)
          return { token: Redacted.make(yield* signPlan(plan, planKey)), expiresAt: plan.exp * 1_000 }
        }
        if (keys.signing === undefined) return yield* fail(new Refused({ detail: "there is no key to sign with" }))
        const own = issueOwn(claims, randomBytes(16).toString("base64url"), rules, now)
        return { token: Redacted.make(yield* signOwn(own, keys.signing)), expiresAt: own.exp * 1_000 }
      }),
      verify: (text) =>
        Effect.suspend(() => {
          const verified = check(text)
          return remote !== undefined && Result.isFailure(verified) && isUnknown(verified.failure)
            ? Effect.flatMap(remote.refresh, () => remembered(text, check(text)))
            : remembered(text, verified)
        }),
      recall,
      jwks: Effect.sync(() => {
        const others = [...(remote?.current().values() ?? [])].filter(({ kid }) => !keys.verifying.has(kid))
        return { keys: [...keys.published, ...others].map(({ jwk }) => jwk) }
      })
    }
  })

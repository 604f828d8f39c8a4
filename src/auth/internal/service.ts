// The room on a store: checks what callers give, signs and verifies, and lets the store say what is good.
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { Auth, Identity, Subject, Tokens } from "../Auth.ts"
import { AuthError, type AuthErrorReason, Banned, Expired, InvalidInput, Revoked, Unavailable } from "../AuthError.ts"
import { isName, mostRoles, type Verified } from "./claims.ts"
import * as Refresh from "./refresh.ts"
import type { Barred, Kept, Store, Until } from "./store.ts"
import type { AccessTokens } from "./tokens.ts"

const fail = (reason: AuthErrorReason) => Effect.fail(new AuthError({ reason }))

const checkPlayer = (playerId: string): Effect.Effect<void, AuthError> =>
  isName(playerId)
    ? Effect.void
    : fail(new InvalidInput({ problem: "the player id is not 1 to 64 of A-Z a-z 0-9 . _ -, or only dots" }))

/** For a player whose id can be stored. */
const forPlayer = (playerId: string, run: () => Effect.Effect<void, AuthError>) =>
  Effect.flatMap(checkPlayer(playerId), run)

const checkRoles = (roles: ReadonlyArray<string>): Effect.Effect<void, AuthError> =>
  roles.length <= mostRoles && roles.every(isName)
    ? Effect.void
    : fail(
        new InvalidInput({
          problem: `the roles are not up to ${mostRoles}, each 1 to 64 of A-Z a-z 0-9 . _ -, or one is only dots`
        })
      )

const checkFamily = (family: string): Effect.Effect<void, AuthError> =>
  Refresh.isFamily(family)
    ? Effect.void
    : fail(new InvalidInput({ problem: "the family is not one that was issued: 22 of A-Z a-z 0-9 _ -" }))

const banned = ({ until }: Barred): Banned => new Banned(until === "forever" ? {} : { until })

const untilOf = (until: DateTime.Utc | "forever"): Until =>
  until === "forever" ? until : DateTime.toEpochMillis(until)

/**
 * The service.
 *
 * - `ageMillis`: how long ago the revocations were all there were, and how old they may get
 */
export const make = (
  tokens: AccessTokens,
  store: Store,
  { ageMillis, maxAgeMillis }: { readonly ageMillis: () => number; readonly maxAgeMillis: number }
): Auth["Service"] => {
  /** What became of a token since it was issued. Asked for every call. */
  const problemOf = (token: Verified): AuthErrorReason | undefined => {
    const how = store.revocations.endOf(token)
    if (how !== undefined) return new Revoked({ how })
    return maxAgeMillis > 0 && ageMillis() > maxAgeMillis
      ? new Unavailable({ detail: "the list of what was revoked" })
      : undefined
  }

  const standing = (token: Verified): Effect.Effect<Identity, AuthError> => {
    const problem = problemOf(token)
    return problem === undefined ? Effect.succeed(token) : fail(problem)
  }

  const recall = (text: string): Identity | undefined => {
    const known = tokens.recall(text)
    return known === undefined || problemOf(known) !== undefined ? undefined : known
  }

  const give = (
    token: Refresh.RefreshToken,
    roles: ReadonlyArray<string>,
    { generation, refreshExpiresAt }: Omit<Kept, "_tag">
  ): Effect.Effect<Tokens, AuthError> =>
    Effect.map(
      tokens.sign({ playerId: token.playerId, roles, family: token.family, generation }),
      ({ expiresAt, token: access }) => ({
        access,
        accessExpiresAt: expiresAt,
        refresh: Refresh.render(token),
        refreshExpiresAt
      })
    )

  const issue = Effect.fnUntraced(function* ({ playerId, roles = [] }: Subject) {
    yield* checkPlayer(playerId)
    yield* checkRoles(roles)
    const token = Refresh.first(playerId)
    const begun = yield* store.begin({ playerId, roles, family: token.family, digest: Refresh.digestOf(token) })
    if (begun._tag === "Barred") return yield* fail(banned(begun))
    return yield* give(token, roles, begun)
  })

  const refresh = Effect.fnUntraced(function* (text: Redacted.Redacted) {
    const parsed = Refresh.parse(Redacted.value(text))
    if (Result.isFailure(parsed)) return yield* fail(parsed.failure)
    const token = parsed.success
    const { family, playerId } = token
    const salt = Refresh.newSalt()
    const next = Refresh.digestOf(Refresh.successor(token, salt))
    const renewal = yield* store.renew({ playerId, family, digest: Refresh.digestOf(token), salt, next })
    switch (renewal._tag) {
      case "Barred":
        return yield* fail(banned(renewal))
      case "Absent":
        return yield* fail(new Revoked({ how: "ended" }))
      case "Expired":
        return yield* fail(new Expired())
      case "Replayed":
        yield* Effect.logWarning("auth: a refresh token was used again, its login is ended").pipe(
          Effect.annotateLogs({ event: "refresh_replayed", player_id: playerId })
        )
        return yield* fail(new Revoked({ how: "used" }))
      case "Renewed":
        return yield* give(Refresh.successor(token, renewal.salt), renewal.roles, renewal)
    }
  })

  return {
    issue,
    verify: (token) =>
      Effect.suspend(() => {
        const text = Redacted.value(token)
        const known = recall(text)
        return known === undefined ? Effect.flatMap(tokens.verify(text), standing) : Effect.succeed(known)
      }),
    recall,
    refresh,
    logout: ({ family, playerId }) =>
      forPlayer(playerId, () =>
        family === undefined
          ? store.endAll(playerId)
          : Effect.andThen(checkFamily(family), store.endFamily(playerId, family))
      ),
    logoutAll: (playerId) => forPlayer(playerId, () => store.endAll(playerId)),
    ban: (playerId, until) => forPlayer(playerId, () => store.ban(playerId, untilOf(until))),
    unban: (playerId) => forPlayer(playerId, () => store.unban(playerId)),
    jwks: tokens.jwks
  }
}

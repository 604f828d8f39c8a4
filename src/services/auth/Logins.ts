import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import { Auth, type Identity, type Tokens } from "../../auth/Auth.ts"
import type { AuthError } from "../../auth/AuthError.ts"
import { Lockout } from "../../auth/Lockout.ts"
import { Session } from "../../session/Session.ts"
import type { SessionError } from "../../session/SessionError.ts"
import { StorageUnavailable } from "../errors.ts"
import { type Account, Accounts, type Ban, nameKey } from "./Accounts.ts"
import type { AccountName } from "./api.ts"
import { AccountBanned, type AccountTaken, RefreshRejected, TooManyFailures, type WrongCredentials } from "./errors.ts"

/** Who has come in, and with what. */
export interface Login {
  readonly account: Account
  readonly tokens: Tokens
}

/**
 * - `address`: the IP address of who tries
 */
export interface Credentials {
  readonly name: AccountName
  readonly password: Redacted.Redacted<string>
  readonly address: string
}

/** How players come in, and how they are put out: accounts, tokens, sessions and the lockout as one. */
export class Logins extends Context.Service<
  Logins,
  {
    /**
     * Makes an account and logs it in. When that fails with StorageUnavailable `unknown` the account may be there: its
     * player logs in.
     */
    readonly register: (credentials: Credentials) => Effect.Effect<Login, AccountTaken | StorageUnavailable>
    /** Logs in by name and password. Failures are counted, for the account and for the address. */
    readonly logIn: (
      credentials: Credentials
    ) => Effect.Effect<Login, WrongCredentials | TooManyFailures | AccountBanned | StorageUnavailable>
    /** New tokens for a refresh token. */
    readonly refresh: (
      token: Redacted.Redacted<string>
    ) => Effect.Effect<Tokens, RefreshRejected | AccountBanned | StorageUnavailable>
    /** Ends the login that a token came from. */
    readonly logOut: (identity: Identity) => Effect.Effect<void, StorageUnavailable>
    /** Ends all logins and sessions of a player. */
    readonly logOutAll: (playerId: string) => Effect.Effect<void, StorageUnavailable>
    /**
     * Ends all logins and sessions of a player, and lets none through until then. It is written down first: what fails
     * after that is done by asking again, and a store of tokens that forgets lets nobody in by name and password.
     */
    readonly ban: (ban: Ban) => Effect.Effect<void, StorageUnavailable>
    /** Ends a ban. */
    readonly unban: (playerId: string) => Effect.Effect<void, StorageUnavailable>
  }
>()("xdooria/services/auth/Logins") {}

/** A store that is away: what was asked may have been done. What asking again does not mend is a bug, or an operator's. */
const unavailable = (error: AuthError | SessionError): Effect.Effect<never, StorageUnavailable> =>
  error.isRetryable
    ? Effect.andThen(Effect.logWarning(error.message), Effect.fail(new StorageUnavailable({ outcome: "unknown" })))
    : Effect.die(error)

const banned = ({ until }: { readonly until?: number }): Effect.Effect<never, AccountBanned> =>
  Effect.fail(new AccountBanned(until === undefined ? {} : { until }))

const locked = (retryAfterMillis: number, address: string): Effect.Effect<never, TooManyFailures> =>
  Effect.andThen(
    Effect.logWarning("login refused after too many failures").pipe(Effect.annotateLogs({ address })),
    Effect.fail(new TooManyFailures({ retryAfterMillis }))
  )

/** The reasons for which a refresh token is not taken. */
const rejecting: ReadonlySet<string> = new Set(["Missing", "Malformed", "TooLarge", "Expired", "Revoked"])

const rejected = (error: AuthError): Effect.Effect<never, RefreshRejected | StorageUnavailable> =>
  rejecting.has(error.reason._tag) ? Effect.fail(new RefreshRejected()) : unavailable(error)

const make = Effect.gen(function* () {
  const accounts = yield* Accounts
  const auth = yield* Auth
  const lockout = yield* Lockout
  const session = yield* Session

  const issue = Effect.fnUntraced(
    function* (account: Account) {
      const { playerId, roles } = account
      const tokens = yield* auth.issue({ playerId, roles })
      yield* Effect.logInfo("logged in").pipe(Effect.annotateLogs({ playerId }))
      return { account, tokens }
    },
    Effect.catchReason("AuthError", "Banned", banned),
    Effect.catchTag("AuthError", unavailable)
  )

  return Logins.of({
    register: ({ name, password }) =>
      Effect.flatMap(accounts.register(name, password), issue).pipe(
        // A player who was not there before.
        Effect.catchTag("AccountBanned", Effect.die)
      ),
    logIn: ({ address, name, password }) =>
      accounts.logIn(name, password).pipe(
        Lockout.guard({ account: nameKey(name), address }, ({ _tag }) => _tag === "WrongCredentials"),
        Effect.provideService(Lockout, lockout),
        Effect.catchReason("AuthError", "LockedOut", ({ retryAfterMillis }) => locked(retryAfterMillis, address)),
        Effect.catchTag("AuthError", unavailable),
        Effect.flatMap(issue)
      ),
    refresh: (token) =>
      auth
        .refresh(token)
        .pipe(Effect.catchReason("AuthError", "Banned", banned), Effect.catchTag("AuthError", rejected)),
    logOut: (identity) => Effect.catchTag(auth.logout(identity), "AuthError", unavailable),
    logOutAll: Effect.fnUntraced(
      function* (playerId) {
        yield* auth.logoutAll(playerId)
        yield* session.kick(playerId)
      },
      Effect.catchTags({ AuthError: unavailable, SessionError: unavailable })
    ),
    ban: Effect.fnUntraced(
      function* (ban) {
        yield* accounts.ban(ban)
        yield* auth.ban(ban.playerId, ban.until)
        yield* session.ban(ban.playerId, ban.until)
        yield* Effect.logInfo("player banned").pipe(Effect.annotateLogs({ playerId: ban.playerId, by: ban.by }))
      },
      Effect.catchTags({ AuthError: unavailable, SessionError: unavailable })
    ),
    unban: Effect.fnUntraced(
      function* (playerId) {
        yield* accounts.unban(playerId)
        yield* auth.unban(playerId)
        yield* session.unban(playerId)
        yield* Effect.logInfo("ban ended").pipe(Effect.annotateLogs({ playerId }))
      },
      Effect.catchTags({ AuthError: unavailable, SessionError: unavailable })
    )
  })
})

/** Logins on the accounts, the tokens, the sessions and the lockout of the context. */
export const LoginsLive: Layer.Layer<Logins, never, Accounts | Auth | Lockout | Session> = Layer.effect(Logins, make)

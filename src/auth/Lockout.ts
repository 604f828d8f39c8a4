import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { AuthError } from "./AuthError.ts"

/**
 * Who tries to log in.
 *
 * - `account`: the name of the account, as the store of accounts compares it
 * - `address`: the IP address of the caller; of IPv6 its /64 counts
 */
export interface Attempt {
  readonly account: string
  readonly address: string
}

/** Counts failed logins, for all services together, and locks accounts and addresses for a while. */
export class Lockout extends Context.Service<
  Lockout,
  {
    /** Whether this login may be tried. Fails with `LockedOut`, `Unavailable` or `Refused`. */
    readonly check: (attempt: Attempt) => Effect.Effect<void, AuthError>
    /** Counts a failure. Fails with `Unavailable` or `Refused`. */
    readonly failed: (attempt: Attempt) => Effect.Effect<void, AuthError>
    /** Forgets the failures of the account; those of the address stay. Fails with `Unavailable` or `Refused`. */
    readonly succeeded: (attempt: Attempt) => Effect.Effect<void, AuthError>
  }
>()("xdooria/auth/Lockout") {
  /**
   * Puts the lockout around a login.
   *
   * - `isFailure`: whether an error of the login counts: a wrong password does, a database that is away does not
   *
   * Fails as the login, and with `LockedOut`, `Unavailable` or `Refused`; the login does not run then.
   */
  static readonly guard =
    <E>(attempt: Attempt, isFailure: (error: E) => boolean) =>
    <A, R>(login: Effect.Effect<A, E, R>): Effect.Effect<A, E | AuthError, Lockout | R> =>
      Effect.flatMap(Lockout, (lockout) =>
        lockout.check(attempt).pipe(
          Effect.andThen(Effect.tapError(login, (error) => (isFailure(error) ? lockout.failed(attempt) : Effect.void))),
          Effect.tap(() => lockout.succeeded(attempt))
        )
      )
}

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import type { AuthError } from "./AuthError.ts"

/**
 * Who tries to log in.
 *
 * - `account`: the name of the account, as the store of accounts compares it
 * - `address`: the IP address of the caller; of IPv6 its /64 counts, and one that stands for an IPv4 address (`::ffff:0:0/96`
 *   or `64:ff9b::/96`, however it is written) counts as that
 */
export interface Attempt {
  readonly account: string
  readonly address: string
}

/**
 * An attempt that may be made. It counts as a failure until it is told how it went, or for a minute when it never is.
 *
 * - `id`: tells it from all others
 */
export interface Reservation extends Attempt {
  readonly id: string
}

/** Counts failed logins, for all services together, and locks accounts and addresses for a while. */
export class Lockout extends Context.Service<
  Lockout,
  {
    /**
     * Reserves an attempt: of many that come at once, no more are let through than may still fail. One that finds all
     * places taken by attempts which have not ended waits for its turn, up to about 5 s.
     *
     * Fails with `LockedOut`, `Unavailable` or `Refused`. What it gives is to be ended by one of the others, in
     * whichever way the login ends; `Lockout.guard` does that.
     */
    readonly check: (attempt: Attempt) => Effect.Effect<Reservation, AuthError>
    /** The attempt has failed, and counts from now on. Fails with `Unavailable` or `Refused`. */
    readonly failed: (reservation: Reservation) => Effect.Effect<void, AuthError>
    /**
     * The attempt was a login: it does not count, and the failures of the account are forgotten; those of the address
     * stay. Fails with `Unavailable` or `Refused`.
     */
    readonly succeeded: (reservation: Reservation) => Effect.Effect<void, AuthError>
    /** The attempt was none, as its end is not known: it does not count. Fails with `Unavailable` or `Refused`. */
    readonly withdrawn: (reservation: Reservation) => Effect.Effect<void, AuthError>
  }
>()("xdooria/auth/Lockout") {
  /**
   * Puts the lockout around a login. A login that fails otherwise, dies or is interrupted is withdrawn.
   *
   * - `isFailure`: whether an error of the login counts: a wrong password does, a database that is away does not
   *
   * Fails as the login, and with `LockedOut`, `Unavailable` or `Refused`; the login does not run then, or was one whose
   * success could not be told.
   */
  static readonly guard =
    <E>(attempt: Attempt, isFailure: (error: E) => boolean) =>
    <A, R>(login: Effect.Effect<A, E, R>): Effect.Effect<A, E | AuthError, Lockout | R> =>
      Effect.flatMap(Lockout, (lockout) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.gen(function* () {
            const reservation = yield* lockout.check(attempt)
            const exit = yield* Effect.exit(restore(login))
            if (Exit.isSuccess(exit)) yield* lockout.succeeded(reservation)
            else {
              const error = Cause.findErrorOption(exit.cause)
              const end = Option.exists(error, isFailure) ? lockout.failed : lockout.withdrawn
              // What the caller is to know is how the login failed, also where this cannot be told.
              yield* Effect.ignore(end(reservation))
            }
            return yield* exit
          })
        )
      )
}

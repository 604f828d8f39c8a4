// What the room needs of a backend: who has ended what, for all services together. Times are in milliseconds of the epoch,
// by the clock of the backend; lengths of time in milliseconds.
import type * as Effect from "effect/Effect"
import type { AuthError } from "../AuthError.ts"
import type { Name } from "./lockout.ts"
import type { Revocations } from "./revocations.ts"

/** The end of a ban. */
export type Until = number | "forever"

/** A player of whom no token is issued. */
export interface Barred {
  readonly _tag: "Barred"
  readonly until: Until
}

/** A login. `digest`: of its first refresh token. */
export interface Login {
  readonly playerId: string
  readonly family: string
  readonly roles: ReadonlyArray<string>
  readonly digest: string
}

/** A login that is kept. `generation`: of the player's access tokens. */
export interface Kept {
  readonly _tag: "Kept"
  readonly generation: number
  readonly refreshExpiresAt: number
}

/** The use of a refresh token. `salt` and `next`: what its successor is made with if this is its first use, and its digest. */
export interface Use {
  readonly playerId: string
  readonly family: string
  readonly digest: string
  readonly salt: string
  readonly next: string
}

/** A refresh token that was good. `salt`: what its successor is made with. */
export interface Renewed extends Omit<Kept, "_tag"> {
  readonly _tag: "Renewed"
  readonly salt: string
  readonly roles: ReadonlyArray<string>
}

/** What the use of a refresh token came to. `Replayed`: it was used before; its family has ended by that. */
export type Renewal = Renewed | Barred | { readonly _tag: "Absent" | "Expired" | "Replayed" }

/**
 * Whether an attempt has a place: among those that may still fail, of an account or an address.
 *
 * - `Busy`: none yet, as all are taken by attempts that have not ended
 */
export type Place = { readonly _tag: "Taken" | "Busy" } | { readonly _tag: "Locked"; readonly leftMillis: number }

/** How an attempt ended: counted, not counted, or not counted and all that were before it neither. */
export type Outcome = "failed" | "withdrawn" | "succeeded"

/** A backend. What ends is known to `revocations` here at once, and in every other service within a second. */
export interface Store {
  readonly revocations: Revocations
  readonly begin: (login: Login) => Effect.Effect<Kept | Barred, AuthError>
  readonly renew: (use: Use) => Effect.Effect<Renewal, AuthError>
  readonly endFamily: (playerId: string, family: string) => Effect.Effect<void, AuthError>
  readonly endAll: (playerId: string) => Effect.Effect<void, AuthError>
  readonly ban: (playerId: string, until: Until) => Effect.Effect<void, AuthError>
  readonly unban: (playerId: string) => Effect.Effect<void, AuthError>
  /** Takes a place for each of them where there is one, in the order of the names. It may come twice. */
  readonly reserve: (names: ReadonlyArray<Name>, id: string) => Effect.Effect<ReadonlyArray<Place>, AuthError>
  /** Gives the places up. It may come twice. */
  readonly settle: (
    outcomes: ReadonlyArray<readonly [name: Name, outcome: Outcome]>,
    id: string
  ) => Effect.Effect<void, AuthError>
}

/** How a backend keeps what it keeps. */
export interface Keeping {
  /** How long a refresh token is good. */
  readonly refreshTtl: number
  /** How long a used one gives its successor. */
  readonly grace: number
}

/** How many logins of a player can be refreshed; a further one takes the place of the one that expires first. */
export const mostFamilies = 64

/** How long an attempt to log in has its place when nobody tells how it ended: its process is gone. */
export const pendingMillis = 60_000

/** How long a refresh token is told from one that never was, after it has expired. */
export const expiredMillis = 86_400_000

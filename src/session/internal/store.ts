// What the room needs of a backend. The rules of sessions are in here; where they are applied, atomically for each
// player, is the backend's affair.
import type * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import type * as Stream from "effect/Stream"
import type { Event } from "../../redis/Channel.ts"
import type { Presence, SessionData } from "../Session.ts"
import type { SessionError } from "../SessionError.ts"
import type { Player } from "./input.ts"
import type { Reading } from "./judge.ts"
import type { Notice } from "./members.ts"
import type { Ending, Stored } from "./scripts.ts"

/** How a session stands in the list of its gateway. */
export type Standing = "listed" | "online" | "gone"

/** A backend. Times are in milliseconds. */
export interface Store {
  readonly login: (
    player: Player,
    session: Stored
  ) => Effect.Effect<{ readonly ban: string | undefined; readonly epoch: number }, SessionError>
  /** Of a device, or of the newest session. */
  readonly read: (player: Player, device: string | undefined) => Effect.Effect<Reading, SessionError>
  readonly readAll: (
    of: ReadonlyArray<{ readonly player: Player; readonly device: string }>
  ) => Effect.Effect<ReadonlyArray<Result.Result<Reading, SessionError>>>
  /** Prolongs a session that is valid; whether it was. */
  readonly touch: (player: Player, session: SessionData) => Effect.Effect<boolean, SessionError>
  /** Sets the player online from now, or not any more. */
  readonly setOnline: (player: Player, isOnline: boolean) => Effect.Effect<void, SessionError>
  readonly presence: (player: Player) => Effect.Effect<Presence, SessionError>
  /** Ends one session; whether the player still has one. */
  readonly logout: (player: Player, session: SessionData) => Effect.Effect<boolean, SessionError>
  readonly end: (
    player: Player,
    ending: Ending
  ) => Effect.Effect<{ readonly ended: number; readonly remains: boolean }, SessionError>
  readonly unban: (player: Player) => Effect.Effect<void, SessionError>
  /** Hands a session over; gives its new epoch, if it was valid. */
  readonly move: (
    player: Player,
    session: SessionData,
    to: string,
    value: string
  ) => Effect.Effect<number | undefined, SessionError>

  /** Notes how a session stands in the list of a gateway; at the server within a second. */
  readonly note: (gateway: string, member: string, standing: Standing) => void
  /** What is in the list of a gateway, in pages; one may appear twice. */
  readonly members: (gateway: string) => Stream.Stream<ReadonlyArray<string>, SessionError>
  readonly countOnline: Effect.Effect<number, SessionError>

  /** What is published for a gateway. */
  readonly subscribe: (gateway: string) => Stream.Stream<Event<Notice>, SessionError>

  /** Sessions of all players that began until then are void. */
  readonly floor: () => number
  readonly raiseFloor: (until: number) => Effect.Effect<void, SessionError>
  /** Whenever the floor has risen. */
  readonly floorChanges: Stream.Stream<void>
}

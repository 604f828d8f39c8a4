import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import * as Config from "../config/Config.ts"
import type { SessionError } from "./SessionError.ts"

const seconds = (value: number, description: string) =>
  Config.Seconds.pipe(Config.withDefault(value), Schema.annotateKey({ description }))

const whole = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** Section `session`. Every time must be from a millisecond to a year. */
export const SessionConfig = Config.section(
  "session",
  {
    ttl: seconds(600, "How long a session lasts after its login, or after its last touch when sliding, in seconds"),
    sliding: Schema.Boolean.pipe(
      Config.withDefault(true),
      Schema.annotate({ description: "Whether a touch lets the session last ttl from then on" })
    ),
    onlineTtl: seconds(60, "How long a player is online after a touch, in seconds"),
    maxDevices: whole(1, 100).pipe(
      Config.withDefault(1),
      Schema.annotate({ description: "Sessions that a player may have at once, each on a device of its own" })
    ),
    retention: seconds(
      604_800,
      "How long the epoch, the last-seen time and a revocation outlive a player's last session, in seconds"
    ),
    sweepInterval: seconds(
      5,
      "How often a gateway looks at its sessions for what nobody announces, a Go login above all, in seconds"
    ),
    replicas: whole(0, 10).pipe(
      Config.withDefault(0),
      Schema.annotate({ description: "Replicas that must have confirmed what ends a session; 0 waits for none" })
    )
  },
  (values) => [
    ...times
      .filter((field) => Duration.toMillis(values[field]) < 1 || Duration.toDays(values[field]) > 366)
      .map((field) => ({ field, expected: "0.001 to 31622400 seconds" })),
    ...(Duration.isLessThan(values.retention, values.onlineTtl)
      ? [{ field: "retention" as const, expected: "at least online_ttl" }]
      : [])
  ]
)

const times = ["ttl", "onlineTtl", "retention", "sweepInterval"] as const

/** The values of {@link SessionConfig}. */
export type SessionOptions = typeof SessionConfig.schema.Type

/** A session as it is stored. */
export interface SessionData {
  readonly playerId: string
  /** Which of the player's devices has it; empty unless the login named one. */
  readonly device: string
  /** Rises with each login of the player, and is never used twice. 0 for a session that a Go service wrote. */
  readonly epoch: number
  readonly token: Redacted.Redacted
  /** The gateway that the player is connected to. */
  readonly gateway: string
  /** When the player logged in, by the clock of who wrote it; absent when that is not known. */
  readonly loginTime: DateTime.Utc | undefined
}

/**
 * A login.
 *
 * - `playerId`: 1 to 256 bytes: letters and digits of any script and `_ . @ + = ~ -`, not only dots
 * - `token`: what the player's client shows with each call: 1 to 8192 bytes
 * - `gateway`: the one that the client is connected to; made as a player id
 * - `device`: made as a player id; with `max_devices` 1 it only tells the devices apart
 * - `ttl`: in place of `session.ttl`, from a millisecond to a year; a touch goes on with it
 */
export interface Login {
  readonly playerId: string
  readonly token: Redacted.Redacted
  readonly gateway: string
  readonly device?: string
  readonly ttl?: Duration.Input
}

/** Whether a player is online, and when one was last; absent when that is not known any more. */
export interface Presence {
  readonly online: boolean
  readonly lastSeen: DateTime.Utc | undefined
}

/**
 * Why a session of a gateway has ended.
 *
 * - `superseded`: a newer login took its place
 * - `revoked`: somebody kicked or revoked it, or a Go service deleted it
 * - `banned`: the player was banned
 * - `ended`: it was logged out elsewhere, drained, it expired, or the server lost it
 * - `moved`: it was handed over to the gateway `to`, where it goes on
 */
export const KickReason = Schema.Literals(["superseded", "revoked", "banned", "ended", "moved"])

/** See {@link KickReason}. */
export type KickReason = typeof KickReason.Type

/** A session of a gateway that has ended without the gateway's doing: its connection is to be closed. */
export const Kick = Schema.Struct({
  playerId: Schema.String,
  device: Schema.String,
  /** That of the session which has ended: a later login of the player has a higher one. */
  epoch: Schema.Int,
  reason: KickReason,
  to: Schema.optionalKey(Schema.String)
})

/** See {@link Kick}. */
export type Kick = typeof Kick.Type

/**
 * How a gateway is drained.
 *
 * - `perSecond`: sessions in a second, 1 to 10000
 * - `to`: the gateway that takes them over; without it they end
 */
export interface Drain {
  readonly perSecond: number
  readonly to?: string
}

/** Which session a call claims to belong to, beyond player and token: the gateway and the device, where known. */
export interface Claim {
  readonly gateway?: string
  readonly device?: string
}

/**
 * The sessions of all players, shared by all services. What one operation changes, every other one sees at once.
 *
 * Every operation fails with SessionError: `InvalidPlayerId` and `InvalidInput` before anything is sent, `Unavailable`,
 * `Refused` and `Unreadable` where the store does not do its part, and `OutcomeUnknown` where it may have.
 */
export class Session extends Context.Service<
  Session,
  {
    /**
     * Logs a player in, and ends what the login takes the place of: every other session of the player, or with
     * `max_devices` the one of the same device, and the oldest beyond the bound. Their gateways get a Kick.
     *
     * Fails with `Banned`, and with `Unconfirmed` when it ended another session and too few replicas know of it: it is
     * done again then.
     */
    readonly login: (login: Login) => Effect.Effect<SessionData, SessionError>
    /** The player's valid session, the newest of several, or undefined. One round trip. */
    readonly get: (playerId: string) => Effect.Effect<SessionData | undefined, SessionError>
    /**
     * Whether a token is good now: what a gateway asks for each call. One round trip; where the claim has no device, one
     * more for a token that is not of the newest session. Tokens are compared in constant time.
     *
     * Fails with `Banned`, `Revoked`, `Superseded` or `NotFound`.
     */
    readonly check: (
      playerId: string,
      token: Redacted.Redacted,
      claim?: Claim
    ) => Effect.Effect<SessionData, SessionError>
    /**
     * Says that the session is in use: the player is online for `online_ttl`, and a sliding session lasts its whole time
     * from now on. To be called more often than `online_ttl`.
     *
     * Fails as `check`. Repeated when its reply is lost.
     */
    readonly touch: (session: SessionData) => Effect.Effect<void, SessionError>
    /**
     * Ends this very session. A newer one of the player stays, and succeeds when there is none any more. With the
     * player's last session the player is no longer online. Repeated when its reply is lost.
     */
    readonly logout: (session: SessionData) => Effect.Effect<void, SessionError>
    /** Whether the player is online, also by what a Go service wrote. */
    readonly presence: (playerId: string) => Effect.Effect<Presence, SessionError>
    /**
     * How many sessions were touched within `online_ttl`: one small question for each gateway. It follows what happens
     * within a second. Who is online by a Go service alone is not counted.
     */
    readonly countOnline: Effect.Effect<number, SessionError>
    /** The valid sessions of a gateway, in no order, read in pages. A login elsewhere appears within a second. */
    readonly list: (gateway: string) => Stream.Stream<SessionData, SessionError>
    /**
     * The sessions of a gateway that end without its doing, for as long as the stream runs; first those that have ended
     * before it. A change made through this room arrives at once, by publication; where a message was missed, the
     * sessions are looked at again as soon as there is a connection. What a Go service changes is found within
     * `sweep_interval`. A session may be told twice: compare the epoch. While the store is away it waits. The stream ends
     * when the room closes.
     *
     * Fails with `InvalidInput`, and with `Refused` where listening is not permitted.
     */
    readonly kicks: (gateway: string) => Stream.Stream<Kick, SessionError>
    /** Ends all sessions of a player, or that of one device; one that a Go service wrote too. Gives how many. */
    readonly kick: (playerId: string, device?: string) => Effect.Effect<number, SessionError>
    /** Bans a player until an instant or for ever: ends all sessions, and lets no login through. */
    readonly ban: (playerId: string, until: DateTime.Utc | "forever") => Effect.Effect<void, SessionError>
    /** Ends a ban. */
    readonly unban: (playerId: string) => Effect.Effect<void, SessionError>
    /** Ends the sessions of a player that began at an instant or before; one to come counts as now. Gives how many. */
    readonly revoke: (playerId: string, before: DateTime.Utc) => Effect.Effect<number, SessionError>
    /** Ends the sessions of all players that began at an instant or before, whether or not it finds them: within 1 s. */
    readonly revokeAll: (before: DateTime.Utc) => Effect.Effect<void, SessionError>
    /**
     * Ends the sessions of a gateway, or hands them over, at a rate. One that is handed over keeps its token and gets a
     * new epoch, so that the old gateway's logout no longer ends it; the old gateway gets a Kick with `to`.
     *
     * Gives how many. Interruption leaves what was done.
     */
    readonly drain: (gateway: string, options: Drain) => Effect.Effect<number, SessionError>
  }
>()("xdooria/session/Session") {}

import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Redis as Connection } from "ioredis"
import type * as Stream from "effect/Stream"
import * as Config from "../config/Config.ts"
import type * as Channel from "./Channel.ts"
import type * as Command from "./Command.ts"
import type * as Key from "./Key.ts"
import type { RedisFailure } from "./RedisError.ts"

const seconds = (value: number, description: string) =>
  Config.Seconds.pipe(Config.withDefault(value), Schema.annotateKey({ description }))

const text = (value: string, description: string) =>
  Schema.String.pipe(Config.withDefault(value), Schema.annotate({ description }))

/**
 * Section `redis`. One address is a single server, several are a cluster; with `sentinel_master` they are sentinels.
 * Every time must be more than 0.
 */
export const RedisConfig = Config.section(
  "redis",
  {
    addrs: Schema.NonEmptyArray(Config.Address).pipe(
      Config.withDefault(["127.0.0.1:6379"]),
      Schema.annotate({ description: "Addresses; several are a cluster, or sentinels when sentinel_master is set" })
    ),
    username: text("", "User of the access control list; empty for the default user"),
    password: Config.Secret.pipe(
      Config.withDefault(""),
      Schema.annotateKey({ description: "Password; empty for none" })
    ),
    db: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)).pipe(
      Config.withDefault(0),
      Schema.annotate({ description: "Number of the database; 0 with a cluster" })
    ),
    poolSize: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 })).pipe(
      Config.withDefault(10),
      Schema.annotate({ description: "Connections for blocking commands and watched transactions" })
    ),
    sentinelMaster: text("", "Name of the primary that the sentinels watch; empty without sentinels"),
    sentinelPassword: Config.Secret.pipe(
      Config.withDefault(""),
      Schema.annotateKey({ description: "Password of the sentinels; empty for none" })
    ),
    keyPrefix: text("", "What every key and channel begins with; empty to share keys with services of the plan"),
    connectTimeout: seconds(2, "How long connecting may take, in seconds"),
    commandTimeout: seconds(1, "How long an operation may take, its retries included, in seconds"),
    acquireTimeout: seconds(1, "How long a call waits for one of pool_size connections, in seconds"),
    startTimeout: seconds(8, "How long the start waits for the server, in seconds"),
    tls: Schema.Literals(["disable", "require", "verify-full"]).pipe(
      Config.withDefault("disable"),
      Schema.annotate({ description: "No TLS, TLS with any certificate, or TLS with a certificate for the host" })
    ),
    tlsCaFile: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({ description: "PEM file with the authorities for verify-full; empty for those of Node" })
    )
  },
  (values, env) => [
    ...positive.filter((field) => Duration.isZero(values[field])).map((field) => ({ field, expected: "more than 0" })),
    ...(values.db !== 0 && values.addrs.length > 1 && values.sentinelMaster === ""
      ? [{ field: "db" as const, expected: "0, since several addresses are a cluster" }]
      : []),
    ...(/[\s{}*?[\]\\]/.test(values.keyPrefix)
      ? [{ field: "keyPrefix" as const, expected: "no blanks and none of { } * ? [ ] \\" }]
      : []),
    ...(env === "prod" && Redacted.value(values.password) === ""
      ? [{ field: "password" as const, expected: "a password in prod", hint: "set XDOORIA_REDIS_PASSWORD" }]
      : [])
  ]
)

const positive = ["connectTimeout", "commandTimeout", "acquireTimeout", "startTimeout"] as const

/** The values of {@link RedisConfig}. */
export type RedisOptions = typeof RedisConfig.schema.Type

/** Runs operations on connections that all share. */
export interface Runner {
  /**
   * Runs an operation. It settles within `command_timeout` (and 100 ms at most) whatever the network does. An idempotent
   * operation is repeated while time is left; any other is repeated only when it was surely not applied, and fails with
   * `OutcomeUnknown` when its reply is lost. Interruption leaves at once; what was sent may be applied.
   *
   * Fails with `InvalidInput` for what blocks, or changes what the connection does with the commands after it: that is
   * for `reserve`.
   */
  readonly run: <A>(command: Command.Any<A>) => Effect.Effect<A, RedisFailure>
}

/** Redis: a single server, a primary found by sentinels, or a cluster. */
export class Redis extends Context.Service<
  Redis,
  Runner & {
    /**
     * Runs operations in one round trip to each node, in order for each slot. Each has its own result; all are there
     * within `command_timeout`. What was surely not applied is tried again, unless a later operation on its slot was.
     */
    readonly batch: <const C extends ReadonlyArray<Command.Any>>(
      commands: C
    ) => Effect.Effect<{ readonly [K in keyof C]: Result.Result<Command.Replies<C>[K], RedisFailure> }>
    /**
     * Runs operations of one slot with nothing between them (MULTI): all or none, but for an operation that fails when
     * it is its turn, such as with `WrongType`. Redis does not undo the others then: the effect fails with the first, and
     * is `partial`, not safe to retry. Fails with `OutcomeUnknown` too when MULTI is refused that was allowed before.
     */
    readonly transaction: <Slot extends string, const C extends ReadonlyArray<Command.Command<unknown, Slot>>>(
      commands: C & ReadonlyArray<Command.Command<unknown, Slot>>
    ) => Effect.Effect<Command.Replies<C>, RedisFailure>
    /**
     * A connection that nobody else uses, of `pool_size`, until the scope ends. For what blocks, and for WAIT and WATCH.
     * What is run on it is sent once, and has `command_timeout` more than the server may hold its reply back. Whoever is
     * interrupted while it runs, or waits in vain, has the connection closed, so that the server gives the operation up;
     * after that it fails with `Unavailable`.
     *
     * - `key`: on a cluster, one of the keys that it is for, which decides the node; any node unless given
     *
     * Fails with `PoolExhausted` when none gets free within `acquire_timeout`.
     */
    readonly reserve: (key?: Key.Any) => Effect.Effect<Runner, RedisFailure, Scope.Scope>
    /**
     * Hears a channel, on a connection that all subscriptions of the client share. The first event is `Gap`, once the
     * server has confirmed; what is published after it is heard, or announced as missing by another `Gap`. Connects again
     * by itself for ever, within 2 s after the server is back. A reader that falls 1024 messages or 4 MiB behind loses
     * them and gets a `Gap`; it never holds up others. What the channel's schema does not decode is left out, counted
     * (`redis_messages_undecodable_total`) and logged once for each subscription.
     *
     * Fails with what no reconnection mends: `PermissionDenied`, `TlsFailed`, `Rejected`, and `Closed` when the client is
     * closed. A password that was changed is waited for, as by all that is connected.
     */
    readonly subscribe: <A>(channel: Channel.Typed<A>) => Stream.Stream<Channel.Event<A>, RedisFailure>
    /**
     * Reads, decides what to do, and does it only if nobody has changed one of `keys` meanwhile (WATCH); otherwise begins
     * again, after a short random time.
     *
     * - `keys`: of one slot
     * - `body`: reads, on the connection that it is given or any other, and gives the operations, of the same slot. It may
     *   run several times. When it fails or is interrupted nothing is applied
     * - `attempts`: how often it is begun, 1 or more, 10 unless given
     *
     * Holds a connection of `pool_size`, see `reserve`. Fails with `Conflict` when a key changed each time, with
     * `OutcomeUnknown` when the reply to EXEC is lost, with what `body` fails with, and as `transaction`.
     */
    readonly watch: <
      Slot extends string,
      const C extends ReadonlyArray<Command.Command<unknown, Slot>>,
      E = never,
      R = never
    >(
      keys: readonly [Key.Key<Slot>, ...ReadonlyArray<Key.Key<Slot>>],
      body: (own: Runner) => Effect.Effect<C & ReadonlyArray<Command.Command<unknown, Slot>>, E, R>,
      attempts?: number
    ) => Effect.Effect<Command.Replies<C>, E | RedisFailure, R>
    /**
     * All keys that `Key.make(words, ...)` has made with at least one part, on every primary, page by page. A key that is
     * there all the time is given, once or more often; one that comes or goes meanwhile may be. What is named otherwise
     * is left out. Not for requests: it looks at every key of the servers.
     *
     * Fails when a page cannot be had within `command_timeout`, and with `ClusterDown` when a server is replaced
     * meanwhile: begin again then.
     */
    readonly scan: <const Words extends string>(
      words: string extends Words ? never : Words
    ) => Stream.Stream<Key.Key<Words>, RedisFailure>
    /** What every key begins with. */
    readonly keyPrefix: string
    /**
     * The driver's connections that are open now: one, or one to each primary of a cluster. Each is gone when it is lost;
     * what is done with them is outside the promises of this room.
     */
    readonly native: Effect.Effect<ReadonlyArray<Connection>>
  }
>()("xdooria/redis/Redis") {}

import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import * as Channel from "../redis/Channel.ts"
import * as Command from "../redis/Command.ts"
import type * as Key from "../redis/Key.ts"
import { Redis, type Runner } from "../redis/Redis.ts"
import type { RedisFailure } from "../redis/RedisError.ts"
import * as Floor from "./internal/floor.ts"
import { onlineKey, type Player } from "./internal/input.ts"
import { answerTo, isTimeless, Question } from "./internal/judge.ts"
import { Notice } from "./internal/members.ts"
import { recordOf } from "./internal/record.ts"
import * as Roster from "./internal/roster.ts"
import * as Scripts from "./internal/scripts.ts"
import * as Service from "./internal/service.ts"
import type { Store } from "./internal/store.ts"
import { Session, SessionConfig, type SessionData, type SessionOptions } from "./Session.ts"
import {
  OutcomeUnknown,
  Refused,
  SessionError,
  type SessionErrorReason,
  Unavailable,
  Unconfirmed,
  Unreadable
} from "./SessionError.ts"

/** How long replicas have to confirm, in milliseconds. */
const confirmMillis = 500

const defaults: SessionOptions = Schema.decodeSync(SessionConfig.schema)({})

/** What a failure of Redis is in this room. */
export const fromRedis = (error: RedisFailure): SessionError => new SessionError({ reason: reasonOf(error) })

const reasonOf = ({ partial, reason }: RedisFailure): SessionErrorReason => {
  switch (reason._tag) {
    case "OutcomeUnknown":
      return new OutcomeUnknown({ detail: reason.detail })
    case "WrongType":
      return new Unreadable({ problem: "it is a value of another type" })
    case "Unavailable":
      return new Unavailable({ detail: reason.detail })
    case "UnexpectedReply":
      // It was applied: only what it means is not known.
      return new OutcomeUnknown({ detail: reason.problem })
    default:
      // A script that failed on its way is not undone.
      if (partial === true) return new OutcomeUnknown({ detail: reason._tag })
      return reason.isRetryable ? new Unavailable({ detail: reason._tag }) : new Refused({ detail: reason._tag })
  }
}

const channelOf = Channel.make("xd:session-kicks", Notice)
const everyChannel = Result.getOrThrow(channelOf())

/** A time as the plan writes it: whole seconds where it has no fraction. */
const expiryOf = (millis: number) => (millis % 1000 === 0 ? ["EX", millis / 1000] : ["PX", millis])

const keysOf = (player: Player) => [player.value, player.record] as const

/** What a Go service or we wrote at the online key: whole seconds, 0 where it says none. The key counts, whatever it says. */
const writtenOf = (text: string | undefined): number =>
  text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) * 1000 : 0

/** How often a script asks again, when a Go service writes the player's value at the same time. */
const mostQuestions = 16

/** Runs a script that may ask whose the plan's value is, and answers. */
const ask = <A>(
  run: Runner["run"],
  script: (said: string) => Command.Any<A | Question>,
  held?: SessionData,
  said = "",
  asked = 0
): Effect.Effect<A, SessionError> =>
  Effect.flatMap(Effect.mapError(run(script(said)), fromRedis), (reply): Effect.Effect<A, SessionError> => {
    if (!(reply instanceof Question)) return Effect.succeed(reply)
    if (asked < mostQuestions) return ask(run, script, held, answerTo(reply, held), asked + 1)
    return Effect.fail(new SessionError({ reason: new Unavailable({ detail: "the value does not stand still" }) }))
  })

/** Says at once what else an operator would learn from each operation that ends a session. */
const warnOfFewReplicas = Effect.fnUntraced(function* (redis: Redis["Service"], wanted: number) {
  // Nothing was written on this connection: what counts is who is there.
  const found = yield* Effect.flatMap(redis.reserve(), (own) => own.run(Command.wait(wanted, confirmMillis)))
  if (found >= wanted) return
  yield* Effect.logWarning(
    `session: session.replicas is ${wanted}, but Redis has ${found} replicas now. Until it has ${wanted}, each logout, ` +
      `kick, ban and revocation is applied and yet fails with Unconfirmed, after ${confirmMillis} ms. ` +
      "Add replicas, or set session.replicas to what there is"
  )
}, Effect.scoped)

const makeStore = Effect.fnUntraced(function* (redis: Redis["Service"], options: SessionOptions) {
  const retention = Duration.toMillis(options.retention)
  const slide = options.sliding ? Duration.toMillis(options.ttl) : 0
  const onlineMillis = Duration.toMillis(options.onlineTtl)

  const common: Scripts.Common = { channel: everyChannel, retention }
  const run = <A>(command: Command.Any<A>) => Effect.mapError(redis.run(command), fromRedis)

  /** Runs what may end a session: known to the replicas that are asked for, when it succeeds. */
  const confirm = <A>(
    key: Key.Any,
    action: (run: Runner["run"]) => Effect.Effect<A, SessionError>,
    ends: (reply: A) => boolean = () => true
  ): Effect.Effect<A, SessionError> =>
    options.replicas === 0
      ? action(redis.run)
      : Effect.gen(function* () {
          const own = yield* Effect.mapError(redis.reserve(key), fromRedis)
          const reply = yield* action(own.run)
          if (!ends(reply)) return reply
          const confirmed = yield* Effect.mapError(own.run(Command.wait(options.replicas, confirmMillis)), fromRedis)
          if (confirmed >= options.replicas) return reply
          return yield* new SessionError({ reason: new Unconfirmed({ confirmed }) })
        }).pipe(Effect.scoped)

  const floor = yield* Floor.make(
    redis,
    (command, key) => confirm(key, (run) => Effect.mapError(run(command), fromRedis)),
    fromRedis
  )
  const roster = yield* Roster.make(redis, options, fromRedis)
  if (options.replicas > 0) yield* Effect.ignore(warnOfFewReplicas(redis, options.replicas))

  return {
    ...floor,
    ...roster,
    login: (player, session) =>
      confirm<Scripts.LoggedIn>(
        player.value,
        (run) =>
          ask(run, (said) => Scripts.Login(keysOf(player), common, said, session, options.maxDevices, floor.floor())),
        ({ supersedes }) => supersedes
      ),
    read: (player, device) =>
      Effect.mapError(
        Effect.filterOrElse(redis.run(Scripts.Peek(keysOf(player), device)), isTimeless, () =>
          redis.run(Scripts.Read(keysOf(player), device))
        ),
        fromRedis
      ),
    readAll: (of) =>
      Effect.map(redis.batch(of.map(({ device, player }) => Scripts.Read(keysOf(player), device))), (readings) =>
        readings.map((reading) => Result.mapError(reading, fromRedis))
      ),
    touch: (player, session) =>
      ask(redis.run, (said) => Scripts.Touch(keysOf(player), common, said, session, floor.floor(), slide), session),
    setOnline: (player, isOnline) =>
      isOnline
        ? Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const args = [onlineKey(player), String(Math.floor(now / 1000)), ...expiryOf(onlineMillis)]
            // A later one says the same, a little later.
            return run(Command.make("SET", args, Command.ok, { idempotent: true }))
          })
        : Effect.asVoid(run(Command.idempotent(Command.del(onlineKey(player))))),
    presence: (player) =>
      Effect.gen(function* () {
        const [value, seen] = yield* redis.batch([Command.get(onlineKey(player)), Command.get(player.record)])
        const { s: last } = recordOf(yield* Effect.fromResult(seen))
        const online = Result.isFailure(value) && value.failure.reason._tag === "WrongType"
        const text = online ? undefined : yield* Effect.fromResult(value)
        const millis = Math.max(writtenOf(text), last)
        return {
          online: online || text !== undefined,
          lastSeen: millis === 0 ? undefined : DateTime.makeUnsafe(millis)
        }
      }).pipe(Effect.mapError(fromRedis)),
    logout: (player, session) =>
      confirm(player.value, (run) =>
        ask(run, (said) => Scripts.Logout(keysOf(player), common, said, session), session)
      ),
    end: (player, ending) =>
      confirm(player.value, (run) => ask(run, (said) => Scripts.End(keysOf(player), common, said, ending))),
    unban: (player) => Effect.asVoid(run(Scripts.Unban(keysOf(player), common))),
    move: (player, session, to, value) =>
      confirm<number | undefined>(
        player.value,
        (run) => ask(run, (said) => Scripts.Move(keysOf(player), common, said, session, to, value), session),
        (epoch) => epoch !== undefined
      ),
    subscribe: (gateway) =>
      Stream.unwrap(Effect.map(Effect.fromResult(channelOf(gateway)), redis.subscribe)).pipe(Stream.mapError(fromRedis))
  } satisfies Store as Store
})

/**
 * Sessions on Redis; what is not given has the default of SessionConfig.
 *
 * Fails with SessionError when Redis does not answer at the start. It writes the lists of the gateways for the last time
 * when the scope closes.
 */
export const makeLive = (
  options: Partial<SessionOptions> = {}
): Effect.Effect<Session["Service"], SessionError, Redis | Scope.Scope> =>
  Effect.gen(function* () {
    const values = { ...defaults, ...options }
    return yield* Service.make(yield* makeStore(yield* Redis, values), values)
  })

/** As {@link SessionLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = (options: Partial<SessionOptions> = {}): Layer.Layer<Session, SessionError, Redis> =>
  Layer.effect(Session, makeLive(options))

/** Sessions on Redis, as section `session` says. See {@link makeLive}. */
export const SessionLive: Layer.Layer<Session, SessionError | InvalidConfig, Redis> = Layer.effect(
  Session,
  Effect.flatMap(Config.get(SessionConfig), makeLive)
)

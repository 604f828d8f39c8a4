import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import * as Channel from "../redis/Channel.ts"
import * as Command from "../redis/Command.ts"
import type * as Key from "../redis/Key.ts"
import { Redis } from "../redis/Redis.ts"
import type { RedisFailure } from "../redis/RedisError.ts"
import * as Floor from "./internal/floor.ts"
import { onlineKey, type Player } from "./internal/input.ts"
import { isTimeless } from "./internal/judge.ts"
import { recordOf } from "./internal/record.ts"
import * as Roster from "./internal/roster.ts"
import * as Scripts from "./internal/scripts.ts"
import * as Service from "./internal/service.ts"
import type { Store } from "./internal/store.ts"
import { Kick, Session, SessionConfig, type SessionData, type SessionOptions } from "./Session.ts"
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

const reasonOf = ({ reason }: RedisFailure): SessionErrorReason => {
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
      return reason.isRetryable ? new Unavailable({ detail: reason._tag }) : new Refused({ detail: reason._tag })
  }
}

const channelOf = Channel.make("xd:session-kicks", Kick)
const everyChannel = Result.getOrThrow(channelOf())

/** A time as the plan writes it: whole seconds where it has no fraction. */
const expiryOf = (millis: number) => (millis % 1000 === 0 ? ["EX", millis / 1000] : ["PX", millis])

const heldOf = ({ device, epoch, gateway, token }: SessionData): Scripts.Held => ({
  device,
  epoch,
  gateway,
  token: Redacted.value(token)
})

const keysOf = (player: Player) => [player.value, player.record] as const

/** What a Go service or we wrote at the online key: whole seconds, 0 where it says none. The key counts, whatever it says. */
const writtenOf = (text: string | undefined): number =>
  text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) * 1000 : 0

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

  /** Runs what ends a session: known to the replicas that are asked for, when it succeeds. */
  const confirm = <A>(command: Command.Any<A>, key: Key.Any): Effect.Effect<A, SessionError> =>
    options.replicas === 0
      ? run(command)
      : Effect.gen(function* () {
          const own = yield* redis.reserve(key)
          const reply = yield* own.run(command)
          const confirmed = yield* own.run(Command.wait(options.replicas, confirmMillis))
          return { reply, confirmed }
        }).pipe(
          Effect.scoped,
          Effect.mapError(fromRedis),
          Effect.flatMap(({ confirmed, reply }) =>
            confirmed >= options.replicas
              ? Effect.succeed(reply)
              : Effect.fail(new SessionError({ reason: new Unconfirmed({ confirmed }) }))
          )
        )

  const floor = yield* Floor.make(redis, confirm, fromRedis)
  const roster = yield* Roster.make(redis, options, fromRedis)
  if (options.replicas > 0) yield* Effect.ignore(warnOfFewReplicas(redis, options.replicas))

  return {
    ...floor,
    ...roster,
    login: (player, session) => run(Scripts.Login(keysOf(player), common, session, options.maxDevices, floor.floor())),
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
    touch: (player, session) => run(Scripts.Touch(keysOf(player), common, heldOf(session), floor.floor(), slide)),
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
    logout: (player, session) => confirm(Scripts.Logout(keysOf(player), common, heldOf(session)), player.value),
    end: (player, ending) => confirm(Scripts.End(keysOf(player), common, ending), player.value),
    discard: (player, value) => confirm(Scripts.Discard([player.value], value), player.value),
    unban: (player) => Effect.asVoid(run(Scripts.Unban(keysOf(player), common))),
    move: (player, session, to, value) => run(Scripts.Move(keysOf(player), common, heldOf(session), to, value)),
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
    return Service.make(yield* makeStore(yield* Redis, values), values)
  })

/** As {@link SessionLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = (options: Partial<SessionOptions> = {}): Layer.Layer<Session, SessionError, Redis> =>
  Layer.effect(Session, makeLive(options))

/** Sessions on Redis, as section `session` says. See {@link makeLive}. */
export const SessionLive: Layer.Layer<Session, SessionError | InvalidConfig, Redis> = Layer.effect(
  Session,
  Effect.flatMap(Config.get(SessionConfig), makeLive)
)

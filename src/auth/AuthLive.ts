import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import type * as Command from "../redis/Command.ts"
import * as Key from "../redis/Key.ts"
import { Redis } from "../redis/Redis.ts"
import type { RedisFailure } from "../redis/RedisError.ts"
import { Auth, AuthConfig, type AuthSettings } from "./Auth.ts"
import { AuthError, type AuthErrorReason, Refused, Unavailable } from "./AuthError.ts"
import * as Counting from "./internal/lockout.ts"
import * as Log from "./internal/log.ts"
import { type Revocation, Revocations } from "./internal/revocations.ts"
import * as Scripts from "./internal/scripts.ts"
import * as Service from "./internal/service.ts"
import type { Keeping, Store, Until } from "./internal/store.ts"
import * as Tokens from "./internal/tokens.ts"
import { Lockout } from "./Lockout.ts"

export { JwksLive, layerLive as layerJwksLive, makeLive as makeJwksLive } from "./JwksLive.ts"

const defaults: AuthSettings = Schema.decodeSync(AuthConfig.schema)({})

/** What a failure of Redis is in this room. */
export const fromRedis = ({ reason }: RedisFailure): AuthError => {
  // Done twice, what this room does is done once: a lost reply is no more than an answer that did not come.
  const detail = `the store of tokens (${reason._tag})`
  const failed: AuthErrorReason = reason.isRetryable ? new Unavailable({ detail }) : new Refused({ detail })
  return new AuthError({ reason: failed })
}

// The service lets no other id through.
const playerKey = (playerId: string) => Result.getOrThrow(Key.make("xd:auth-player", playerId))

/** The keys of failures, and of attempts that have not ended. */
const attemptKeys = ({ digest, of }: Counting.Name) => {
  const failures = Result.getOrThrow(Key.make("xd:auth-failures", of, digest))
  return [failures, Key.beside(failures, "xd:auth-pending")] as const
}

const makeStore = (
  redis: Redis["Service"],
  revocations: Revocations,
  now: () => number,
  keeping: Keeping,
  limits: ReturnType<typeof Counting.limitsOf>
): Store => {
  const run = <A>(command: Command.Any<A>) => Effect.mapError(redis.run(command), fromRedis)

  /** Several, wherever their keys are, in one round trip. */
  const all = <A>(commands: ReadonlyArray<Command.Any<A>>) =>
    Effect.flatMap(redis.batch(commands), (replies) => Effect.fromResult(Result.all(replies))).pipe(
      Effect.mapError(fromRedis)
    )

  /** What is stored has ended: it is no more good here, and the others are told. */
  const tell = (revocation: Revocation) =>
    Effect.suspend(() => {
      revocations.apply(revocation, now())
      return Effect.mapError(Log.append(redis, revocation), fromRedis)
    })

  // Who is interrupted between the two has told nobody; each is bounded by the time of a command.
  const endAll = (player: string, ban?: Until) =>
    Effect.uninterruptible(
      Effect.flatMap(run(Scripts.EndAll([playerKey(player)], ban, revocations.floorOf(player))), (generation) =>
        tell({ player, generation, ...(ban === undefined ? {} : { ban }) })
      )
    )

  return {
    revocations,
    begin: (login) =>
      run(Scripts.Begin([playerKey(login.playerId)], login, keeping, revocations.floorOf(login.playerId))),
    renew: (use) =>
      Effect.uninterruptible(
        Effect.tap(
          run(Scripts.Renew([playerKey(use.playerId)], use, keeping, revocations.floorOf(use.playerId))),
          (renewal) =>
            renewal._tag !== "Replayed"
              ? Effect.void
              : Effect.catch(tell({ family: use.family }), (error) =>
                  Effect.logWarning(`auth: other services were not told that a login has ended: ${error.message}`)
                )
        )
      ),
    endFamily: (playerId, family) =>
      Effect.uninterruptible(Effect.andThen(run(Scripts.EndFamily(playerKey(playerId), family)), tell({ family }))),
    endAll: (playerId) => endAll(playerId),
    ban: endAll,
    unban: (player) =>
      Effect.uninterruptible(
        Effect.andThen(run(Scripts.Unban([playerKey(player)])), tell({ player, generation: 0, ban: 0 }))
      ),
    reserve: (names, id) => all(names.map((name) => Scripts.Reserve(attemptKeys(name), id, limits[name.of]))),
    settle: (outcomes, id) =>
      Effect.asVoid(
        all(outcomes.map(([name, outcome]) => Scripts.Settle(attemptKeys(name), id, limits[name.of], outcome)))
      )
  }
}

/**
 * Tokens and lockout whose state is on Redis, for all services together. What is not given has the default of AuthConfig.
 *
 * Fails with `InvalidConfig` when no key is given, or one that cannot be used; with AuthError when Redis does not answer
 * at the start, after 5 s. What follows the revocations ends with the scope.
 */
export const makeLive = (
  options: Partial<AuthSettings> = {}
): Effect.Effect<Context.Context<Auth | Lockout>, AuthError | InvalidConfig, Redis | Scope.Scope> =>
  Effect.gen(function* () {
    const settings = { ...defaults, ...options }
    const clock = yield* Clock.Clock
    const redis = yield* Redis
    const tokens = yield* Tokens.make(settings)
    const now = () => Math.floor(clock.currentTimeMillisUnsafe())
    const takesPlan = settings.plan !== "off"
    const revocations = new Revocations(takesPlan, now)
    const ageMillis = yield* Effect.mapError(Log.follow(redis, revocations, takesPlan), fromRedis)
    const keeping = {
      refreshTtl: Duration.toMillis(settings.refreshTtl),
      grace: Duration.toMillis(settings.refreshGrace)
    }
    const store = makeStore(redis, revocations, now, keeping, Counting.limitsOf(settings))
    const maxAgeMillis = Duration.toMillis(settings.revocationMaxAge)
    return Context.make(Auth, Service.make(tokens, store, { ageMillis, maxAgeMillis })).pipe(
      Context.add(Lockout, Counting.make(store, settings))
    )
  })

/** As {@link AuthLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = (
  options: Partial<AuthSettings> = {}
): Layer.Layer<Auth | Lockout, AuthError | InvalidConfig, Redis> => Layer.effectContext(makeLive(options))

/** Tokens and lockout on Redis, as section `auth` says. See {@link makeLive}. */
export const AuthLive: Layer.Layer<Auth | Lockout, AuthError | InvalidConfig, Redis> = Layer.effectContext(
  Effect.flatMap(Config.get(AuthConfig), makeLive)
)

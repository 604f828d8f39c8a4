import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as SqlClient from "effect/sql/SqlClient"
import * as Stream from "effect/Stream"
import { randomBytes } from "node:crypto"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import * as Channel from "../redis/Channel.ts"
import * as Key from "../redis/Key.ts"
import { Redis } from "../redis/Redis.ts"
import * as Fence from "./Fence.ts"
import type { Answer, Backend, Claim } from "./internal/backend.ts"
import { make, ticketMillisOf, Wakes } from "./internal/engine.ts"
import { claim, extend, keysOf, leave } from "./internal/scripts.ts"
import { Lock, LockConfig, type LockOptions } from "./Lock.ts"
import { LockError, Unavailable } from "./LockError.ts"

/** Options of {@link makeLive}. */
export interface LiveOptions<R> extends Partial<LockOptions> {
  /** Where fencing tokens come from: `Fence.redis` unless given, or `Fence.sequence`. */
  readonly fence?: Fence.Source<R>
}

const defaults: LockOptions = Schema.decodeSync(LockConfig.schema)({})

const wakeBackoff = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("10 seconds")]).pipe(
  Schedule.jittered
)

/**
 * Each service hears its own channel, and a releaser tells only the one whose turn it is: nobody else is woken. It is a
 * hint: who waits looks by itself too, so a message that is lost costs a poll interval.
 */
const listen = Effect.fnUntraced(function* (redis: Redis["Service"], wakes: Wakes) {
  const channel = yield* Effect.orDie(
    Effect.fromResult(Channel.make("xd:lock:wake", Schema.String)(randomBytes(8).toString("hex")))
  )
  yield* redis.subscribe(channel).pipe(
    Stream.runForEach((event) => Effect.sync(() => event._tag === "Message" && wakes.wake(event.value))),
    Effect.tapError((error) => Effect.logWarning(`lock: those who wait are not woken, they poll: ${error.message}`)),
    Effect.retry(wakeBackoff),
    Effect.forkScoped
  )
  return Channel.render(channel, redis.keyPrefix)
})

/** How much longer than its claimant waits a claim may take that draws a token, in milliseconds: `wait` may be 0. */
const drawMillis = 1_000

const backendOf = (
  redis: Redis["Service"],
  channel: string,
  ticketMillis: number,
  next: Effect.Effect<bigint, LockError> | undefined
): Backend => {
  const waiting = [channel, ticketMillis] as const
  const claimed: Backend["claim"] = ({ key, token, ttlMillis, waits }) =>
    Effect.mapError(redis.run(claim(keysOf(key), token, ttlMillis, waits ? waiting : undefined)), LockError.fromRedis)
  const extended: Backend["extend"] = (key, token, ttlMillis) =>
    Effect.mapError(redis.run(extend([keysOf(key)[0]], token, ttlMillis)), LockError.fromRedis)
  /** A claim whose token comes from elsewhere, which may take as long as its claimant waits. */
  const drawing = (next: Effect.Effect<bigint, LockError>): Backend["claim"] => {
    const drawn = Effect.fnUntraced(function* (one: Claim) {
      const answer = yield* claimed(one)
      if (answer._tag === "Busy") return answer
      const fence = yield* next
      // A token that was drawn after the lock had passed on could be higher than that of its present holder.
      const isHeld = yield* extended(one.key, one.token, one.ttlMillis)
      return isHeld ? { ...answer, fence } : ({ _tag: "Busy", isNext: false, leftMillis: 0 } satisfies Answer)
    })
    return (one) =>
      Effect.timeoutOrElse(drawn(one), {
        // After a ttl the lock is no more.
        duration: Math.min(one.leftMillis + drawMillis, one.ttlMillis),
        orElse: () => Effect.fail(new LockError({ reason: new Unavailable({ detail: "no token in time" }) }))
      })
  }
  return {
    nameOf: (key) => Key.render(key, redis.keyPrefix),
    claim: next === undefined ? claimed : drawing(next),
    extend: extended,
    leave: (key, token) => {
      const [lock, queue, tickets] = keysOf(key)
      return Effect.mapError(redis.run(leave([lock, queue, tickets], token)), LockError.fromRedis)
    }
  }
}

/**
 * Locks on Redis; what is not given has the default of LockConfig.
 *
 * It starts also while Redis does not answer. The scope ends the subscription, the background work, and whatever is held:
 * those who wait fail with `Closed`, each lease is `Lost` (`closed`) and its work interrupted. It waits for that, 5 s at
 * most, and releases the locks; one whose work has not ended by then ends after its ttl.
 */
export const makeLive = <R = never>({ fence, ...options }: LiveOptions<R> = {}): Effect.Effect<
  Lock["Service"],
  never,
  Redis | R | Scope.Scope
> =>
  Effect.gen(function* () {
    const values = { ...defaults, ...options }
    const redis = yield* Redis
    const services = yield* Effect.context<R>()
    const wakes = new Wakes()
    const channel = yield* listen(redis, wakes)
    const next = fence?.next === undefined ? undefined : Effect.provideContext(fence.next, services)
    return yield* make(backendOf(redis, channel, ticketMillisOf(values), next), wakes, values)
  })

/** As {@link LockLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = <R = never>(options: LiveOptions<R> = {}): Layer.Layer<Lock, never, Redis | R> =>
  Layer.effect(Lock, makeLive(options))

const configured = <R>(fence: Fence.Source<R>) =>
  Layer.effect(
    Lock,
    Effect.flatMap(Config.get(LockConfig), (options) => makeLive({ ...options, fence }))
  )

/** Locks on Redis, with the times of section `lock` and the fencing tokens of `Fence.redis`. See {@link makeLive}. */
export const LockLive: Layer.Layer<Lock, InvalidConfig, Redis> = configured(Fence.redis)

/** As {@link LockLive}, with the fencing tokens of `Fence.sequence`, which needs `Fence.migration`. */
export const LockSequenceLive: Layer.Layer<Lock, InvalidConfig, Redis | SqlClient.SqlClient> = configured(
  Fence.sequence
)

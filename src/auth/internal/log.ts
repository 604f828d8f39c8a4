// What was revoked, on Redis, for all services: two streams, of families and of players, from which goes by itself what
// outlives every token, and a sorted set of bans by their end. What is appended is published too; each service looks for
// itself again and again, so a message that is lost costs a moment.
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Health from "../../health/Health.ts"
import * as Channel from "../../redis/Channel.ts"
import * as Command from "../../redis/Command.ts"
import * as Key from "../../redis/Key.ts"
import type { Redis } from "../../redis/Redis.ts"
import type { RedisFailure } from "../../redis/RedisError.ts"
import * as Script from "../../redis/Script.ts"
import { ownMillis, planMillis, Revocation, type Revocations } from "./revocations.ts"
import { clock } from "./scripts.ts"

/** How often each service looks by itself. */
const interval = "500 millis"

/** The component of health. */
const component = "auth"

const age = Metric.gauge("auth_revocations_age_seconds", {
  description: "How old the list of what was revoked is, in seconds: access tokens that were revoked since are taken"
})

/** How many are read in one round trip. */
const page = 1_000

const players = Result.getOrThrow(Key.make("xd:auth-players"))
const families = Key.beside(players, "xd:auth-families")
const bans = Key.beside(players, "xd:auth-bans")
const channel = Result.getOrThrow(Channel.make("xd:auth-revoked", Revocation)())

/** How long each stream keeps what is in it. */
const streams = [
  { key: families, millis: ownMillis },
  // Other services may take tokens of profile `plan` where this one does not.
  { key: players, millis: planMillis }
] as const

const Append = Script.make({
  name: "auth.revoke",
  lua: `${clock}
redis.call('XADD', KEYS[1], 'MINID', '~', text(now - tonumber(ARGV[2])), '*', 'value', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if ARGV[4] then
  if ARGV[5] == '0' then
    redis.call('ZREM', KEYS[2], ARGV[4])
  else
    redis.call('ZADD', KEYS[2], ARGV[5] == 'forever' and '+inf' or ARGV[5], ARGV[4])
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now))
end
redis.call('PUBLISH', ARGV[1], ARGV[3])
return 1
`,
  keys: ["stream", "bans"],
  args: (millis: number, revocation: Revocation, text: string) => [
    channel,
    millis,
    text,
    ...("player" in revocation && revocation.ban !== undefined ? [revocation.player, revocation.ban] : [])
  ],
  reply: Command.flag,
  // In the stream twice, it is revoked once.
  idempotent: true
})

/** Tells all services. */
export const append = (redis: Redis["Service"], revocation: Revocation): Effect.Effect<void, RedisFailure> => {
  const [{ key, millis }] = "family" in revocation ? [streams[0]] : [streams[1]]
  return Effect.fromResult(Channel.encode(channel, revocation)).pipe(
    Effect.flatMap((text) => redis.run(Append([key, bans], millis, revocation, text))),
    Effect.asVoid
  )
}

const instantOf = (id: string): number => Number(id.slice(0, id.indexOf("-")))

/**
 * Keeps up with what is revoked until the scope closes; gives how long ago it was up to date, in milliseconds.
 *
 * - `takesPlan`: whether bans are asked for too: who is banned here goes on getting tokens of a Go service
 *
 * Fails when it cannot be read at the start, after 5 s of trying.
 */
export const follow = (
  redis: Redis["Service"],
  revocations: Revocations,
  takesPlan: boolean
): Effect.Effect<() => number, RedisFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const monotonic = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    const one = yield* Semaphore.make(1)
    // Each is the entry that was read last, and is read again: as long as it is there, nothing is before it that was not.
    const cursors = streams.map(() => "-")
    let upToDateAt = monotonic()
    let isFollowed = true

    const readOn = Effect.gen(function* () {
      for (let isMore = true; isMore;) {
        const askedAt = monotonic()
        const pages = yield* redis.batch(
          streams.map(({ key }, index) => Command.xrange(key, cursors[index]!, "+", page))
        )
        isMore = false
        for (const [index, reply] of pages.entries()) {
          const entries = yield* Effect.fromResult(reply)
          const cursor = cursors[index]!
          if (cursor !== "-" && entries[0]?.id !== cursor) {
            // It is trimmed, or another stream, which may go on below what was read of the one before.
            cursors[index] = "-"
            isMore = true
            continue
          }
          for (const { fields, id } of entries) {
            const revocation = Channel.decode(channel, fields.get("value") ?? "")
            if (id !== cursor && Result.isSuccess(revocation)) revocations.apply(revocation.success, instantOf(id))
            cursors[index] = id
          }
          isMore ||= entries.length === page
        }
        if (!isMore) upToDateAt = askedAt
      }
      revocations.purge()
    })

    const readBans = Effect.gen(function* () {
      for (let start = 0; ; start += page) {
        const found = yield* redis.run(Command.zrangeWithScores(bans, { by: "rank", start, stop: start + page - 1 }))
        for (const { member, score } of found) {
          const ban = score === Infinity ? "forever" : score
          revocations.apply({ player: member, generation: 0, ban }, 0)
        }
        if (found.length < page) return
      }
    })

    /** Also after a failover, where what was last may be less than it was. */
    const readAll = Effect.suspend(() => {
      cursors.fill("-")
      return takesPlan ? Effect.andThen(readBans, readOn) : readOn
    })

    const up = Health.report(component, { status: "up" })
    const measure = Effect.suspend(() => Metric.update(age, (monotonic() - upToDateAt) / 1_000))

    const tell = (error?: RedisFailure) =>
      Effect.suspend(() => {
        if (isFollowed === (error === undefined)) return Effect.void
        isFollowed = error === undefined
        if (error === undefined) return Effect.andThen(up, Effect.logInfo("auth: it is known again what was revoked"))
        const detail = `what is revoked from now on is not known here: ${error.message}`
        return Effect.andThen(
          Health.report(component, { status: "degraded", detail }),
          Effect.logWarning(`auth: ${detail}`)
        )
      })
    const kept = (reading: Effect.Effect<void, RedisFailure>) =>
      Effect.matchEffect(one.withPermits(1)(reading), { onFailure: tell, onSuccess: () => tell() }).pipe(
        Effect.andThen(measure)
      )

    yield* Effect.retry(readAll, {
      while: ({ isRetryable }) => isRetryable,
      schedule: Schedule.max([Schedule.spaced("100 millis"), Schedule.during("5 seconds")])
    })
    const reporter = yield* Health.Reporter
    yield* Effect.addFinalizer(() => reporter.forget(component))
    yield* up
    yield* measure
    yield* Effect.forkScoped(Effect.repeat(kept(readOn), Schedule.spaced(interval)))
    yield* Effect.forkScoped(
      Stream.runForEach(redis.subscribe(channel), (event) =>
        event._tag === "Message"
          ? Effect.sync(() => revocations.apply(event.value, clock.currentTimeMillisUnsafe()))
          : kept(readAll)
      ).pipe(
        Effect.catch((error) => Effect.logWarning(`auth: what is revoked is found by looking alone: ${error.message}`))
      )
    )
    return () => monotonic() - upToDateAt
  })

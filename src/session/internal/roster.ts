// Which sessions each gateway has, on Redis: a sorted set for each, `xd:session-gateway:<gateway>`, whose scores are the
// instants until which they are online, and `xd:session-gateways` of the gateways themselves. Neither is in the slot of
// a session, so they are written behind, many at once, and are judged wherever they are read.
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Command from "../../redis/Command.ts"
import * as Key from "../../redis/Key.ts"
import type { Redis } from "../../redis/Redis.ts"
import { type RedisFailure, UnexpectedReply } from "../../redis/RedisError.ts"
import * as Script from "../../redis/Script.ts"
import type { SessionOptions } from "../Session.ts"
import type { SessionError } from "../SessionError.ts"
import { clock } from "./lua.ts"
import type { Standing, Store } from "./store.ts"

/** How often what was noted is written. */
const flushInterval = "200 millis"

/**
 * How long a member stays that nobody notes again: longer than a session that is not touched. A gateway that listens
 * notes those again that last longer.
 */
export const keptMillis = ({ onlineTtl, sweepInterval, ttl }: SessionOptions): number =>
  2 * Math.ceil(Duration.toMillis(Duration.max(ttl, Duration.max(onlineTtl, sweepInterval)))) + 60_000

/** Members in one call. */
const chunk = 500

const Write = Script.make({
  name: "session.roster",
  lua: `${clock}
local online, kept = tonumber(ARGV[1]), tonumber(ARGV[2])
local scores = { o = text(now + online), l = text(now) }
local put, gone = {}, {}
for i = 3, #ARGV do
  local score, member = scores[string.sub(ARGV[i], 1, 1)], string.sub(ARGV[i], 2)
  if score then
    put[#put + 1] = score
    put[#put + 1] = member
  else
    gone[#gone + 1] = member
  end
end
if #put > 0 then redis.call('ZADD', KEYS[1], unpack(put)) end
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - kept))
redis.call('PEXPIRE', KEYS[1], text(kept + online))
return 1
`,
  keys: ["roster"],
  args: (options: SessionOptions, entries: ReadonlyArray<readonly [member: string, standing: Standing]>) => [
    Duration.toMillis(options.onlineTtl),
    keptMillis(options),
    // The first letter of its standing before each: half as many arguments.
    ...entries.map(([member, standing]) => standing.charAt(0) + member)
  ],
  reply: Command.flag,
  idempotent: true
})

const Announce = Script.make({
  name: "session.gateways",
  lua: `${clock}
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], text(now), ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - tonumber(ARGV[1])))
return 1
`,
  keys: ["gateways"],
  args: (options: SessionOptions, names: ReadonlyArray<string>) => [keptMillis(options), ...names],
  reply: Command.flag,
  idempotent: true
})

const CountOnline = Script.make({
  name: "session.online",
  lua: `${clock}
return redis.call('ZCOUNT', KEYS[1], '(' .. text(now), '+inf')
`,
  keys: ["roster"],
  args: () => [],
  reply: Command.integer,
  idempotent: true
})

/** A page of a set: the cursor of the next one, and members; their scores are left out. */
const page: Command.Decode<{ readonly next: string; readonly members: ReadonlyArray<string> }> = (reply) => {
  const [next, flat] = Array.isArray(reply) ? reply : []
  if (typeof next !== "string" || !Array.isArray(flat)) {
    return Result.fail(new UnexpectedReply({ problem: "not a page of a set" }))
  }
  const members = flat.filter((one, index): one is string => index % 2 === 0 && typeof one === "string")
  return Result.succeed({ next, members })
}

// A name is a gateway's, checked where it came from: `note` and `members` are given no other.
const rosterOf = (gateway: string) => Result.getOrThrow(Key.make("xd:session-gateway", gateway))
const gateways = Result.getOrThrow(Key.make("xd:session-gateways"))

type Roster = Pick<Store, "note" | "members" | "countOnline">

/** The lists; what was noted is written for the last time when the scope closes. */
export const make = (
  redis: Redis["Service"],
  options: SessionOptions,
  fromRedis: (error: RedisFailure) => SessionError
): Effect.Effect<Roster, never, Scope.Scope> =>
  Effect.gen(function* () {
    const noted = new Map<string, Map<string, Standing>>()

    const note: Store["note"] = (gateway, member, standing) => {
      let members = noted.get(gateway)
      if (members === undefined) noted.set(gateway, (members = new Map()))
      // Listing says less than that it is online.
      if (standing === "listed" && members.get(member) === "online") return
      members.set(member, standing)
    }

    const writeChunk = (gateway: string, entries: ReadonlyArray<readonly [string, Standing]>) =>
      Effect.catch(Effect.asVoid(redis.run(Write([rosterOf(gateway)], options, entries))), () =>
        Effect.sync(() => {
          // What was noted in the meantime is newer.
          for (const [member, standing] of entries) {
            if (noted.get(gateway)?.has(member) !== true) note(gateway, member, standing)
          }
        })
      )

    const flush = Effect.suspend(() => {
      if (noted.size === 0) return Effect.void
      const all = [...noted]
      noted.clear()
      const writes = all.flatMap(([gateway, members]) => {
        const entries = [...members]
        return Array.from({ length: Math.ceil(entries.length / chunk) }, (_, index) =>
          writeChunk(gateway, entries.slice(index * chunk, (index + 1) * chunk))
        )
      })
      const announce = Effect.ignore(
        redis.run(
          Announce(
            [gateways],
            options,
            all.map(([gateway]) => gateway)
          )
        )
      )
      // What was taken out of the notes is written, whoever asked for it.
      return Effect.uninterruptible(Effect.all([announce, ...writes], { concurrency: "unbounded", discard: true }))
    })

    // Bounded by the time of a command.
    yield* Effect.addFinalizer(() => flush)
    yield* Effect.forkScoped(Effect.repeat(flush, Schedule.spaced(flushInterval)))

    const members = (gateway: string) =>
      Stream.unwrap(
        Effect.as(
          flush,
          Stream.paginate("0", (cursor) =>
            redis
              .run(Command.make("ZSCAN", [rosterOf(gateway), cursor, "COUNT", chunk], page, { idempotent: true }))
              .pipe(
                Effect.map(
                  ({ members, next }) => [[members], next === "0" ? Option.none() : Option.some(next)] as const
                )
              )
          )
        )
      ).pipe(Stream.mapError(fromRedis))

    const countOnline = Effect.gen(function* () {
      yield* flush
      const names = yield* redis.run(Command.zrange(gateways, { by: "rank", start: 0, stop: -1 }))
      const counts = yield* redis.batch(
        names.flatMap((name) => {
          const made = Key.make("xd:session-gateway", name)
          return Result.isSuccess(made) ? [CountOnline([made.success])] : []
        })
      )
      let sum = 0
      for (const count of counts) sum += yield* Effect.fromResult(count)
      return sum
    }).pipe(Effect.mapError(fromRedis))

    return { note, members, countOnline }
  })

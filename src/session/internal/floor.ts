// What makes sessions of all players void: a floor, `xd:session-floor`, that revokes what began until then. It is raised by
// `revokeAll`, and by itself where a server has lost writes: then an older snapshot is back, and with it sessions that
// had ended.
//
// That is seen by marks: keys on all nodes, into which every process writes the server's time again and again. A mark is
// `last from to`: when it was written last, and the longest time before which nobody had written it. A process that has
// written within that time knows that its writing was undone.
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Channel from "../../redis/Channel.ts"
import * as Command from "../../redis/Command.ts"
import * as Key from "../../redis/Key.ts"
import type { Redis } from "../../redis/Redis.ts"
import { type RedisFailure, UnexpectedReply } from "../../redis/RedisError.ts"
import * as Script from "../../redis/Script.ts"
import type { SessionError } from "../SessionError.ts"
import { clock } from "./lua.ts"
import type { Store } from "./store.ts"

/** How often the floor is read and the marks are written. */
const interval = "800 millis"

/** What a failover may lose without being taken for an older snapshot, in milliseconds: more than an interval. */
const tolerated = 2_000

/** So many that each node of a cluster has one. */
const count = 64

const key = Result.getOrThrow(Key.make("xd:session-floor"))
const channel = Result.getOrThrow(Channel.make("xd:session-floor", Schema.Int)())
const marks = Array.from({ length: count }, (_, index) => Result.getOrThrow(Key.make("xd:session-mark", String(index))))

const Raise = Script.make({
  name: "session.floor",
  lua: `${clock}
local stored = redis.pcall('GET', KEYS[1])
-- What is no instant is none of ours, and is replaced.
local before = type(stored) == 'string' and #stored <= 15 and string.find(stored, '^%d+$') and tonumber(stored) or 0
local floor = math.max(math.min(tonumber(ARGV[2]), now), before)
redis.call('SET', KEYS[1], text(floor))
redis.call('PUBLISH', ARGV[1], text(floor))
return text(floor)
`,
  keys: ["floor"],
  args: (until: number) => [channel, until],
  reply: (reply) => Result.map(Command.text(reply), Number),
  idempotent: true
})

interface Mark {
  readonly last: number
  readonly from: number
  readonly to: number
}

const WriteMark = Script.make({
  name: "session.mark",
  lua: `${clock}
local last, from, to = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+) (%d+)$')
last, from, to = tonumber(last or now), tonumber(from or 0), tonumber(to or 0)
if now - last > ${tolerated} then from, to = last, now end
local mark = text(math.max(now, last)) .. ' ' .. text(from) .. ' ' .. text(to)
redis.call('SET', KEYS[1], mark)
return mark
`,
  keys: ["mark"],
  args: () => [],
  reply: (reply) => {
    const [last, from, to] = typeof reply === "string" ? reply.split(" ").map(Number) : []
    return last === undefined || from === undefined || to === undefined
      ? Result.fail(new UnexpectedReply({ problem: "not a mark" }))
      : Result.succeed<Mark>({ last, from, to })
  },
  idempotent: true
})

/** The floor as it is stored; what is no instant is none. */
const instantIn = (stored: Result.Result<string | undefined, RedisFailure>): Result.Result<number, RedisFailure> => {
  if (Result.isSuccess(stored))
    return Result.succeed(/^\d{1,15}$/.test(stored.success ?? "") ? Number(stored.success) : 0)
  return stored.failure.reason._tag === "WrongType" ? Result.succeed(0) : Result.fail(stored.failure)
}

/** Whether what was written then has been undone since. */
const isUndone = (written: number | undefined, { from, to }: Mark): boolean =>
  written !== undefined && from + tolerated < written && written < to

type Floor = Pick<Store, "floor" | "raiseFloor" | "floorChanges">

/**
 * Follows the floor, by publication and by reading it again and again, until the scope closes.
 *
 * - `confirm`: runs what ends sessions, as configured
 */
export const make = (
  redis: Redis["Service"],
  confirm: <A>(command: Command.Any<A>, key: Key.Any) => Effect.Effect<A, SessionError>,
  fromRedis: (error: RedisFailure) => SessionError
): Effect.Effect<Floor, SessionError, Scope.Scope> =>
  Effect.gen(function* () {
    let floor = 0
    const written: Array<number | undefined> = Array.from({ length: count })
    const changes = yield* PubSub.sliding<void>(1)

    const rise = (to: number) => {
      if (to <= floor) return Effect.void
      floor = to
      return Effect.asVoid(PubSub.publish(changes, undefined))
    }
    const raise = (until: number) => Effect.flatMap(redis.run(Raise([key], until)), rise)

    const refresh = Effect.gen(function* () {
      const [stored, ...replies] = yield* redis.batch([Command.get(key), ...marks.map((mark) => WriteMark([mark]))])
      const read = yield* Effect.fromResult(instantIn(stored as Result.Result<string | undefined, RedisFailure>))
      let undone = 0
      for (const [index, reply] of (replies as ReadonlyArray<Result.Result<Mark, RedisFailure>>).entries()) {
        if (Result.isFailure(reply)) continue
        if (isUndone(written[index], reply.success)) undone = Math.max(undone, reply.success.to)
        written[index] = reply.success.last
      }
      if (undone > 0) yield* Effect.logWarning("session: the server has lost writes; all sessions until then are void")
      yield* rise(Math.max(read, undone))
      // Also where the floor itself was lost.
      if (read < floor) yield* raise(floor)
    })

    yield* Effect.retry(refresh, {
      while: (error) => error.isRetryable,
      schedule: Schedule.spaced("100 millis"),
      times: 50
    }).pipe(Effect.mapError(fromRedis))
    const again = Effect.ignore(refresh)
    yield* Effect.forkScoped(Effect.repeat(again, Schedule.spaced(interval)))
    yield* Effect.forkScoped(
      Stream.runForEach(redis.subscribe(channel), (event) =>
        event._tag === "Message" ? rise(event.value) : again
      ).pipe(
        Effect.catch((error) => Effect.logWarning(`session: the floor is followed by reading alone: ${error.message}`))
      )
    )
    return {
      floor: () => floor,
      raiseFloor: (until) => Effect.flatMap(confirm(Raise([key], until), key), rise),
      floorChanges: Stream.fromPubSub(changes)
    }
  })

import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Command from "../redis/Command.ts"
import { Redis } from "../redis/Redis.ts"
import type { RedisFailure } from "../redis/RedisError.ts"
import * as Scripts from "./internal/scripts.ts"
import * as Service from "./internal/service.ts"
import type { Store } from "./internal/store.ts"
import { Leaderboard } from "./Leaderboard.ts"
import {
  LeaderboardError,
  type LeaderboardErrorReason,
  OperationReused,
  OutcomeUnknown,
  Refused,
  ScoreOutOfRange,
  SeasonClosed,
  SeasonNotFound,
  SeasonOpen,
  Unavailable,
  Unreadable
} from "./LeaderboardError.ts"

/**
 * What a failure of Redis is in this room.
 *
 * - `isWrite`: a write that was repeated until its time was over may have been applied
 */
export const fromRedis = (error: RedisFailure, isWrite: boolean): LeaderboardError =>
  new LeaderboardError({ reason: reasonOf(error, isWrite) })

const reasonOf = ({ partial, reason }: RedisFailure, isWrite: boolean): LeaderboardErrorReason => {
  // A script that failed on its way is not undone.
  if (isWrite && partial === true) return new OutcomeUnknown({ detail: reason._tag })
  switch (reason._tag) {
    case "OutcomeUnknown":
      return new OutcomeUnknown({ detail: reason.detail })
    case "Timeout":
      return isWrite ? new OutcomeUnknown({ detail: "Timeout" }) : new Unavailable({ detail: "Timeout" })
    case "WrongType":
      return new Unreadable({ problem: "it is a value of another type" })
    case "UnexpectedReply":
      // A write was applied then: only what it replied is not known.
      return isWrite ? new OutcomeUnknown({ detail: reason.problem }) : new Unreadable({ problem: reason.problem })
    case "Unavailable":
      return new Unavailable({ detail: reason.detail })
    default:
      return reason.isRetryable ? new Unavailable({ detail: reason._tag }) : new Refused({ detail: reason._tag })
  }
}

const refusals = {
  closed: (open) => new SeasonClosed({ open }),
  open: (open) => new SeasonOpen({ open }),
  range: () => new ScoreOutOfRange({ problem: "the sum is" }),
  reused: () => new OperationReused(),
  missing: () => new SeasonNotFound()
} satisfies Record<string, (open: string) => LeaderboardErrorReason>

const isRefusal = (value: unknown): value is Scripts.Refusal =>
  typeof value === "object" && value !== null && "refused" in value

const makeStore = (redis: Redis["Service"]): Store => {
  const run = <A>(command: Command.Any<A | Scripts.Refusal>, isWrite: boolean): Effect.Effect<A, LeaderboardError> =>
    Effect.matchEffect(redis.run(command), {
      onFailure: (error) => Effect.fail(fromRedis(error, isWrite)),
      onSuccess: (reply) =>
        isRefusal(reply)
          ? Effect.fail(new LeaderboardError({ reason: refusals[reply.refused](reply.open) }))
          : Effect.succeed(reply)
    })
  const write = <A>(command: Command.Any<A | Scripts.Refusal>) => run(command, true)
  const read = <A>(command: Command.Any<A | Scripts.Refusal>) => run(command, false)

  return {
    update: (target, update) => write(Scripts.update(target, update)),
    remove: (target, member, season) => write(Scripts.remove(target, member, season)),
    slice: (target, from) => read(Scripts.slice(target, from)),
    many: (target, members) => read(Scripts.many(target, members)),
    count: (target, range) => read(Scripts.count(target, range)),
    turn: (target, turn) => write(Scripts.turn(target, turn)),
    advance: (target, advance) => write(Scripts.advance(target, advance)),
    seasons: Effect.fnUntraced(function* (target) {
      const ids = yield* read(Scripts.seasonIds(target))
      const seasons = yield* Effect.forEach(ids, (id) => read(Scripts.season(target, id)), { concurrency: 16 })
      return seasons.filter((season) => season !== undefined)
    })
  }
}

/** Boards on Redis. It holds nothing of its own: what it runs on ends with the layer of Redis. */
export const makeLive: Effect.Effect<Leaderboard["Service"], never, Redis> = Effect.map(Redis, (redis) =>
  Service.make(makeStore(redis))
)

/** See {@link makeLive}. */
export const LeaderboardLive: Layer.Layer<Leaderboard, never, Redis> = Layer.effect(Leaderboard, makeLive)

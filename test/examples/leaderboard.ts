import * as Console from "effect/Console"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { Leaderboard, LeaderboardEmbedded, type Reward } from "xdooria/leaderboard"

// A board is a value, declared once. Whoever reaches a score first stands before who reaches it later.
const arena = Leaderboard.board({ key: "arena", ties: "first", seasons: { keep: "30 days" } })

// May run twice for one reward: write its id along, so that the effect is once.
const give = (reward: Reward<number>) => Console.log(`${reward.id} was rank ${reward.rank}`)

const program = Effect.gen(function* () {
  const boards = yield* Leaderboard

  // A scheduler runs this every minute: it does what is missing, also after an outage.
  const reset = (now: string) => boards.reset(arena, { every: "week" }, DateTime.makeUnsafe(now), give, { top: 3 })
  yield* reset("2026-11-24T10:00:00Z")

  yield* boards.best(arena, "ann", 1200)
  yield* boards.best(arena, "bob", 1500)
  const { after, before } = yield* boards.best(arena, "ann", 1500)
  yield* Console.log(`ann went from ${before?.rank ?? "nowhere"} to ${after?.rank}, behind bob, who was first`)

  // An id makes an increment safe to repeat when its reply was lost.
  yield* boards.increment(arena, "cat", 40, { operation: "match-17" })
  yield* boards.increment(arena, "cat", 40, { operation: "match-17" })
  yield* Console.log(yield* boards.around(arena, "cat", 1))

  yield* boards
    .set(arena, "eve", 2 ** 53)
    .pipe(Effect.catchReason("LeaderboardError", "ScoreOutOfRange", ({ message }) => Console.log(message)))

  // A week later: the old season is frozen and rewarded, the new one is empty.
  yield* reset("2026-11-30T00:00:00Z")
  yield* Console.log(yield* boards.top(Leaderboard.season(arena, "2026-11-23"), 1))
})

// A service has LeaderboardLive on RedisLive here.
await Effect.runPromise(Effect.provide(program, LeaderboardEmbedded))

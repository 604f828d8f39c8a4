// A process that ends seasons and gives their rewards, and is killed meanwhile (SEASON-KILL). Started by Child.ts.
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import { Leaderboard, type Reward } from "xdooria/leaderboard"
import { layerLive } from "xdooria/redis/live"
import { LeaderboardLive } from "xdooria/leaderboard/live"
import { Command, Key, Redis, Script } from "xdooria/redis"

/** What it does at an order. */
export interface Work {
  /** The instant that it resets at, in ISO 8601. */
  readonly instant: string
  /** The reward, by its number from 0, at which it stands still, and whether it has given it then; none: it does not. */
  readonly stopAt: { readonly index: number; readonly isGiven: boolean } | undefined
}

/** What it is told at its start. `work`: what it does at its first order, at its second, and so on. */
export interface Settings {
  readonly address: string
  readonly keyPrefix: string
  readonly work: ReadonlyArray<Work>
}

/** It waits for an order; it stands still; it has done what it was ordered. */
export type Report = { readonly _tag: "Ready" } | { readonly _tag: "Stopped" } | { readonly _tag: "Done" }

/** The board, as all processes of the scenario declare it. */
export const board = Leaderboard.board({ key: "arena", seasons: { keep: "1 hour" } })

/** What a reward says, in one line. */
export const lineOf = ({ member, rank, score, season }: Omit<Reward<number>, "id">): string =>
  `reward ${season}/${member} ${score}#${rank}`

/** The list of what was handed over, and beside it that of what it did, once for each id. */
export const listsOf = Effect.map(Effect.fromResult(Key.make("rewards", "arena")), (delivered) => ({
  delivered,
  applied: Key.beside(delivered, "xd:applied"),
  ids: Key.beside(delivered, "xd:ids")
}))

const give = Script.make({
  name: "settler.give",
  lua: `
redis.call('RPUSH', KEYS[1], ARGV[2])
if redis.call('HSETNX', KEYS[3], ARGV[1], '1') == 1 then redis.call('RPUSH', KEYS[2], ARGV[2]) end
return 1`,
  keys: ["delivered", "applied", "ids"],
  args: (id: string, line: string) => [id, line],
  reply: Command.integer
})

/** Resets the board once. */
const settle = ({ instant, stopAt }: Work, tell: (report: Report) => void) =>
  Effect.gen(function* () {
    const boards = yield* Leaderboard
    const { run } = yield* Redis
    const { applied, delivered, ids } = yield* listsOf
    let given = 0
    const reward = (one: Reward<number>) => {
      const index = given++
      const giving = run(give([delivered, applied, ids], one.id, lineOf(one)))
      if (index !== stopAt?.index) return giving
      const standing = Effect.andThen(
        Effect.sync(() => tell({ _tag: "Stopped" })),
        Effect.never
      )
      return stopAt.isGiven ? Effect.andThen(giving, standing) : standing
    }
    const at = DateTime.makeUnsafe(instant)
    const reset = boards.reset(board, { every: "day" }, at, (one) => Effect.asVoid(reward(one)))
    // As a scheduler does: what one who was killed has claimed is left to it until the claim ends.
    yield* Effect.repeat(Effect.andThen(reset, boards.seasons(board)), {
      until: (seasons) => seasons.every(({ state }) => state !== "closed"),
      schedule: Schedule.spaced("200 millis")
    })
    tell({ _tag: "Done" })
  })

if (import.meta.main) {
  const settings = JSON.parse(process.argv[2]!) as Settings
  const tell = (report: Report) => void process.send?.(report)
  const ordered = Effect.callback<void>((resume) => {
    process.once("message", () => resume(Effect.void))
    tell({ _tag: "Ready" })
  })
  process.once("disconnect", () => process.exit(0))
  await Effect.runPromise(
    Effect.forEach(settings.work, (work) => Effect.andThen(ordered, settle(work, tell)), { discard: true }).pipe(
      Effect.provide(
        Layer.provideMerge(LeaderboardLive, layerLive({ addrs: [settings.address], keyPrefix: settings.keyPrefix }))
      ),
      Effect.provideService(References.MinimumLogLevel, "None")
    )
  )
}

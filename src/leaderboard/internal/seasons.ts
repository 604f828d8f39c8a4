import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import {
  Leaderboard,
  limits,
  type Page,
  type Period,
  type Reward,
  type Score,
  type Season,
  type SeasonBoard,
  type View
} from "../Leaderboard.ts"
import { type LeaderboardError, SeasonNotFound } from "../LeaderboardError.ts"
import * as Input from "./input.ts"
import type { SeasonRow, Store } from "./store.ts"

type Handler<E, R> = (reward: Reward<Score>) => Effect.Effect<void, E, R>

/** Reads a page, as the service does. */
type ReadPage = (
  view: View<Score>,
  options: { readonly offset: number; readonly limit: number }
) => Effect.Effect<Page<Score>, LeaderboardError>

const seasonOf = ({ closed, id, members, opened, rewarded, state }: SeasonRow): Season => ({
  id,
  state,
  openedAt: DateTime.makeUnsafe(opened),
  closedAt: closed === undefined ? undefined : DateTime.makeUnsafe(closed),
  members,
  rewarded
})

/** The season that an instant is in: the date on which it begins, in the zone of the period. */
export const seasonAt = (period: Period, instant: DateTime.DateTime): string => {
  const local = DateTime.setZone(instant, period.zone ?? DateTime.zoneMakeOffset(0))
  const start =
    period.every === "day"
      ? DateTime.startOf(local, "day")
      : DateTime.startOf(local, "week", { weekStartsOn: period.startsOn ?? 1 })
  const { day, month, year } = DateTime.toParts(start)
  return [String(year).padStart(4, "0"), String(month).padStart(2, "0"), String(day).padStart(2, "0")].join("-")
}

/** Seasons on a store, and on a page of the board. */
export const make = (store: Store, page: ReadPage) => {
  const list = Effect.fnUntraced(function* (board: View<Score>) {
    return (yield* store.seasons(yield* Input.targetOf(board))).map(seasonOf)
  })

  const find = (board: View<Score>, season: string) =>
    Effect.flatMap(list(board), (all) => {
      const one = all.find(({ id }) => id === season)
      return one === undefined ? Input.fail(new SeasonNotFound()) : Effect.succeed(one)
    })

  const turn = Effect.fnUntraced(function* (
    board: View<Score>,
    closing: string | undefined,
    opening: string | undefined
  ) {
    const target = yield* Input.targetOf(board)
    yield* Input.seasonOf(closing)
    yield* Input.seasonOf(opening)
    yield* store.turn(target, closing, opening)
    return yield* find(board, opening ?? closing!)
  })

  const settle = <E, R>(
    board: SeasonBoard<Score>,
    season: string,
    reward: Handler<E, R>,
    { top }: { readonly top?: number } = {}
  ): Effect.Effect<Season, LeaderboardError | E, R> =>
    Effect.gen(function* () {
      const target = yield* Input.targetOf(board)
      if (top !== undefined) yield* Input.within("top", top, 0, Number.MAX_SAFE_INTEGER)
      yield* Input.seasonOf(season)
      const { members, rewarded, state } = yield* find(board, season)
      if (state === "open") return yield* Input.fail(new SeasonNotFound())
      if (state === "settled") return yield* find(board, season)
      const end = Math.min(members, top ?? members)
      const frozen = Leaderboard.season(board, season)
      for (let done = Math.min(rewarded, end); done < end;) {
        const { entries } = yield* page(frozen, { offset: done, limit: Math.min(limits.page, end - done) })
        yield* Effect.forEach(
          entries,
          (entry) => reward({ ...entry, season, id: `${target.key.name}/${season}/${entry.member}` }),
          { discard: true }
        )
        done += entries.length
        yield* store.advance(target, season, done, false)
      }
      yield* store.advance(target, season, end, true)
      return yield* find(board, season)
    })

  const reset = Effect.fnUntraced(function* <E, R>(
    board: SeasonBoard<Score>,
    period: Period,
    instant: DateTime.DateTime,
    reward: Handler<E, R>,
    options?: { readonly top?: number }
  ) {
    const now = seasonAt(period, instant)
    const before = (yield* list(board)).find(({ state }) => state === "open")?.id
    // Dates in this form sort as text. A clock that is behind must not bring an earlier season back.
    const isDue = before === undefined || before < now
    if (isDue) yield* turn(board, before, now)
    const owed = (yield* list(board)).filter(({ state }) => state === "closed").map(({ id }) => id)
    yield* Effect.forEach(owed, (season) => settle(board, season, reward, options), { discard: true })
    return { open: isDue ? now : before, closed: isDue ? before : undefined, settled: owed }
  })

  return {
    open: (board: View<Score>, season: string) => turn(board, undefined, season),
    close: (board: View<Score>, season: string) => turn(board, season, undefined),
    seasons: list,
    settle,
    reset
  }
}

import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { randomBytes } from "node:crypto"
import {
  type Entry,
  Leaderboard,
  limits,
  type Period,
  type Reset,
  type Reward,
  type Score,
  type Season,
  type SeasonBoard,
  type View
} from "../Leaderboard.ts"
import { type LeaderboardError, SeasonNotFound, Unreadable } from "../LeaderboardError.ts"
import * as Input from "./input.ts"
import { type Claim, claimMillis, type SeasonRow, type Store, type Target } from "./store.ts"

type Handler<E, R> = (reward: Reward<Score>) => Effect.Effect<void, E, R>

/** Reads entries from an offset. */
type Read = (
  view: View<Score>,
  offset: number,
  limit: number
) => Effect.Effect<ReadonlyArray<Entry<Score>>, LeaderboardError>

/** One who hands out the rewards of a season. */
interface Settling<E, R> {
  readonly target: Target
  readonly season: string
  readonly reward: Handler<E, R>
  readonly top: number | undefined
  readonly by: string
}

// Not from Random: two processes with the same seed must not be one.
const token = (): string => randomBytes(12).toString("base64url")

/** How long one waits at most who asks whether another has settled a season, in milliseconds. */
const askMillis = 500

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

/** Seasons on a store, and on what reads the entries of a board. */
export const make = (store: Store, read: Read) => {
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
    yield* store.turn(target, { closing, opening, by: token(), isForward: false })
    return yield* find(board, opening ?? closing!)
  })

  /** Opens the season of an instant in place of one, or of that which is open by now, if it is a later one. */
  const turnTo = (
    target: Target,
    before: string | undefined,
    now: string,
    by: string
  ): Effect.Effect<Pick<Reset, "closed" | "open">, LeaderboardError> =>
    store.turn(target, { closing: before, opening: now, by, isForward: true }).pipe(
      Effect.map(({ isClosedByIt, open }) => ({ open, closed: isClosedByIt ? before : undefined })),
      Effect.catchReason("LeaderboardError", "SeasonOpen", ({ open }) => turnTo(target, open, now, by))
    )

  /** Hands out the rewards of a season that it has claimed, until they are all or the claim is lost. */
  const hand = <E, R>(
    { target, reward, season, top, by }: Settling<E, R>,
    { members, rewarded }: Claim
  ): Effect.Effect<Claim, LeaderboardError | E, R> =>
    Effect.gen(function* () {
      const end = Math.min(members, top ?? members)
      const frozen = Leaderboard.season(target.view as SeasonBoard<Score>, season)
      for (let done = Math.min(rewarded, end); done < end;) {
        const entries = yield* read(frozen, done, Math.min(limits.page, end - done))
        if (entries.length === 0) {
          return yield* Input.fail(new Unreadable({ problem: "the result of the season is not whole" }))
        }
        yield* Effect.forEach(
          entries,
          (entry) => reward({ ...entry, season, id: `${target.key.name}/${season}/${entry.member}` }),
          { discard: true }
        )
        done += entries.length
        const claim = yield* store.advance(target, { season, by, rewarded: done, step: "more" })
        if (!claim.isMine) return claim
      }
      return yield* store.advance(target, { season, by, rewarded: end, step: "all" })
    })

  /** Settles a season, unless another one does. Its claim is renewed while rewards are given, and ends with a failure. */
  const attempt = <E, R>(settling: Settling<E, R>): Effect.Effect<Claim, LeaderboardError | E, R> =>
    Effect.gen(function* () {
      const { by, season, target } = settling
      const claiming = store.advance(target, { season, by, rewarded: 0, step: "more" })
      const leaving = store.advance(target, { season, by, rewarded: 0, step: "leave" })
      const claim = yield* claiming
      if (!claim.isMine || claim.state === "settled") return claim
      const renewing = Effect.forever(Effect.andThen(Effect.sleep(claimMillis / 4), Effect.ignore(claiming)))
      return yield* Effect.raceFirst(hand(settling, claim), renewing).pipe(
        Effect.onError(() => Effect.ignore(Effect.timeout(leaving, "2 seconds")))
      )
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
      const known = yield* find(board, season)
      const settling = { target, season, reward, top, by: token() }
      let claim = yield* attempt(settling)
      while (claim.state !== "settled") {
        yield* Effect.sleep(Math.min(claim.leftMillis, askMillis))
        claim = yield* attempt(settling)
      }
      return { ...known, state: claim.state, members: claim.members, rewarded: claim.rewarded }
    })

  const reset = Effect.fnUntraced(function* <E, R>(
    board: SeasonBoard<Score>,
    period: Period,
    instant: DateTime.DateTime,
    reward: Handler<E, R>,
    { top }: { readonly top?: number } = {}
  ) {
    const target = yield* Input.targetOf(board)
    if (top !== undefined) yield* Input.within("top", top, 0, Number.MAX_SAFE_INTEGER)
    const before = (yield* list(board)).find(({ state }) => state === "open")?.id
    const by = token()
    const turned = yield* turnTo(target, before, seasonAt(period, instant), by)
    const owed = (yield* list(board)).filter(({ state }) => state === "closed")
    const results = yield* Effect.forEach(owed, ({ id: season }) =>
      Effect.map(Effect.result(attempt({ target, season, reward, top, by })), (result) => ({ season, result }))
    )
    // One season must not keep the rewards of the others: what failed is told when they are through.
    for (const { result } of results) yield* Effect.fromResult(result)
    const settled = results.filter(
      ({ result }) => Result.isSuccess(result) && result.success.isMine && result.success.state === "settled"
    )
    return { ...turned, settled: settled.map(({ season }) => season) } satisfies Reset
  })

  return {
    open: (board: View<Score>, season: string) => turn(board, undefined, season),
    close: (board: View<Score>, season: string) => turn(board, season, undefined),
    seasons: list,
    settle,
    reset
  }
}

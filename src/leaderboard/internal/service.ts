import * as Effect from "effect/Effect"
import { type Change, type Entry, type Friend, Leaderboard, limits, type Score, type View } from "../Leaderboard.ts"
import { type LeaderboardError, Unreadable } from "../LeaderboardError.ts"
import * as Input from "./input.ts"
import * as Seasons from "./seasons.ts"
import type { Found, From, Placed, Slice, Store, Write } from "./store.ts"

const sharesRanks = ({ ties }: View<Score>): boolean => ties === "competition" || ties === "dense"

/** The rows of a slice with their ranks: the store tells that of the first, each other follows from the one before. */
const entriesOf = (view: View<Score>, { first, rank, rows }: Slice): ReadonlyArray<Entry<Score>> => {
  const entries: Array<Entry<Score>> = []
  for (const [i, { member, score }] of rows.entries()) {
    const before = entries[i - 1]
    const own = view.ties === "dense" ? (before?.rank ?? 0) + 1 : first + i + 1
    const isShared = sharesRanks(view) && before?.score === score
    entries.push({ member, score, rank: before === undefined ? rank : isShared ? before.rank : own })
  }
  return entries
}

const entryOf = ({ rank, row }: Found): Entry<Score> => ({ member: row.member, score: row.score, rank })

const friendsOf = (view: View<Score>, found: ReadonlyArray<Found>): ReadonlyArray<Friend<Score>> => {
  const friends: Array<Friend<Score>> = []
  for (const [i, one] of found.toSorted((a, b) => a.index - b.index).entries()) {
    const before = friends[i - 1]
    const isShared = before !== undefined && sharesRanks(view) && before.rank === one.rank
    const place = isShared ? before.place : view.ties === "dense" ? (before?.place ?? 0) + 1 : i + 1
    friends.push({ ...entryOf(one), place })
  }
  return friends
}

const changeOf = (member: string, before: Placed | undefined, after: Placed | undefined): Change<Score> => ({
  member,
  before,
  after,
  isChanged: before?.score !== after?.score
})

const writes = (store: Store) => {
  const write =
    (mode: Write["mode"]) =>
    (
      view: View<Score>,
      member: string,
      score: Score,
      { operation, season }: { readonly season?: string; readonly operation?: string } = {}
    ): Effect.Effect<Change<Score>, LeaderboardError> =>
      Effect.suspend(() => {
        // The path of every update: checked in one step.
        const problem =
          Input.memberReason(member) ??
          Input.scoreReason(view.score, score) ??
          Input.seasonReason(season) ??
          Input.operationReason(operation)
        if (problem !== undefined) return Input.fail(problem)
        const value = Input.withoutSign(score)
        return Effect.map(
          Effect.flatMap(Input.targetOf(view), (target) =>
            store.update(target, { mode, member, value, season, operation })
          ),
          ({ after, before }) => changeOf(member, before, after)
        )
      })
  return {
    add: write("add"),
    set: write("set"),
    best: write("best"),
    increment: write("increment"),
    remove: Effect.fnUntraced(function* (
      view: View<Score>,
      member: string,
      { season }: { readonly season?: string } = {}
    ) {
      const target = yield* Input.targetOf(view)
      yield* Input.memberOf(member)
      yield* Input.seasonOf(season)
      return changeOf(member, yield* store.remove(target, member, season), undefined)
    })
  }
}

const reads = (store: Store) => {
  const found = Effect.fnUntraced(function* (view: View<Score>, members: ReadonlyArray<string>) {
    const target = yield* Input.targetOf(view)
    yield* Input.membersOf(members)
    return yield* store.many(target, members)
  })
  const one = (view: View<Score>, member: string) => Effect.map(found(view, [member]), ({ found }) => found[0])
  const entries = Effect.fnUntraced(function* (view: View<Score>, offset: number, limit: number) {
    const target = yield* Input.targetOf(view)
    yield* Input.within("limit", limit, 1, limits.page)
    return entriesOf(view, yield* store.slice(target, { _tag: "Offset", offset, limit }))
  })

  const page = Effect.fnUntraced(function* (
    view: View<Score>,
    {
      after,
      limit = 10,
      offset = 0
    }: { readonly after?: string; readonly limit?: number; readonly offset?: number } = {}
  ) {
    const target = yield* Input.targetOf(view)
    yield* Input.within("limit", limit, 1, limits.page)
    yield* Input.within("offset", offset, 0, Number.MAX_SAFE_INTEGER)
    const from: From =
      after === undefined
        ? { _tag: "Offset", offset, limit }
        : { _tag: "After", ...(yield* Input.afterOf(view, after)), limit }
    const slice = yield* store.slice(target, from)
    const row = slice.rows.at(-1)
    const isAtEnd = row === undefined || slice.rows.length < limit
    if (!isAtEnd && slice.last === "") {
      return yield* Input.fail(new Unreadable({ problem: "a member is too long for a cursor" }))
    }
    const next = isAtEnd ? undefined : Input.cursorOf(row, slice.last)
    return { entries: entriesOf(view, slice), total: slice.total, next }
  })

  return {
    page,
    entries,
    top: (view: View<Score>, limit = 10) => entries(view, 0, limit),
    range: Effect.fnUntraced(function* (
      view: View<Score>,
      scores: { readonly min?: Score; readonly max?: Score },
      { limit = 10, offset = 0 }: { readonly limit?: number; readonly offset?: number } = {}
    ) {
      const target = yield* Input.targetOf(view)
      const range = yield* Input.rangeOf(view, scores)
      yield* Input.within("limit", limit, 1, limits.page)
      yield* Input.within("offset", offset, 0, Number.MAX_SAFE_INTEGER)
      const slice = yield* store.slice(target, { _tag: "Scores", range, offset, limit })
      return { entries: entriesOf(view, slice), total: slice.total, next: undefined }
    }),
    around: Effect.fnUntraced(function* (view: View<Score>, member: string, radius = 5) {
      const target = yield* Input.targetOf(view)
      yield* Input.memberOf(member)
      yield* Input.within("radius", radius, 0, limits.page / 2 - 1)
      return entriesOf(view, yield* store.slice(target, { _tag: "Around", member, radius }))
    }),
    rank: (view: View<Score>, member: string) =>
      Effect.map(one(view, member), (found) => (found === undefined ? undefined : entryOf(found))),
    score: (view: View<Score>, member: string) => Effect.map(one(view, member), (found) => found?.row.score),
    many: (view: View<Score>, members: ReadonlyArray<string>) =>
      Effect.map(found(view, members), ({ found }) =>
        found.map((one) => (one === undefined ? undefined : entryOf(one)))
      ),
    friends: (view: View<Score>, members: ReadonlyArray<string>) =>
      Effect.map(found(view, [...new Set(members)]), ({ found }) =>
        friendsOf(
          view,
          found.filter((one) => one !== undefined)
        )
      ),
    count: Effect.fnUntraced(function* (view: View<Score>, range: { readonly min?: Score; readonly max?: Score } = {}) {
      const target = yield* Input.targetOf(view)
      return yield* store.count(target, yield* Input.rangeOf(view, range))
    }),
    percentile: (view: View<Score>, member: string) =>
      Effect.map(found(view, [member]), ({ found: [one], total }) =>
        one === undefined ? undefined : total === 1 ? 100 : (100 * (total - 1 - one.better)) / (total - 1)
      )
  }
}

/** The room on a store: what is checked before, and made of what comes back. */
export const make = (store: Store): Leaderboard["Service"] => {
  const { entries, ...reading } = reads(store)
  // A store gives the scores of a board's own type: bigints on a board of int64, numbers on any other.
  return Leaderboard.of({ ...writes(store), ...reading, ...Seasons.make(store, entries) } as never)
}

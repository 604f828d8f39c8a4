import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Input from "./internal/input.ts"
import * as Memory from "./internal/memory.ts"
import { byScore } from "./internal/order.ts"
import * as Service from "./internal/service.ts"
import {
  type Advance,
  type Claim,
  claimMillis,
  operationMillis,
  type Placed,
  type Row,
  type Store,
  type Target,
  type Turn,
  type Turned,
  type Write
} from "./internal/store.ts"
import * as Tree from "./internal/tree.ts"
import { Leaderboard, type Score } from "./Leaderboard.ts"
import {
  LeaderboardError,
  type LeaderboardErrorReason,
  OperationReused,
  ScoreOutOfRange,
  SeasonClosed,
  SeasonNotFound,
  SeasonOpen
} from "./LeaderboardError.ts"

const refused = (reason: LeaderboardErrorReason) => new LeaderboardError({ reason })

/** The row that a write asks for; the old one when it changes nothing. */
const rowOf = (target: Target, board: Memory.Memory, old: Row | undefined, write: Write): Row => {
  const { view } = target
  const { mode, value } = write
  // Both are of the board's type.
  const score =
    mode === "increment" && old !== undefined ? (((old.score as number) + (value as number)) as Score) : value
  if (old !== undefined && (old.score === score || mode === "add")) return old
  if (old !== undefined && mode === "best" && byScore(view)(score, old.score) > 0) return old
  return { member: write.member, score, tick: view.ties === "first" ? board.tick + 1 : 0 }
}

const placed = ({ view }: Target, board: Memory.Memory, row: Row): Placed => ({
  score: row.score,
  rank: Memory.locate(view, board.ranking, row).rank
})

/** Why a write is refused, or undefined. */
const shut = ({ view }: Target, board: Memory.Memory, season: string | undefined) =>
  (view.keepMillis === undefined && season === undefined) ||
  (board.open !== undefined && (season ?? board.open) === board.open)
    ? undefined
    : refused(new SeasonClosed({ open: board.open ?? "" }))

/** Whether a reset has nothing to turn: a season of that date or a later one was opened before. */
const isReached = ({ open = "", reached, seasons }: Memory.Memory, opening: string): boolean =>
  open >= opening || reached >= opening || seasons.has(opening)

/** Why a turn is refused, or undefined. */
const refusalOf = (board: Memory.Memory, { closing, isForward, opening }: Turn) => {
  const { open, seasons } = board
  const isOpen = closing !== undefined && open === closing
  if (!isForward && closing !== undefined && !isOpen && !seasons.has(closing)) return refused(new SeasonNotFound())
  if (opening === undefined || open === opening) return undefined
  if (open !== undefined && !isOpen) return refused(new SeasonOpen({ open }))
  return !isForward && seasons.has(opening) ? refused(new SeasonClosed({ open: open ?? "" })) : undefined
}

/** Ends one season and begins another. */
const turned = (board: Memory.Memory, turn: Turn, now: number): Turned | LeaderboardError => {
  const { by, closing, isForward, opening } = turn
  if (!isForward || !isReached(board, opening!)) {
    const problem = refusalOf(board, turn)
    if (problem !== undefined) return problem
    if (closing !== undefined && board.open === closing) {
      const frozen = Memory.freeze(board)
      board.frozen.set(closing, frozen)
      const members = frozen.byMember.size
      board.seasons.set(closing, { ...board.seasons.get(closing)!, state: "closed", closed: now, members, closer: by })
      board.open = undefined
    }
    if (opening !== undefined && board.open === undefined) {
      board.open = opening
      const nobody = { until: undefined, closer: undefined, settler: undefined, claimed: 0 }
      const times = { opened: now, closed: undefined }
      board.seasons.set(opening, { id: opening, state: "open", members: 0, rewarded: 0, ...times, ...nobody })
      if (/^\d{4}-\d\d-\d\d$/.test(opening) && opening > board.reached) board.reached = opening
    }
  }
  return {
    isClosedByIt: closing !== undefined && board.seasons.get(closing)?.closer === by,
    open: board.open
  }
}

/** Notes how far the rewards of a season came, and who hands them out. */
const advanced = (
  keepMillis: number,
  board: Memory.Memory,
  { by, rewarded, season, step }: Advance,
  now: number
): Claim | LeaderboardError => {
  const known = board.seasons.get(season)
  if (known === undefined || known.state === "open") return refused(new SeasonNotFound())
  const isMine = known.settler === by || (known.state === "closed" && known.claimed <= now)
  const isWritten = isMine && known.state === "closed"
  const noted = {
    ...known,
    rewarded: Math.max(rewarded, known.rewarded),
    ...(isWritten ? { settler: by, claimed: step === "leave" ? 0 : now + claimMillis } : {}),
    ...(isWritten && step === "all" ? { state: "settled" as const, until: now + keepMillis } : {})
  }
  board.seasons.set(season, noted)
  return {
    state: noted.state === "settled" ? "settled" : "closed",
    members: noted.members,
    rewarded: noted.rewarded,
    isMine,
    leftMillis: Math.max(0, known.claimed - now)
  }
}

const makeStore = (): Store => {
  const boards = new Map<string, Memory.Memory>()

  /** Ends what has expired: seasons that were kept, and what was replied to operations. */
  const open = ({ key }: Target, now: number): Memory.Memory => {
    const board = boards.get(key.name) ?? Memory.empty()
    boards.set(key.name, board)
    for (const { id, until } of board.seasons.values()) {
      if (until === undefined || until > now) continue
      board.seasons.delete(id)
      board.frozen.delete(id)
    }
    for (const [id, { until }] of board.operations) {
      // They were put in by time.
      if (until > now) break
      board.operations.delete(id)
    }
    return board
  }

  /** One step on a board, with nothing in between: it is synchronous. */
  const step = <A>(target: Target, body: (board: Memory.Memory, now: number) => A | LeaderboardError) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const result = body(open(target, now), now)
      return result instanceof LeaderboardError ? Effect.fail(result) : Effect.succeed(result)
    })

  const read = <A>(target: Target, body: (frozen: Memory.Frozen) => A) =>
    step(target, (board) => {
      const { season } = target.view
      const frozen = season === undefined ? board : board.frozen.get(season)
      return frozen === undefined ? refused(new SeasonNotFound()) : body(frozen)
    })

  return {
    update: (target, write) =>
      step(target, (board, now) => {
        const print = `${write.mode}|${write.value}|${write.member}`
        const known = write.operation === undefined ? undefined : board.operations.get(write.operation)
        const own = write.season ?? board.open
        // The season may be closed when it is repeated.
        if (known !== undefined && (own === undefined || known.season === own)) {
          return known.print === print ? known.reply : refused(new OperationReused())
        }
        const shutBy = shut(target, board, write.season)
        if (shutBy !== undefined) return shutBy
        const old = board.byMember.get(write.member)
        const before = old === undefined ? undefined : placed(target, board, old)
        const row = rowOf(target, board, old, write)
        const problem = Input.scoreProblem(target.view.score, row.score)
        if (problem !== undefined) return refused(new ScoreOutOfRange({ problem }))
        if (row !== old) Memory.move(target.view, board, old, row)
        const reply = { before, after: placed(target, board, row) }
        if (write.operation !== undefined) {
          board.operations.delete(write.operation)
          const season = board.open ?? ""
          board.operations.set(write.operation, { season, print, until: now + operationMillis, reply })
        }
        return reply
      }),
    remove: (target, member, season) =>
      step(target, (board) => {
        const shutBy = shut(target, board, season)
        if (shutBy !== undefined) return shutBy
        const old = board.byMember.get(member)
        if (old === undefined) return undefined
        const before = placed(target, board, old)
        Memory.move(target.view, board, old, undefined)
        return before
      }),
    slice: (target, from) => read(target, (frozen) => Memory.sliceOf(target.view, from, frozen)),
    many: (target, members) =>
      read(target, ({ byMember, ranking }) => ({
        total: Tree.size(ranking.rows),
        found: members.map((member) => {
          const row = byMember.get(member)
          return row === undefined ? undefined : Memory.locate(target.view, ranking, row)
        })
      })),
    count: (target, range) =>
      read(target, ({ ranking }) => {
        const { end, start } = Memory.span(target.view, ranking, range)
        return end - start
      }),
    turn: (target, turn) => step(target, (board, now) => turned(board, turn, now)),
    advance: (target, advance) => step(target, (board, now) => advanced(target.view.keepMillis!, board, advance, now)),
    seasons: (target) => step(target, (board) => [...board.seasons.values()])
  }
}

/** Boards in memory, empty: each call has its own. A rank is found in O(log n), in time of the Clock. */
export const makeEmbedded: Effect.Effect<Leaderboard["Service"]> = Effect.sync(() => Service.make(makeStore()))

/** See {@link makeEmbedded}; the boards end with the layer. */
export const LeaderboardEmbedded: Layer.Layer<Leaderboard> = Layer.effect(Leaderboard, makeEmbedded)

// The scripts as commands: what goes in, and what comes out.
import * as Result from "effect/Result"
import * as Command from "../../redis/Command.ts"
import * as Key from "../../redis/Key.ts"
import { UnexpectedReply } from "../../redis/RedisError.ts"
import * as Script from "../../redis/Script.ts"
import type { Score, ScoreRange, View } from "../Leaderboard.ts"
import * as Codec from "./codec.ts"
import * as Lua from "./lua.ts"
import * as LuaSeasons from "./luaSeasons.ts"
import { endsOf } from "./order.ts"
import {
  type Advance,
  type Claim,
  claimMillis,
  type Found,
  type From,
  type Moved,
  operationMillis,
  type Placed,
  type SeasonRow,
  type Slice,
  type Target,
  type Turn,
  type Turned,
  type Write
} from "./store.ts"

type BoardKey = Key.Key<"board">

/** What a script says in place of a reply. `open`: the season that is open, empty for none. */
export interface Refusal {
  readonly refused: "closed" | "open" | "range" | "reused" | "missing"
  readonly open: string
}

type Decoded<A> = Result.Result<A, UnexpectedReply>

const unexpected = Result.fail(new UnexpectedReply({ problem: "not what the script returns" }))

const refusals: ReadonlySet<unknown> = new Set<Refusal["refused"]>(["closed", "open", "range", "reused", "missing"])

/** Reads a refusal, or what a script returns otherwise. */
const orRefused =
  <A>(decode: (reply: ReadonlyArray<Command.Reply>) => Decoded<A>): Command.Decode<A | Refusal> =>
  (reply) => {
    if (!Array.isArray(reply)) return unexpected
    const list = reply as ReadonlyArray<Command.Reply>
    return refusals.has(list[0])
      ? Result.succeed({ refused: list[0] as Refusal["refused"], open: String(list[1] ?? "") })
      : decode(list)
  }

/** A season's own keys: what it knows of itself, its sorted set, its hash, its scores. */
const seasonKeys = (key: BoardKey, season: string) =>
  [
    Key.beside(key, `xd:board-season:${season}`),
    Key.beside(key, `xd:board-result:${season}`),
    Key.beside(key, `xd:board-result-members:${season}`),
    Key.beside(key, `xd:board-result-scores:${season}`)
  ] as const

/** The keys of a view that its scripts take, see `usesOf`. */
const keysOf = ({ key, view }: Target): ReadonlyArray<BoardKey> => {
  const [state, rows, members, scores] =
    view.season === undefined
      ? [Key.beside(key, "xd:board-state"), key, Key.beside(key, "xd:board"), Key.beside(key, "xd:board-scores")]
      : seasonKeys(key, view.season)
  const uses = Lua.usesOf(view)
  return [rows, members, scores, state].filter((_, i) => uses[i])
}

const listKey = (key: BoardKey) => Key.beside(key, "xd:board-seasons")

const names = ["rows", "members", "scores", "state"]

const its = ["its state", "its rows", "its members", "its scores"]

const args = (...values: ReadonlyArray<string | number>) => values

const turned = orRefused<Turned>(([word, closed, open]) =>
  word === "done" && typeof open === "string"
    ? Result.succeed({ isClosedByIt: closed === 1, open: open === "" ? undefined : open })
    : unexpected
)

const claimed = orRefused<Claim>(([word, state, members = null, rewarded = null, isMine, left = null]) =>
  word === "done" && (state === "closed" || state === "settled")
    ? Result.map(
        Result.all([Command.integer(members), Command.integer(rewarded), Command.integer(left)]),
        ([members, rewarded, leftMillis]) => ({ state, members, rewarded, isMine: isMine === 1, leftMillis })
      )
    : unexpected
)

const make = (view: View<Score>) => {
  const lua = Lua.textsOf(view)
  const uses = Lua.usesOf(view)
  const keys: ReadonlyArray<string> = names.filter((_, i) => uses[i])

  const placed = (text: Command.Reply, rank: Command.Reply): Decoded<Placed> => {
    const score = Codec.scoreOf(view, text)
    return Result.isFailure(score)
      ? Result.fail(score.failure)
      : Result.map(Command.integer(rank), (rank) => ({ score: score.success, rank }))
  }

  const found = ([stored = null, z = null, index = null, rank = null, better = null]: ReadonlyArray<Command.Reply>) =>
    Result.all({
      row: Codec.rowOf(view, stored, z),
      index: Command.integer(index),
      rank: Command.integer(rank),
      better: Command.integer(better)
    })

  const slice = ([
    total = null,
    first = null,
    rank = null,
    rows,
    last
  ]: ReadonlyArray<Command.Reply>): Decoded<Slice> => {
    if (!Array.isArray(rows)) return unexpected
    const flat = rows as ReadonlyArray<Command.Reply>
    const lines = Array.from({ length: flat.length / 2 }, (_, i) => Codec.rowOf(view, flat[2 * i]!, flat[2 * i + 1]!))
    return Result.all({
      total: Command.integer(total),
      first: Command.integer(first),
      rank: Command.integer(rank),
      rows: Result.all(lines),
      last: Result.succeed(typeof last === "string" ? last : undefined)
    })
  }

  // Where the member was not there before, the reply ends after the first two.
  const change = orRefused<Moved>(([score = null, rank = null, score2 = null, rank2 = null]) => {
    const after = placed(score, rank)
    if (Result.isFailure(after)) return Result.fail(after.failure)
    if (score2 === null) return Result.succeed({ before: undefined, after: after.success })
    return Result.map(placed(score2, rank2), (before) => ({ before, after: after.success }))
  })
  const update = { name: "leaderboard.update", lua: lua.update, keys, args, reply: change }

  return {
    update: Script.make({ ...update, idempotent: true }),
    increment: Script.make(update),
    updateOnce: Script.make({
      ...update,
      lua: lua.updateOnce,
      keys: [...keys, "operation"] as ReadonlyArray<string>,
      idempotent: true
    }),
    remove: Script.make({
      name: "leaderboard.remove",
      lua: lua.remove,
      keys,
      args,
      reply: Command.optional(orRefused(([score = null, rank = null]) => placed(score, rank))),
      idempotent: true
    }),
    slice: Script.make({
      name: "leaderboard.slice",
      lua: lua.slice,
      keys,
      args,
      reply: orRefused(slice),
      idempotent: true
    }),
    many: Script.make({
      name: "leaderboard.many",
      lua: lua.many,
      keys,
      args,
      reply: orRefused(([total = null, ...rest]) =>
        Result.all({
          total: Command.integer(total),
          found: Result.all(
            rest.map((one): Decoded<Found | undefined> =>
              Array.isArray(one) ? found(one as ReadonlyArray<Command.Reply>) : Result.succeed(undefined)
            )
          )
        })
      ),
      idempotent: true
    }),
    count: Script.make({
      name: "leaderboard.count",
      lua: lua.count,
      keys,
      args,
      reply: (reply) =>
        typeof reply === "number" ? Command.integer(reply) : orRefused<number>(() => unexpected)(reply),
      idempotent: true
    }),
    turn: Script.make({
      name: "leaderboard.turn",
      lua: lua.turn,
      keys: [...keys, "seasons", ...its, "opening"],
      args,
      reply: turned,
      idempotent: true
    }),
    advance: Script.make({
      name: "leaderboard.advance",
      lua: lua.advance,
      keys: [...keys, ...its],
      args,
      reply: claimed,
      idempotent: true
    })
  }
}

const made = new Map<string, ReturnType<typeof make>>()

/** The scripts for a view: one set for each kind of board, made when first used. */
const makeOnce = (view: View<Score>): ReturnType<typeof make> => {
  const kind = `${view.ties}/${view.score}/${view.order}/${view.keepMillis !== undefined}`
  const known = made.get(kind) ?? make(view)
  made.set(kind, known)
  return known
}

/** What runs on a view: its scripts, and the keys that they take first, see `usesOf`. */
interface Prepared {
  readonly scripts: ReturnType<typeof make>
  readonly keys: ReadonlyArray<BoardKey>
}

// A board is a constant, and so is what runs on it.
const known = new WeakMap<Target, Prepared>()

const prepared = (target: Target): Prepared => {
  const before = known.get(target)
  if (before !== undefined) return before
  const now = { scripts: makeOnce(target.view), keys: keysOf(target) }
  known.set(target, now)
  return now
}

/** The season that must be open; empty where a board has none, and none was asked for. */
const seasonArg = ({ keepMillis }: View<Score>, season: string | undefined): string =>
  season !== undefined ? `=${season}` : keepMillis === undefined ? "" : "any"

/** Sets, adds to or betters a score. */
export const update = (target: Target, { member, mode, operation, season, value }: Write) => {
  const { key, view } = target
  const { keys, scripts } = prepared(target)
  const amount = mode === "increment" ? Codec.incrementOf(view, value) : Codec.textOf(view, value)
  const open = seasonArg(view, season)
  if (operation !== undefined) {
    const all = [...keys, Key.beside(key, `xd:board-operation:${operation}`)]
    return scripts.updateOnce(all, mode, member, amount, open, operationMillis)
  }
  const script = mode === "increment" ? scripts.increment : scripts.update
  return open === "" ? script(keys, mode, member, amount) : script(keys, mode, member, amount, open)
}

/** Takes a member off; replies null where it was not. */
export const remove = (target: Target, member: string, season: string | undefined) => {
  const { keys, scripts } = prepared(target)
  return scripts.remove(keys, member, seasonArg(target.view, season))
}

const frozenArg = ({ season }: View<Score>): string => (season === undefined ? "" : "frozen")

const endArgs = (view: View<Score>, range: ScoreRange<Score>): ReadonlyArray<string> => {
  const { best, worst } = endsOf(view, range)
  return [best, worst].flatMap((end) => {
    if (end === undefined) return ["", ""]
    const { digits, z } = Codec.storedOf(view, end)
    return [z, digits]
  })
}

const fromArgs = (view: View<Score>, from: From): ReadonlyArray<string | number> => {
  switch (from._tag) {
    case "Offset":
      return ["offset", "", "", "", "", from.offset, from.limit]
    case "After":
      if (from.bytes !== undefined) {
        return ["bytes", Codec.storedOf(view, from.row.score).z, from.bytes, "", "", 0, from.limit]
      }
      return ["after", Codec.storedOf(view, from.row.score).z, Codec.memberOf(view, from.row), "", "", 0, from.limit]
    case "Around":
      return ["around", from.member, "", "", "", 0, from.radius]
    case "Scores":
      return ["scores", ...endArgs(view, from.range), from.offset, from.limit]
  }
}

/** Rows one after another. */
export const slice = (target: Target, from: From) => {
  const { keys, scripts } = prepared(target)
  return scripts.slice(keys, frozenArg(target.view), ...fromArgs(target.view, from))
}

/** Members, each with its place. */
export const many = (target: Target, of: ReadonlyArray<string>) => {
  const { keys, scripts } = prepared(target)
  return scripts.many(keys, frozenArg(target.view), ...of)
}

/** How many have a score in a range. */
export const count = (target: Target, range: ScoreRange<Score>) => {
  const { keys, scripts } = prepared(target)
  return scripts.count(keys, frozenArg(target.view), ...endArgs(target.view, range))
}

/** Closes one season, opens another. */
export const turn = (target: Target, { by, closing, isForward, opening }: Turn) => {
  const { key } = target
  const { keys, scripts } = prepared(target)
  // Where there is none its keys are not looked at.
  const closed = closing === undefined ? [key, key, key, key] : seasonKeys(key, closing)
  const opened = opening === undefined ? key : seasonKeys(key, opening)[0]
  return scripts.turn(
    [...keys, listKey(key), ...closed, opened],
    closing ?? "",
    opening ?? "",
    by,
    isForward ? "forward" : ""
  )
}

/** Notes how far the rewards of a season came, and who hands them out. */
export const advance = (target: Target, { by, rewarded, season, step }: Advance) => {
  const { keys, scripts } = prepared(target)
  const all = [...keys, ...seasonKeys(target.key, season)]
  const { keepMillis = Infinity } = target.view
  return scripts.advance(all, rewarded, step, by, claimMillis, keepMillis === Infinity ? "" : keepMillis)
}

/** The ids of the seasons, in the order in which they were opened. */
export const seasonIds = ({ key }: Target) =>
  Command.make("ZRANGE", [listKey(key), 0, -1], Command.listOf(Command.text), { idempotent: true })

const seasonScript = Script.make({
  name: "leaderboard.season",
  lua: LuaSeasons.season,
  keys: ["seasons", "season"],
  args: (id: string) => [id],
  reply: Command.optional(Command.listOf(Command.optionalText)),
  idempotent: true
})

const seasonRow = (id: string, values: ReadonlyArray<string | undefined>): SeasonRow => {
  const [state, opened, closed, members, rewarded] = values
  return {
    id,
    // Only the scripts write it.
    state: state as SeasonRow["state"],
    opened: Number(opened),
    closed: closed === undefined ? undefined : Number(closed),
    members: Number(members ?? 0),
    rewarded: Number(rewarded ?? 0)
  }
}

/** A season, or undefined when it has expired. */
export const season = ({ key }: Target, id: string): Command.Command<SeasonRow | undefined, "board"> =>
  Command.map(seasonScript([listKey(key), seasonKeys(key, id)[0]], id), (values) =>
    values === undefined ? undefined : seasonRow(id, values)
  )

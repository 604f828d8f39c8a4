// node --conditions=xdooria-source test/leaderboard/Million.ts
//
// A board of a million members on a server of its own, and what the server itself counts for each kind of call: its mean
// and its 99th percentile in microseconds, and how many took longer than a millisecond (SLOWLOG).
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Redis as Driver } from "ioredis"
import { type Board, Leaderboard, type Score } from "xdooria/leaderboard"
import { makeLive } from "xdooria/leaderboard/live"
import { layerLive } from "xdooria/redis/live"
import * as RedisServer from "../support/RedisServer.ts"

const members = 1_000_000
const calls = 3_000

const kinds = {
  first: Leaderboard.board({ key: "first", ties: "first" }),
  "first, int64": Leaderboard.board({ key: "wide", ties: "first", score: "int64" }),
  dense: Leaderboard.board({ key: "dense", ties: "dense" }),
  plan: Leaderboard.board({ key: "plan", ties: "plan" })
}

// As the room stores them, written by the server itself; 20 members for each score.
const fill = `
for i = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  local member, score, prefix = 'player-' .. i, i % 50000, ''
  if ARGV[1] == 'wide' then prefix = string.format('%010.0f%010.0f', 922337203, 6854775807 - score) end
  if ARGV[1] == 'first' or ARGV[1] == 'wide' then prefix = prefix .. string.format('%016.0f', 1700000000000000 + i) end
  local z = ARGV[1] == 'wide' and 0 or ARGV[1] == 'plan' and score or 0 - score
  redis.call('ZADD', KEYS[1], z, prefix .. member)
  if prefix ~= '' then redis.call('HSET', KEYS[2], member, prefix) end
  if ARGV[1] == 'dense' then redis.call('ZADD', KEYS[3], z, string.format('%.17g', z)) end
end`

const program = Effect.gen(function* () {
  const { host, port } = yield* RedisServer.start({ args: ["--slowlog-log-slower-than", "1000"] })
  const native = yield* Effect.acquireRelease(
    Effect.sync(() => new Driver({ host, port })),
    (client) => Effect.sync(() => client.disconnect())
  )
  const ask = <A>(body: () => Promise<A>) => Effect.promise(body)
  const redis = yield* Layer.build(layerLive({ addrs: [`${host}:${port}`] }))
  const boards = yield* Effect.provide(makeLive, redis)

  const measure = (what: string, call: (member: string, i: number) => Effect.Effect<unknown, unknown>) =>
    Effect.gen(function* () {
      yield* ask(() => native.config("RESETSTAT"))
      yield* ask(() => native.slowlog("RESET"))
      for (let i = 0; i < calls; i++) yield* call(`player-${((i * 7919 + 1) * 104_729) % members}`, i)
      const info = yield* ask(() => native.info("commandstats", "latencystats"))
      const mean = /cmdstat_evalsha:.*?usec_per_call=([\d.]+)/.exec(info)?.[1]
      const p99 = /latency_percentiles_usec_evalsha:.*?p99=([\d.]+)/.exec(info)?.[1]
      const slow = yield* ask(() => native.slowlog("LEN"))
      yield* Console.log(`${what}: mean ${mean} us, p99 ${p99} us, ${slow} of ${calls} over 1 ms`)
    })

  for (const [name, board] of Object.entries<Board<Score>>(kinds)) {
    const { key } = board
    const keys = [key, `xd:board:{${key}}`, `xd:board-scores:{${key}}`]
    for (let from = 0; from < members; from += 20_000) {
      yield* ask(() => native.eval(fill, 3, ...keys, key, from, from + 19_999))
    }
    const exact = (value: number): Score => (board.score === "int64" ? BigInt(value) : value)
    const bytes = yield* ask(() => Promise.all(keys.map((one) => native.memory("USAGE", one, "SAMPLES", 1000))))
    const size = bytes.reduce<number>((sum, one) => sum + (one ?? 0), 0)
    yield* Console.log(`${name}: ${yield* boards.count(board)} members, ${Math.round(size / members)} bytes for each`)
    const page = yield* boards.page(board, { offset: members / 2, limit: 1 })
    yield* measure("  rank", (member) => boards.rank(board, member))
    yield* measure("  around", (member) => boards.around(board, member, 5))
    yield* measure("  around, 49 on each side", (member) => boards.around(board, member, 49))
    yield* measure("  page of 100 in the middle", () => boards.page(board, { after: page.next!, limit: 100 }))
    yield* measure("  count of a range", (_, i) => boards.count(board, { min: exact(i), max: exact(40_000) }))
    yield* measure("  update", (member, i) => boards.set(board, member, exact(i)))
  }
})

await Effect.runPromise(Effect.scoped(program))

import { assert, layer as layerTest } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { type Board, Leaderboard, limits, type Reward, type Score } from "xdooria/leaderboard"
import { changed, fresh, lines, tagOf } from "./Backend.ts"

/** Sets scores, in this order. */
const fill = <A extends Score>(board: Board<A>, scores: ReadonlyArray<readonly [string, A]>) =>
  Effect.flatMap(Leaderboard, (boards) =>
    Effect.forEach(scores, ([member, score]) => boards.set(board, member, score), { discard: true })
  )

const five = [
  ["bob", 20],
  ["zed", 10],
  ["ann", 20],
  ["cat", 30],
  ["dan", 10]
] as const

/** All pages of a board, by cursor. */
const walk = (board: Board<Score>, limit: number, between: Effect.Effect<unknown, unknown> = Effect.void) =>
  Effect.gen(function* () {
    const boards = yield* Leaderboard
    const seen: Array<string> = []
    let after: string | undefined
    do {
      const page = yield* boards.page(board, { limit, ...(after === undefined ? {} : { after }) })
      seen.push(...page.entries.map(({ member }) => member))
      after = page.next
      yield* Effect.orDie(between)
    } while (after !== undefined)
    return seen
  })

/** The promises of room leaderboard. */
export const suite = <E>(
  name: string,
  layer: Layer.Layer<Leaderboard, E>,
  { clock }: { readonly clock: "test" | "live" }
): void => {
  const advance = (millis: number) => (clock === "test" ? TestClock.adjust(millis) : Effect.sleep(millis))

  layerTest(layer, { excludeTestServices: clock === "live", timeout: "30 seconds" })(name, (it) => {
    const orders = [
      ["first", "descending", "cat 30#1, bob 20#2, ann 20#3, zed 10#4, dan 10#5"],
      ["first", "ascending", "zed 10#1, dan 10#2, bob 20#3, ann 20#4, cat 30#5"],
      ["member", "descending", "cat 30#1, ann 20#2, bob 20#3, dan 10#4, zed 10#5"],
      ["member", "ascending", "dan 10#1, zed 10#2, ann 20#3, bob 20#4, cat 30#5"],
      ["competition", "descending", "cat 30#1, ann 20#2, bob 20#2, dan 10#4, zed 10#4"],
      ["competition", "ascending", "dan 10#1, zed 10#1, ann 20#3, bob 20#3, cat 30#5"],
      ["dense", "descending", "cat 30#1, ann 20#2, bob 20#2, dan 10#3, zed 10#3"],
      ["dense", "ascending", "dan 10#1, zed 10#1, ann 20#2, bob 20#2, cat 30#3"]
    ] as const

    for (const [ties, order, expected] of orders) {
      for (const score of ["number", "int64"] as const) {
        it.effect(`ranks by ${ties}, ${order}, of ${score}`, () =>
          Effect.gen(function* () {
            const boards = yield* Leaderboard
            const board: Board<Score> = fresh({ ties, order, score })
            const exact = (value: number) => (score === "int64" ? BigInt(value) : value)
            yield* fill(
              board,
              five.map(([member, value]) => [member, exact(value)])
            )
            const top = yield* boards.top(board)
            assert.strictEqual(lines(top), expected)
            // Every way to a rank gives the same.
            for (const entry of top) {
              assert.deepStrictEqual(yield* boards.rank(board, entry.member), entry)
              assert.strictEqual(yield* boards.score(board, entry.member), entry.score)
              assert.deepStrictEqual(yield* boards.around(board, entry.member, 0), [entry])
            }
            const members = top.map(({ member }) => member)
            assert.deepStrictEqual(yield* boards.many(board, members), top)
            const friends = yield* boards.friends(board, members)
            assert.deepStrictEqual(
              friends.map(({ place, ...entry }) => [entry, place]),
              top.map((entry) => [entry, entry.rank])
            )
            assert.deepStrictEqual(yield* walk(board, 2), members)
            assert.strictEqual(
              lines((yield* boards.range(board, { min: exact(11), max: exact(20) })).entries),
              lines(top.filter((entry) => entry.score === exact(20)))
            )
            assert.strictEqual(yield* boards.count(board, { max: exact(10) }), 2)
          })
        )
      }
    }

    it.effect("ranks by plan: ties by the bytes of the member, downwards", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = fresh({ ties: "plan" })
        yield* fill(board, [
          ["Zed", 100],
          ["alice", 100],
          ["bob", 100],
          ["top", 101]
        ])
        const expected = ["top", "bob", "alice", "Zed"]
        assert.strictEqual(lines(yield* boards.top(board)), "top 101#1, bob 100#2, alice 100#3, Zed 100#4")
        assert.deepStrictEqual(yield* walk(board, 1), expected)
        assert.strictEqual(lines(yield* boards.around(board, "alice", 1)), "bob 100#2, alice 100#3, Zed 100#4")
        assert.strictEqual(yield* boards.count(board, { min: 101 }), 1)
      })
    )

    it.effect("orders members by bytes, not by a locale and not by UTF-16", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = fresh({ ties: "member" })
        yield* fill(board, [
          ["\u{1F600}", 1],
          ["\u{FF5E}", 1],
          ["b", 1],
          ["B", 1],
          ["a b", 1],
          ["é", 1]
        ])
        const top = yield* boards.top(board)
        assert.deepStrictEqual(
          top.map(({ member }) => member),
          ["B", "a b", "b", "é", "\u{FF5E}", "\u{1F600}"]
        )
        assert.deepStrictEqual(
          yield* walk(board, 1),
          top.map(({ member }) => member)
        )
      })
    )

    it.effect("tells score and rank before and after each update, and whether it changed anything", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = fresh({})
        yield* fill(board, [
          ["x", 50],
          ["y", 20]
        ])
        const did = [
          yield* boards.add(board, "m", 10),
          yield* boards.add(board, "m", 99),
          yield* boards.set(board, "m", 30),
          yield* boards.set(board, "m", 30),
          yield* boards.best(board, "m", 29),
          yield* boards.best(board, "m", 60),
          yield* boards.increment(board, "m", -45),
          yield* boards.increment(board, "n", 7),
          yield* boards.increment(board, "n", 0),
          yield* boards.remove(board, "m"),
          yield* boards.remove(board, "m")
        ]
        assert.deepStrictEqual(did.map(changed), [
          "none -> 10#3",
          "10#3 == 10#3",
          "10#3 -> 30#2",
          "30#2 == 30#2",
          "30#2 == 30#2",
          "30#2 -> 60#1",
          "60#1 -> 15#3",
          "none -> 7#4",
          "7#4 == 7#4",
          "15#3 -> none",
          "none == none"
        ])
      })
    )

    it.effect("keeps the best of an ascending board: the lowest", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = fresh({ order: "ascending" })
        assert.strictEqual(changed(yield* boards.best(board, "m", 90)), "none -> 90#1")
        assert.strictEqual(changed(yield* boards.best(board, "m", 91)), "90#1 == 90#1")
        assert.strictEqual(changed(yield* boards.best(board, "m", 12.5)), "90#1 -> 12.5#1")
      })
    )

    it.effect("counts the instant of reaching anew only when the score changes", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = fresh({})
        yield* fill(board, [
          ["a", 5],
          ["b", 5],
          ["a", 5],
          ["c", 5]
        ])
        yield* boards.best(board, "a", 5)
        assert.strictEqual(lines(yield* boards.top(board)), "a 5#1, b 5#2, c 5#3")
        yield* fill(board, [
          ["a", 6],
          ["a", 5]
        ])
        assert.strictEqual(lines(yield* boards.top(board)), "b 5#1, c 5#2, a 5#3")
      })
    )

    it.effect("drops a score from the dense ranks with its last member", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = fresh({ ties: "dense" })
        yield* fill(board, [
          ["a", 30],
          ["b", 20],
          ["c", 20],
          ["d", 10]
        ])
        yield* boards.set(board, "b", 10)
        assert.strictEqual((yield* boards.rank(board, "d"))?.rank, 3)
        assert.strictEqual(changed(yield* boards.set(board, "c", 10)), "20#2 -> 10#2")
        yield* boards.remove(board, "a")
        assert.strictEqual(lines(yield* boards.top(board)), "b 10#1, c 10#1, d 10#1")
      })
    )

    it.effect("holds numbers exactly to plus and minus 2^53-1, and -0 as 0", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        for (const ties of ["first", "plan"] as const) {
          const board = ties === "plan" ? fresh({ ties }) : fresh({ ties })
          const most = Number.MAX_SAFE_INTEGER
          yield* fill(board, [
            ["a", most],
            ["b", most - 1],
            ["c", -most],
            ["d", -0],
            ["e", 0.1],
            ["f", -most + 1]
          ])
          const top = yield* boards.top(board)
          assert.deepStrictEqual(
            top.map(({ score }) => score),
            [most, most - 1, 0.1, 0, -most + 1, -most]
          )
          assert.isTrue(Object.is(top[3]!.score, 0))
          assert.strictEqual(yield* tagOf(boards.increment(board, "a", 1)), "ScoreOutOfRange")
          assert.strictEqual(yield* tagOf(boards.increment(board, "c", -1)), "ScoreOutOfRange")
          assert.strictEqual(yield* boards.score(board, "a"), most)
          assert.isTrue(Object.is((yield* boards.increment(board, "e", -0.1)).after?.score, 0))
        }
      })
    )

    it.effect("refuses scores that it cannot hold before anything is sent", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const [number, int64] = [fresh({}), fresh({ score: "int64" })]
        for (const score of [Number.NaN, Infinity, -Infinity, 2 ** 53, -(2 ** 53), 1e308, 1n as never]) {
          for (const write of [boards.add, boards.set, boards.best, boards.increment]) {
            assert.strictEqual(yield* tagOf(write(number, "m", score)), "ScoreOutOfRange")
          }
        }
        for (const score of [2n ** 63n, -(2n ** 63n) - 1n, 1 as never]) {
          assert.strictEqual(yield* tagOf(boards.set(int64, "m", score)), "ScoreOutOfRange")
        }
        assert.strictEqual(yield* tagOf(boards.count(number, { min: Number.NaN })), "ScoreOutOfRange")
        assert.strictEqual(yield* boards.count(number), 0)
      })
    )

    it.effect("holds whole numbers of 64 bits, adds to them exactly, and never beyond", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const most = 2n ** 63n - 1n
        for (const order of ["descending", "ascending"] as const) {
          const board = fresh({ score: "int64", order })
          yield* fill(board, [
            ["a", most],
            ["b", most - 1n],
            ["c", -most - 1n],
            ["d", 0n],
            ["e", 9_999_999_999n]
          ])
          const scores = (yield* boards.top(board)).map(({ score }) => score)
          const expected = [most, most - 1n, 9_999_999_999n, 0n, -most - 1n]
          assert.deepStrictEqual(scores, order === "descending" ? expected : expected.toReversed())
          assert.strictEqual(yield* tagOf(boards.increment(board, "a", 1n)), "ScoreOutOfRange")
          assert.strictEqual(yield* tagOf(boards.increment(board, "c", -1n)), "ScoreOutOfRange")
          assert.strictEqual((yield* boards.increment(board, "e", 1n)).after?.score, 10_000_000_000n)
          assert.strictEqual((yield* boards.increment(board, "e", -20_000_000_001n)).after?.score, -10_000_000_001n)
          assert.strictEqual((yield* boards.increment(board, "a", -most)).after?.score, 0n)
          assert.strictEqual((yield* boards.increment(board, "new", -most - 1n)).after?.score, -most - 1n)
          assert.strictEqual(yield* boards.count(board, { min: most - 1n, max: most }), 1)
        }
      })
    )

    it.effect("takes members as they are, and refuses what is none", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = fresh({})
        const good = ["a", "a:b", "{x}", "*", "12", "0000", "a b", "\u{1F600}", "x".repeat(256), "é".repeat(128)]
        yield* fill(
          board,
          good.map((member, i) => [member, -i])
        )
        assert.deepStrictEqual(
          (yield* boards.top(board)).map(({ member }) => member),
          good
        )
        const bad = ["", "x".repeat(257), "é".repeat(129), "\ud800", "a\r\nb", "a\0", "\u0085", "x".repeat(10_000_000)]
        for (const member of bad) {
          assert.strictEqual(yield* tagOf(boards.set(board, member, 1)), "InvalidMember")
          assert.strictEqual(yield* tagOf(boards.remove(board, member)), "InvalidMember")
          assert.strictEqual(yield* tagOf(boards.rank(board, member)), "InvalidMember")
          assert.strictEqual(yield* tagOf(boards.around(board, member)), "InvalidMember")
        }
      })
    )

    it.effect("refuses a board whose parts are no key", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        for (const part of ["", "a:b", "a}{b", "*", "..", "x y", "a\0", "x".repeat(70_000)]) {
          const board = Leaderboard.within(fresh({}), part)
          assert.strictEqual(yield* tagOf(boards.set(board, "m", 1)), "InvalidBoard")
          assert.strictEqual(yield* tagOf(boards.top(board)), "InvalidBoard")
        }
      })
    )

    it.effect("refuses limits beyond the cap, and gives empty pages beyond the end", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = fresh({})
        yield* fill(board, five)
        for (const limit of [0, -1, -7, 101, 1.5, Number.NaN, Infinity, 2 ** 53]) {
          assert.strictEqual(yield* tagOf(boards.top(board, limit)), "InvalidPage")
          assert.strictEqual(yield* tagOf(boards.range(board, {}, { limit })), "InvalidPage")
        }
        for (const offset of [-1, 0.5, Number.NaN, 2 ** 53]) {
          assert.strictEqual(yield* tagOf(boards.page(board, { offset })), "InvalidPage")
        }
        for (const radius of [-1, 50, 0.5]) {
          assert.strictEqual(yield* tagOf(boards.around(board, "ann", radius)), "InvalidPage")
        }
        for (const after of ["", "!", "bm90", "x".repeat(100_000)]) {
          assert.strictEqual(yield* tagOf(boards.page(board, { after })), "InvalidPage")
        }
        const many = Array.from({ length: limits.members + 1 }, (_, i) => String(i))
        assert.strictEqual(yield* tagOf(boards.many(board, many)), "InvalidPage")
        for (const offset of [5, 100, Number.MAX_SAFE_INTEGER]) {
          const page = yield* boards.page(board, { offset, limit: 100 })
          assert.deepStrictEqual(page, { entries: [], total: 5, next: undefined })
        }
        assert.deepStrictEqual((yield* boards.range(board, { min: 21, max: 11 })).entries, [])
        assert.strictEqual(yield* boards.count(board, { min: 21, max: 11 }), 0)
        assert.deepStrictEqual((yield* boards.page(fresh({}))).entries, [])
      })
    )

    it.effect("answers for absent members, and skips them among many", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = fresh({ ties: "competition" })
        yield* fill(board, five)
        assert.isUndefined(yield* boards.rank(board, "eve"))
        assert.isUndefined(yield* boards.score(board, "eve"))
        assert.isUndefined(yield* boards.percentile(board, "eve"))
        assert.deepStrictEqual(yield* boards.around(board, "eve"), [])
        const many = yield* boards.many(board, ["dan", "eve", "cat"])
        assert.deepStrictEqual(many[1], undefined)
        assert.strictEqual(lines([many[2]!, many[0]!]), "cat 30#1, dan 10#4")
        const friends = yield* boards.friends(board, ["zed", "eve", "dan", "ann", "zed"])
        assert.deepStrictEqual(
          friends.map(({ member, place, rank }) => [member, rank, place]),
          [
            ["ann", 2, 1],
            ["dan", 4, 2],
            ["zed", 4, 2]
          ]
        )
      })
    )

    it.effect("tells what share of the others is not before a member", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const [first, dense] = [fresh({}), fresh({ ties: "dense" })]
        yield* fill(first, five)
        yield* fill(dense, five)
        assert.strictEqual(yield* boards.percentile(first, "cat"), 100)
        assert.strictEqual(yield* boards.percentile(first, "ann"), 50)
        assert.strictEqual(yield* boards.percentile(first, "dan"), 0)
        assert.strictEqual(yield* boards.percentile(dense, "ann"), 75)
        assert.strictEqual(yield* boards.percentile(dense, "dan"), 25)
        yield* boards.remove(first, "cat")
        const alone = fresh({})
        yield* boards.set(alone, "m", 1)
        assert.strictEqual(yield* boards.percentile(alone, "m"), 100)
      })
    )

    for (const ties of ["first", "member", "plan"] as const) {
      it.effect(`turns pages by cursor while members come and go, by ${ties}`, () =>
        Effect.gen(function* () {
          const boards = yield* Leaderboard
          const board: Board<number> = ties === "plan" ? fresh({ ties }) : fresh({ ties })
          // Half of them in one tie, over which the pages break.
          const members = Array.from({ length: 60 }, (_, i) => `m${String(i).padStart(2, "0")}`)
          yield* fill(
            board,
            members.map((member, i) => [member, i < 30 ? 7 : i])
          )
          const all = yield* walk(board, 100)
          const gone = new Set<string>()
          let n = 0
          const seen = yield* walk(
            board,
            7,
            Effect.gen(function* () {
              // The last of the page before, where the next one begins, leaves; another comes in before it.
              const last = all[Math.min(all.length, 7 * (n + 1)) - 1]!
              gone.add(last)
              yield* boards.remove(board, last)
              yield* boards.set(board, `new${n++}`, 1_000 + n)
            })
          )
          assert.deepStrictEqual(seen, all)
          assert.isAbove(gone.size, 5)
        })
      )
    }

    it.effect("applies an increment with an id once", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = fresh({ ties: "competition", score: "int64" })
        yield* fill(board, [["x", 50n]])
        const operation = "match-17_ann"
        const first = yield* boards.increment(board, "ann", 5n, { operation })
        yield* boards.set(board, "x", 1n)
        assert.deepStrictEqual(yield* boards.increment(board, "ann", 5n, { operation }), first)
        assert.strictEqual(changed(first), "none -> 5#2")
        assert.strictEqual(changed(yield* boards.increment(board, "ann", 5n, { operation: "other" })), "5#1 -> 10#1")
        assert.strictEqual(changed(yield* boards.increment(board, "ann", 5n, { operation: "again" })), "10#1 -> 15#1")
        const known = yield* boards.increment(board, "ann", 5n, { operation: "again" })
        assert.strictEqual(changed(known), "10#1 -> 15#1")
        assert.strictEqual(yield* tagOf(boards.increment(board, "ann", 6n, { operation })), "OperationReused")
        assert.strictEqual(yield* tagOf(boards.increment(board, "bob", 5n, { operation })), "OperationReused")
        for (const bad of ["", "a:b", "{x}", "x".repeat(65)]) {
          assert.strictEqual(yield* tagOf(boards.increment(board, "ann", 1n, { operation: bad })), "InvalidOperation")
        }
        assert.strictEqual(yield* boards.score(board, "ann"), 15n)
      })
    )

    it.effect("loses no update of many at once", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = fresh({})
        const changes = yield* Effect.forEach(
          Array.from({ length: 200 }, (_, i) => i),
          (i) => boards.increment(board, `m${i % 4}`, 1),
          { concurrency: 50 }
        )
        // Each saw its own step: before and after are of one instant.
        for (const { after, before } of changes) assert.strictEqual(after!.score - (before?.score ?? 0), 1)
        assert.deepStrictEqual(
          (yield* boards.top(board)).map(({ score }) => score),
          [50, 50, 50, 50]
        )
      })
    )

    const seasonal = (keep: number) => fresh({ seasons: { keep } })

    it.effect("takes writes only while a season is open, and only for that one when asked", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = seasonal(60_000)
        assert.strictEqual(yield* tagOf(boards.set(board, "m", 1)), "SeasonClosed")
        yield* boards.open(board, "s1")
        yield* boards.open(board, "s1")
        assert.strictEqual(yield* tagOf(boards.open(board, "s2")), "SeasonOpen")
        yield* boards.set(board, "m", 1, { season: "s1" })
        assert.strictEqual(yield* tagOf(boards.set(board, "m", 2, { season: "s0" })), "SeasonClosed")
        yield* boards.close(board, "s1")
        for (const write of [boards.add, boards.set, boards.best, boards.increment]) {
          assert.strictEqual(yield* tagOf(write(board, "m", 2)), "SeasonClosed")
        }
        assert.strictEqual(yield* tagOf(boards.remove(board, "m")), "SeasonClosed")
        assert.strictEqual(yield* tagOf(boards.open(board, "s1")), "SeasonClosed")
        yield* boards.open(board, "s2")
        assert.strictEqual(yield* tagOf(boards.set(board, "m", 2, { season: "s1" })), "SeasonClosed")
        assert.strictEqual(changed(yield* boards.set(board, "m", 3)), "none -> 3#1")
        for (const bad of ["", "a:b", "{x}", "x".repeat(65)]) {
          assert.strictEqual(yield* tagOf(boards.open(board, bad)), "InvalidSeason")
        }
      })
    )

    it.effect("knows an operation in its own season only, also when that is closed", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = seasonal(60_000)
        const add = (by: number, season?: string) =>
          boards.increment(board, "ann", by, { operation: "match-17", ...(season === undefined ? {} : { season }) })
        yield* boards.open(board, "s1")
        assert.strictEqual(changed(yield* add(5)), "none -> 5#1")
        yield* boards.close(board, "s1")
        assert.strictEqual(changed(yield* add(5)), "none -> 5#1")
        assert.strictEqual(yield* tagOf(add(6)), "OperationReused")
        yield* boards.open(board, "s2")
        // Bound to its season it is known, and not counted in the next one.
        assert.strictEqual(changed(yield* add(5, "s1")), "none -> 5#1")
        assert.strictEqual(changed(yield* add(3)), "none -> 3#1")
        assert.strictEqual(changed(yield* add(3)), "none -> 3#1")
        assert.strictEqual(yield* tagOf(add(5)), "OperationReused")
        assert.strictEqual(yield* boards.score(board, "ann"), 3)
      })
    )

    it.effect("freezes a result once, whole and for good", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        for (const ties of ["first", "dense"] as const) {
          const board = fresh({ ties, seasons: { keep: 60_000 } })
          const frozen = Leaderboard.season(board, "s1")
          assert.strictEqual(yield* tagOf(boards.close(board, "s1")), "SeasonNotFound")
          yield* boards.open(board, "s1")
          assert.strictEqual(yield* tagOf(boards.top(frozen)), "SeasonNotFound")
          yield* fill(board, five)
          const top = yield* boards.top(board)
          const [one, other] = yield* Effect.all([boards.close(board, "s1"), boards.close(board, "s1")], {
            concurrency: 2
          })
          assert.deepStrictEqual(one, other)
          assert.include({ ...one }, { id: "s1", state: "closed", members: 5, rewarded: 0 })
          assert.deepStrictEqual(yield* boards.top(board), [])
          yield* boards.open(board, "s2")
          yield* boards.set(board, "ann", 1_000)
          assert.deepStrictEqual(yield* boards.close(board, "s1"), one)
          assert.deepStrictEqual(yield* boards.top(frozen), top)
          assert.strictEqual((yield* boards.rank(frozen, "ann"))?.score, 20)
          assert.deepStrictEqual(
            yield* walk(frozen as never, 2),
            top.map(({ member }) => member)
          )
          assert.deepStrictEqual(
            (yield* boards.seasons(board)).map(({ id, state }) => `${id} ${state}`),
            ["s1 closed", "s2 open"]
          )
        }
      })
    )

    it.effect("freezes a season in which nobody played", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = seasonal(60_000)
        yield* boards.open(board, "s1")
        assert.strictEqual((yield* boards.close(board, "s1")).members, 0)
        assert.deepStrictEqual(yield* boards.top(Leaderboard.season(board, "s1")), [])
        assert.strictEqual((yield* boards.settle(board, "s1", () => Effect.void)).state, "settled")
      })
    )

    it.effect("goes on with rewards where it was cut off, with the same ids", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = seasonal(60_000)
        yield* boards.open(board, "s1")
        yield* fill(
          board,
          Array.from({ length: 230 }, (_, i) => [`m${i}`, -i] as const)
        )
        assert.strictEqual(yield* tagOf(boards.settle(board, "s1", () => Effect.void)), "SeasonNotFound")
        yield* boards.close(board, "s1")
        const given: Array<Reward<number>> = []
        const hand = (limit: number) => (reward: Reward<number>) =>
          given.length === limit ? Effect.fail("cut off" as const) : Effect.sync(() => void given.push(reward))
        assert.strictEqual(yield* Effect.flip(boards.settle(board, "s1", hand(150))), "cut off")
        assert.include({ ...(yield* boards.seasons(board))[0] }, { state: "closed", rewarded: 100 })
        assert.include({ ...(yield* boards.settle(board, "s1", hand(Infinity))) }, { state: "settled", rewarded: 230 })
        assert.strictEqual(given.length, 230 + 50)
        const ids = new Set(given.map(({ id }) => id))
        assert.strictEqual(ids.size, 230)
        assert.deepStrictEqual(
          given.slice(-130).map(({ rank }) => rank),
          Array.from({ length: 130 }, (_, i) => 101 + i)
        )
        yield* boards.settle(board, "s1", () => Effect.die("settled already"))
      })
    )

    it.effect("keeps a settled season for its time, and an unsettled one until it is", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = seasonal(300)
        yield* boards.open(board, "s1")
        yield* fill(board, five)
        yield* boards.close(board, "s1")
        yield* boards.open(board, "s2")
        yield* advance(400)
        const frozen = Leaderboard.season(board, "s1")
        const top: Array<string> = []
        const keep = ({ member, rank }: Reward<number>) => Effect.sync(() => void top.push(`${member}#${rank}`))
        yield* boards.settle(board, "s1", keep, { top: 2 })
        assert.deepStrictEqual(top, ["cat#1", "bob#2"])
        assert.strictEqual(yield* boards.count(frozen), 5)
        yield* advance(400)
        assert.strictEqual(yield* tagOf(boards.count(frozen)), "SeasonNotFound")
        assert.deepStrictEqual(
          (yield* boards.seasons(board)).map(({ id }) => id),
          ["s2"]
        )
      })
    )

    it.effect("resets by the day of a zone, catches up once, and does not go back", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = seasonal(60_000)
        const given: Array<string> = []
        const note = ({ id }: Reward<number>) => Effect.sync(() => void given.push(id.split("/").slice(1).join("/")))
        const zone = DateTime.zoneMakeNamedUnsafe("Asia/Shanghai")
        const at = (instant: string) => boards.reset(board, { every: "day", zone }, DateTime.makeUnsafe(instant), note)
        assert.deepStrictEqual(yield* at("2026-11-23T15:59:59Z"), {
          open: "2026-11-23",
          closed: undefined,
          settled: []
        })
        yield* boards.set(board, "ann", 1)
        assert.deepStrictEqual((yield* at("2026-11-23T15:59:59.999Z")).closed, undefined)
        const twice = yield* Effect.all([at("2026-11-23T16:00:00Z"), at("2026-11-23T16:00:01Z")], { concurrency: 2 })
        assert.deepStrictEqual(
          twice.map(({ open }) => open),
          ["2026-11-24", "2026-11-24"]
        )
        yield* boards.set(board, "bob", 2)
        // Three days without a reset.
        const late = yield* at("2026-11-27T12:00:00Z")
        assert.deepStrictEqual(late, { open: "2026-11-27", closed: "2026-11-24", settled: ["2026-11-24"] })
        assert.deepStrictEqual((yield* at("2026-11-25T12:00:00Z")).open, "2026-11-27")
        assert.deepStrictEqual([...new Set(given)], ["2026-11-23/ann", "2026-11-24/bob"])
      })
    )

    const day = { every: "day" } as const
    const nothing = () => Effect.void

    it.effect("closes a season once and gives each reward once, by five resets at the same time", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = seasonal(60_000)
        const given: Array<string> = []
        const note = ({ id }: Reward<number>) =>
          Effect.andThen(
            Effect.yieldNow,
            Effect.sync(() => void given.push(id))
          )
        const reset = boards.reset(board, day, DateTime.makeUnsafe("2026-11-24T00:00:00Z"), note)
        yield* boards.reset(board, day, DateTime.makeUnsafe("2026-11-23T00:00:00Z"), nothing)
        const members = Array.from({ length: 150 }, (_, i) => [`m${i}`, i] as const)
        yield* Effect.forEach(members, ([member, score]) => boards.set(board, member, score), { concurrency: 50 })
        const resets = yield* Effect.all(
          Array.from({ length: 5 }, () => reset),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          resets.map(({ open }) => open),
          Array.from({ length: 5 }, () => "2026-11-24")
        )
        assert.deepStrictEqual(
          resets.flatMap(({ closed = [] }) => closed),
          ["2026-11-23"]
        )
        assert.deepStrictEqual(
          resets.flatMap(({ settled }) => settled),
          ["2026-11-23"]
        )
        assert.strictEqual(given.length, 150)
        assert.strictEqual(new Set(given).size, 150)
      })
    )

    it.effect("lets one settler at a time have a season: another waits, and goes on when the first one fails", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        for (const isFailing of [false, true]) {
          const board = seasonal(60_000)
          yield* boards.open(board, "s1")
          yield* fill(board, five)
          yield* boards.close(board, "s1")
          const [begun, ended] = [yield* Deferred.make<void>(), yield* Deferred.make<void, "down">()]
          const first = yield* Effect.forkChild(
            boards.settle(board, "s1", () => Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(ended)))
          )
          yield* Deferred.await(begun)
          const given: Array<string> = []
          const note = ({ member }: Reward<number>) => Effect.sync(() => void given.push(member))
          // A reset does not wait for it.
          const { settled } = yield* boards.reset(board, day, DateTime.makeUnsafe("2026-11-23T00:00:00Z"), note)
          assert.deepStrictEqual([settled, given], [[], []])
          const second = yield* Effect.forkChild(boards.settle(board, "s1", note))
          yield* isFailing ? Deferred.fail(ended, "down") : Deferred.succeed(ended, undefined)
          assert.strictEqual((yield* Fiber.await(first))._tag, isFailing ? "Failure" : "Success")
          const done = yield* Effect.raceFirst(Fiber.join(second), Effect.forever(advance(500)))
          assert.include({ ...done }, { state: "settled", rewarded: 5 })
          assert.deepStrictEqual(given, isFailing ? ["cat", "bob", "ann", "zed", "dan"] : [])
        }
      })
    )

    it.effect("ends in the later of two seasons that are reset to at the same time", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        for (let i = 0; i < 10; i++) {
          const board = seasonal(60_000)
          const at = (date: string) => boards.reset(board, day, DateTime.makeUnsafe(`${date}T00:00:00Z`), nothing)
          yield* at("2026-11-24")
          yield* boards.set(board, "ann", 1)
          const dates = i % 2 === 0 ? ["2026-11-25", "2026-11-26"] : ["2026-11-26", "2026-11-25"]
          const resets = yield* Effect.forEach(dates, at, { concurrency: 2 })
          assert.strictEqual((yield* at("2026-11-25")).open, "2026-11-26")
          assert.include(
            resets.map(({ closed }) => closed),
            "2026-11-24"
          )
        }
      })
    )

    it.effect("leaves a season that was closed by hand closed until its period is over, and opens no earlier one", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = seasonal(60_000)
        const given: Array<string> = []
        const note = ({ member, season }: Reward<number>) => Effect.sync(() => void given.push(`${season} ${member}`))
        const at = (date: string) => boards.reset(board, day, DateTime.makeUnsafe(`${date}T10:00:00Z`), note)
        yield* at("2026-11-24")
        yield* boards.set(board, "ann", 1)
        yield* boards.close(board, "2026-11-24")
        assert.deepStrictEqual(yield* at("2026-11-24"), {
          open: undefined,
          closed: undefined,
          settled: ["2026-11-24"]
        })
        assert.deepStrictEqual(yield* at("2026-11-23"), { open: undefined, closed: undefined, settled: [] })
        assert.deepStrictEqual(yield* at("2026-11-25"), { open: "2026-11-25", closed: undefined, settled: [] })
        assert.deepStrictEqual(given, ["2026-11-24 ann"])
      })
    )

    it.effect("keeps a season for ever when asked to, and refuses to keep one for no time", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = fresh({ seasons: { keep: Duration.infinity } })
        yield* boards.open(board, "s1")
        yield* fill(board, five)
        yield* boards.close(board, "s1")
        assert.include({ ...(yield* boards.settle(board, "s1", nothing)) }, { state: "settled", rewarded: 5 })
        yield* advance(50)
        yield* boards.settle(board, "s1", () => Effect.die("settled already"))
        assert.strictEqual(yield* boards.count(Leaderboard.season(board, "s1")), 5)
        for (const keep of [0, -1, Duration.negativeInfinity]) {
          assert.strictEqual(yield* tagOf(boards.open(fresh({ seasons: { keep } }), "s1")), "InvalidBoard")
        }
      })
    )

    it.effect("settles at the next reset what was closed and not settled", () =>
      Effect.gen(function* () {
        const boards = yield* Leaderboard
        const board = seasonal(60_000)
        const period = { every: "week" } as const
        const at = <E>(instant: string, reward: (reward: Reward<number>) => Effect.Effect<void, E>) =>
          boards.reset(board, period, DateTime.makeUnsafe(instant), reward)
        yield* at("2026-11-29T23:59:59Z", () => Effect.void)
        yield* boards.set(board, "ann", 1)
        assert.strictEqual(yield* Effect.flip(at("2026-11-30T00:00:00Z", () => Effect.fail("down" as const))), "down")
        yield* boards.set(board, "bob", 1)
        const again = yield* at("2026-11-30T00:01:00Z", () => Effect.void)
        assert.deepStrictEqual(again, { open: "2026-11-30", closed: undefined, settled: ["2026-11-23"] })
        assert.strictEqual(lines(yield* boards.top(board)), "bob 1#1")
      })
    )
  })
}

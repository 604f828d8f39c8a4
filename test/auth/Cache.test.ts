import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Cache from "../../src/auth/internal/cache.ts"
import { begin, now, open, signWith, verdict } from "./Forge.ts"

const kept = (cache: Cache.Cache<number>, keys: ReadonlyArray<string>) =>
  keys.filter((key) => cache.get(key) !== undefined)

describe("a cache", () => {
  it("forgets what was not asked for the longest, and never has more than its size", () => {
    const cache = Cache.make<number>(3)
    for (const [index, key] of ["a", "b", "c"].entries()) cache.set(key, index)
    assert.strictEqual(cache.get("a"), 0)
    cache.set("d", 3)
    assert.deepStrictEqual(kept(cache, ["a", "b", "c", "d"]), ["a", "c", "d"])
    for (let index = 0; index < 1_000; index++) cache.set(`n${index}`, index)
    assert.deepStrictEqual(
      kept(
        cache,
        Array.from({ length: 1_000 }, (_, index) => `n${index}`)
      ),
      ["n997", "n998", "n999"]
    )
  })

  it("of size 0 remembers nothing", () => {
    const cache = Cache.make<number>(0)
    cache.set("a", 1)
    assert.isUndefined(cache.get("a"))
  })

  it("forgets one, and all", () => {
    const cache = Cache.make<number>(3)
    for (const key of ["a", "b", "c"]) cache.set(key, 1)
    cache.delete("a")
    assert.deepStrictEqual(kept(cache, ["a", "b", "c"]), ["b", "c"])
    cache.clear()
    assert.deepStrictEqual(kept(cache, ["a", "b", "c"]), [])
  })
})

describe("tokens that were verified", () => {
  it.effect("are known at once, up to so many", () =>
    Effect.gen(function* () {
      yield* begin
      const tokens = yield* open({ cacheSize: 2 })
      const texts = yield* Effect.forEach([1, 2, 3], () => signWith(tokens))
      for (const text of texts) {
        assert.isUndefined(tokens.recall(text))
        const verified = yield* tokens.verify(text)
        assert.strictEqual(tokens.recall(text), verified)
      }
      assert.deepStrictEqual(
        texts.map((text) => tokens.recall(text) !== undefined),
        [false, true, true]
      )
      assert.strictEqual(yield* verdict(tokens, texts[0]!), "good")
    })
  )

  it.effect("are known by their whole text", () =>
    Effect.gen(function* () {
      yield* begin
      const tokens = yield* open()
      const text = yield* signWith(tokens)
      yield* tokens.verify(text)
      for (const other of [text.slice(0, -1), `${text} `, text.toUpperCase(), ""])
        assert.isUndefined(tokens.recall(other))
    })
  )

  it.effect("are looked at by the clock, which may go back", () =>
    Effect.gen(function* () {
      yield* begin
      const tokens = yield* open()
      const text = yield* signWith(tokens)
      yield* tokens.verify(text)
      yield* TestClock.setTime(now + 905_000)
      assert.isUndefined(tokens.recall(text))
      yield* TestClock.setTime(now)
      assert.isUndefined(tokens.recall(text))
      assert.strictEqual(yield* verdict(tokens, text), "good")
    })
  )
})

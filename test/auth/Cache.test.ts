import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Cache from "../../src/auth/internal/cache.ts"
import { begin, now, open, signWith, verdict } from "./Forge.ts"

const kept = (cache: Cache.Cache<number>, keys: ReadonlyArray<string>) =>
  keys.filter((key) => cache.get(key) !== undefined)

describe("a cache", () => {
  it("remembers at least half of its size, of what was asked for last, and never more than its size", () => {
    const names = Array.from({ length: 1_000 }, (_, index) => `n${index}`)
    for (const size of [1, 2, 3, 4, 7, 100]) {
      const cache = Cache.make<number>(size)
      for (const [index, name] of names.entries()) {
        cache.set(name, index)
        const half = names.slice(Math.max(0, index + 1 - Math.floor(size / 2)), index + 1)
        assert.deepStrictEqual(kept(cache, half), half)
      }
      assert.isAtMost(kept(cache, names).length, size)
    }
  })

  it("keeps what is asked for, whatever comes in between", () => {
    const cache = Cache.make<number>(4)
    cache.set("a", 1)
    for (let index = 0; index < 1_000; index++) {
      cache.set(`n${index}`, index)
      assert.strictEqual(cache.get("a"), 1)
    }
  })

  it("tells tokens of one end from one another", () => {
    const cache = Cache.make<number>(4)
    const end = "x".repeat(12)
    cache.set(`a${end}`, 1)
    assert.isUndefined(cache.get(`b${end}`))
    assert.isUndefined(cache.get(end))
    assert.strictEqual(cache.get(`a${end}`), 1)
    cache.set(`b${end}`, 2)
    assert.strictEqual(cache.get(`b${end}`), 2)
    assert.isUndefined(cache.get(`a${end}`))
  })

  it("of size 0 remembers nothing", () => {
    const cache = Cache.make<number>(0)
    cache.set("a", 1)
    assert.isUndefined(cache.get("a"))
  })

  it("forgets one, and all", () => {
    const cache = Cache.make<number>(6)
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
      const tokens = yield* open({ cacheSize: 4 })
      const texts = yield* Effect.forEach(Array.from({ length: 10 }), () => signWith(tokens))
      for (const text of texts) {
        assert.isUndefined(tokens.recall(text))
        const verified = yield* tokens.verify(text)
        assert.strictEqual(tokens.recall(text), verified)
      }
      const known = texts.filter((text) => tokens.recall(text) !== undefined)
      assert.isAtMost(known.length, 4)
      assert.includeMembers(known, texts.slice(-2))
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

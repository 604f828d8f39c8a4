// The buffer between the lines and what they are written to, with a target that the test answers for.
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { makeSink, type Outcome, type Target } from "../../src/logger/internal/sink.ts"

interface Call {
  readonly rest: string
  readonly lines: string
  readonly answer: (outcome?: Outcome) => void
}

/** A sink whose writes the test answers, one after the other. */
const makeControlled = Effect.gen(function* () {
  const calls: Array<Call> = []
  const losses: Array<string> = []
  const controlled: Target = {
    write: (rest, lines) =>
      new Promise((resolve) => {
        const answer = (outcome?: Outcome) => resolve(outcome ?? { written: rest.length + lines.length })
        calls.push({ rest: rest.toString(), lines: lines.toString(), answer })
      })
  }
  const sink = yield* makeSink(controlled, (lines, code, first) =>
    losses.push(`${lines} ${code}${first ? " first" : ""}`)
  )
  /** Answers the write under way, and lets the sink take note. */
  const answer = (outcome?: Outcome) =>
    Effect.promise(async () => {
      calls.shift()!.answer(outcome)
      await Promise.resolve()
      await Promise.resolve()
    })
  /** Logs lines and lets 100 ms pass. */
  const write = (...lines: ReadonlyArray<string>) =>
    Effect.andThen(
      Effect.sync(() => lines.forEach((line) => sink.write(line))),
      TestClock.adjust("100 millis")
    )
  return { sink, calls, losses, answer, write }
})

describe("a sink", () => {
  it.effect("writes the lines of 100 ms together", () =>
    Effect.gen(function* () {
      const { answer, calls, sink } = yield* makeControlled
      sink.write("a\n")
      yield* TestClock.adjust("60 millis")
      sink.write("b\n")
      assert.lengthOf(calls, 0)
      yield* TestClock.adjust("40 millis")
      assert.deepStrictEqual(
        calls.map(({ lines }) => lines),
        ["a\nb\n"]
      )
      sink.write("c\n")
      yield* TestClock.adjust("1 second")
      assert.lengthOf(calls, 1)
      yield* answer()
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(calls[0]?.lines, "c\n")
      yield* answer()
    })
  )

  it.effect("writes 64 KB at once, and goes on while there are more", () =>
    Effect.gen(function* () {
      const { answer, calls, sink } = yield* makeControlled
      const line = `${"x".repeat(1023)}\n`
      for (let count = 0; count < 200; count++) sink.write(line)
      assert.strictEqual(calls[0]?.lines.length, 64 * 1024)
      yield* answer()
      assert.strictEqual(calls[0]?.lines.length, 136 * 1024)
      yield* answer()
      assert.lengthOf(calls, 0)
    })
  )

  it.effect("writes what is left when its scope closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { answer, calls, sink } = yield* Scope.provide(makeControlled, scope)
      sink.write("a\n")
      yield* TestClock.adjust("100 millis")
      sink.write("b\n")
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* answer()
      yield* Effect.promise(() => Promise.resolve())
      assert.strictEqual(calls[0]?.lines, "b\n")
      assert.isUndefined(closing.pollUnsafe())
      yield* answer()
      yield* Fiber.join(closing)
    })
  )

  it.effect("does not hold up the end of its scope for more than 2 s", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { calls, sink } = yield* Scope.provide(makeControlled, scope)
      sink.write("a\n")
      yield* TestClock.adjust("100 millis")
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      assert.isDefined(closing.pollUnsafe())
      calls[0]?.answer()
    })
  )

  it.effect("counts the lines that it cannot write, and tells the first of each time", () =>
    Effect.gen(function* () {
      const { answer, calls, losses, write } = yield* makeControlled
      yield* write("a\n", "b\n")
      yield* answer({ written: 0, code: "ENOSPC" })
      yield* write("c\n")
      yield* answer({ written: 0, code: "ENOSPC" })
      assert.deepStrictEqual(losses, ["2 ENOSPC first", "1 ENOSPC"])
      yield* write("d\n")
      assert.strictEqual(calls[0]?.lines, "d\n")
      yield* answer()
      yield* write("e\n")
      yield* answer({ written: 0, code: "EIO" })
      assert.deepStrictEqual(losses.slice(2), ["1 EIO first"])
    })
  )

  it.effect("completes a line that was cut before it writes others", () =>
    Effect.gen(function* () {
      const { answer, calls, losses, write } = yield* makeControlled
      yield* write("aaaa\n", "bbbb\n", "cccc\n", "dddd\n")
      yield* answer({ written: 7, code: "ENOSPC" })
      assert.deepStrictEqual(losses, ["2 ENOSPC first"])
      yield* write("eeee\n")
      assert.deepInclude(calls[0], { rest: "bb\n", lines: "eeee\n" })
      // Cut again within the rest: nothing of the rest is lost, all of the new.
      yield* answer({ written: 1, code: "ENOSPC" })
      assert.deepStrictEqual(losses, ["2 ENOSPC first", "1 ENOSPC"])
      // Tried again and again without a new line.
      for (let count = 0; count < 3; count++) {
        yield* TestClock.adjust("100 millis")
        assert.deepInclude(calls[0], { rest: "b\n", lines: "" })
        yield* answer({ written: 0, code: "ENOSPC" })
      }
      yield* TestClock.adjust("100 millis")
      yield* answer()
      yield* write("ffff\n", "gggg\n")
      // Cut between two lines: there is no rest.
      yield* answer({ written: 5, code: "ENOSPC" })
      assert.strictEqual(losses.at(-1), "1 ENOSPC first")
      yield* write("hhhh\n")
      assert.deepInclude(calls[0], { rest: "", lines: "hhhh\n" })
      yield* answer()
    })
  )

  it.effect("keeps 8 MB while it waits, and counts the rest", () =>
    Effect.gen(function* () {
      const { answer, losses, sink } = yield* makeControlled
      const line = `${"x".repeat(1024 * 1024 - 1)}\n`
      for (let count = 0; count < 12; count++) sink.write(line)
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(losses, ["3 too slow first"])
      yield* answer()
      yield* answer()
      sink.write("a\n")
      yield* TestClock.adjust("100 millis")
      yield* answer()
      assert.lengthOf(losses, 1)
    })
  )
})

// What becomes of the lines of a process that ends, is stopped, is killed, or whose reader is gone or asleep.
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { linesOf, temporaryFolder } from "./support.ts"

/** Starts test/logger/program.ts. It is gone with the scope. */
const start = (file: string, task: string, count: number) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, ["--conditions=xdooria-source", "test/logger/program.ts", file, task, `${count}`], {
        stdio: ["ignore", "pipe", "pipe", "ipc"]
      })
    ),
    (child) => Effect.sync(() => void child.kill("SIGKILL"))
  )

const ended = (child: ChildProcess) =>
  Effect.callback<number | string>((resume) => {
    child.once("close", (code, signal) => resume(Effect.succeed(code ?? signal ?? "")))
  })

const told = (child: ChildProcess, isWanted: (message: unknown) => boolean) =>
  Effect.callback<void>((resume) => {
    child.on("message", (message) => {
      if (isWanted(message)) resume(Effect.void)
    })
  })

const textOf = (stream: NodeJS.ReadableStream | null) => {
  const chunks: Array<Buffer> = []
  stream?.on("data", (chunk: Buffer) => chunks.push(chunk))
  return () => Buffer.concat(chunks).toString()
}

const numbersOf = (lines: ReadonlyArray<string>) => lines.map((line) => (JSON.parse(line) as { n: number }).n)

const all = (count: number) => Array.from({ length: count }).map((_, index) => index)

describe("a process", () => {
  it.live("that ends has written every line, in order, to stdout and to the file", () =>
    Effect.gen(function* () {
      const file = join(yield* temporaryFolder, "game.log")
      const child = yield* start(file, "burst", 20_000)
      const stdout = textOf(child.stdout)
      assert.strictEqual(yield* ended(child), 0)
      assert.deepStrictEqual(numbersOf(linesOf(file)), all(20_000))
      assert.strictEqual(stdout(), readFileSync(file, "utf8"))
    })
  )

  it.live("that is asked to stop has written every line", () =>
    Effect.gen(function* () {
      const file = join(yield* temporaryFolder, "game.log")
      const child = yield* start(file, "wait", 1000)
      textOf(child.stdout)
      yield* told(child, (message) => message === "logged")
      child.kill("SIGTERM")
      yield* ended(child)
      assert.deepStrictEqual(numbersOf(linesOf(file)), all(1000))
    })
  )

  it.live("that is killed has lost 64 KB at most, and no line is half", () =>
    Effect.gen(function* () {
      const file = join(yield* temporaryFolder, "game.log")
      const child = yield* start(file, "tick", 0)
      textOf(child.stdout)
      yield* told(child, (message) => message === 1000)
      child.kill("SIGKILL")
      assert.strictEqual(yield* ended(child), "SIGKILL")
      const text = readFileSync(file, "utf8")
      assert.isTrue(text.endsWith("\n"))
      const numbers = numbersOf(linesOf(file))
      assert.deepStrictEqual(numbers, all(numbers.length))
      const lineLength = text.length / numbers.length
      assert.isAtLeast(numbers.length, 1000 - 65_536 / lineLength)
    })
  )

  it.live("whose reader is gone goes on, and says so once", () =>
    Effect.gen(function* () {
      const file = join(yield* temporaryFolder, "game.log")
      const child = yield* start(file, "burst", 5000)
      const stderr = textOf(child.stderr)
      child.stdout?.destroy()
      assert.strictEqual(yield* ended(child), 0)
      assert.deepStrictEqual(numbersOf(linesOf(file)), all(5000))
      assert.strictEqual(stderr(), "xdooria: log lines are lost, stdout fails (EPIPE)\n")
    })
  )

  it.live("whose reader sleeps goes on, and ends when it is asked to", () =>
    Effect.gen(function* () {
      const file = join(yield* temporaryFolder, "game.log")
      const child = yield* start(file, "wait", 80_000)
      const stderr = textOf(child.stderr)
      child.stdout?.pause()
      yield* told(child, (message) => message === "logged")
      child.kill("SIGTERM")
      child.once("exit", () => child.stdout?.destroy())
      yield* ended(child)
      assert.lengthOf(linesOf(file), 80_000)
      assert.strictEqual(stderr(), "xdooria: log lines are lost, stdout fails (too slow)\n")
    })
  )
})

// What becomes of the lines on stdout and in the file, also when writing fails.
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as TestClock from "effect/testing/TestClock"
import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { ConfigTest } from "xdooria/config"
import { Logger } from "xdooria/logger"
import { layerLive, LoggerLive, makeLive } from "xdooria/logger/live"
import type { Target } from "../../src/logger/internal/sink.ts"
import * as target from "../../src/logger/internal/target.ts"
import { linesOf, temporaryFolder } from "./support.ts"

const options = { service: "game", level: "info", format: "json", outputPath: "" } as const

/** Everything that this process writes to one of its streams meanwhile; or every write fails. */
const captured = (name: "stdout" | "stderr", error?: Error) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const stream = process[name]
      const { write } = stream
      const texts: Array<string> = []
      stream.write = ((bytes: Buffer, done: (error?: Error) => void) => {
        texts.push(bytes.toString())
        done(error)
        return true
      }) as typeof stream.write
      return { texts, restore: () => (stream.write = write) }
    }),
    ({ restore }) => Effect.sync(restore)
  )

const write = (file: Target, lines: string, rest = "") =>
  Effect.promise(() => file.write(Buffer.from(rest), Buffer.from(lines)))

describe("a file", () => {
  it.live("is made with its folders, readable for its owner and group, and appended to", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "logs", "deep", "game.log")
      yield* Effect.scoped(Effect.flatMap(target.file(path), (file) => write(file, "a\n")))
      yield* Effect.scoped(Effect.flatMap(target.file(path), (file) => write(file, "b\n")))
      assert.deepStrictEqual(linesOf(path), ["a", "b"])
      assert.strictEqual(statSync(path).mode & 0o777, 0o640)
      assert.strictEqual(statSync(dirname(path)).mode & 0o777, 0o750)
    })
  )

  it.live("that was moved or removed is made again, without the rest of a line of the old one", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = join(folder, "logs", "game.log")
      const file = yield* target.file(path)
      yield* write(file, "a\n")
      renameSync(path, join(folder, "old"))
      assert.deepStrictEqual(yield* write(file, "b\n", "rest\n"), { written: 7 })
      assert.deepStrictEqual(linesOf(path), ["b"])
      assert.deepStrictEqual(linesOf(join(folder, "old")), ["a"])
      rmSync(dirname(path), { recursive: true })
      yield* write(file, "c\n")
      yield* write(file, "d\n", "rest\n")
      assert.deepStrictEqual(linesOf(path), ["c", "rest", "d"])
    })
  )

  it.live("that cannot be made again fails its writes, until it can", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "logs", "game.log")
      const file = yield* target.file(path)
      rmSync(dirname(path), { recursive: true })
      writeFileSync(dirname(path), "in the way")
      const outcome = yield* write(file, "a\n")
      assert.strictEqual(outcome.written, 0)
      assert.isDefined(outcome.code)
      rmSync(dirname(path))
      assert.deepStrictEqual(yield* write(file, "b\n"), { written: 2 })
      assert.deepStrictEqual(linesOf(path), ["b"])
    })
  )

  it.live("that cannot be opened is refused at the start, by name", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      writeFileSync(join(folder, "file"), "")
      execFileSync("mkfifo", [join(folder, "fifo")])
      mkdirSync(join(folder, "folder"))
      const codes = yield* Effect.forEach(["file/game.log", "fifo", "folder"], (name) =>
        Effect.map(Effect.flip(Effect.scoped(makeLive({ ...options, outputPath: join(folder, name) }))), (error) => {
          assert.strictEqual(error.reason.path, join(folder, name))
          assert.include(error.message, "log.output_path")
          assert.isTrue(error.isRetryable && error.isSafeToRetry)
          return error.reason.code
        })
      )
      assert.deepStrictEqual(codes, ["EEXIST", "ENXIO", "EISDIR"])
      const device = yield* Effect.flip(Effect.scoped(makeLive({ ...options, outputPath: "/dev/null" })))
      assert.strictEqual(device.reason.code, "no regular file")
    })
  )
})

describe("LoggerLive", () => {
  it.effect("writes each line to stdout and to the file, and tells the warnings of the configuration", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "game.log")
      const stdout = yield* captured("stdout")
      const values = {
        server: { name: "game" },
        log: { output_path: path },
        kafka: { lookupd_addr: "localhost:4161" }
      }
      yield* Effect.logInfo("hello").pipe(Effect.provide(LoggerLive.pipe(Layer.provide(ConfigTest(values)))))
      const [warning, hello] = linesOf(path).map((line) => JSON.parse(line) as Logger.LogLine)
      assert.deepInclude(warning, { level: "warn", msg: "configuration", path: "kafka.lookupd_addr" })
      assert.deepInclude(hello, { level: "info", msg: "hello", service: "game" })
      assert.strictEqual(stdout.texts.join(""), readFileSync(path, "utf8"))
    })
  )

  it.effect("takes level and format from the section", () =>
    Effect.gen(function* () {
      const stdout = yield* captured("stdout")
      yield* Effect.andThen(Effect.logInfo("quiet"), Effect.logWarning("loud")).pipe(
        Effect.provide(LoggerLive.pipe(Layer.provide(ConfigTest({ log: { level: "warn", format: "console" } }))))
      )
      assert.match(stdout.texts.join(""), /^\S+ WARN {2}loud service=xdooria\n$/)
    })
  )

  it.effect("has colors on a terminal, and never in the file", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryFolder, "game.log")
      const stdout = yield* captured("stdout")
      const { isTTY } = process.stdout
      yield* Effect.acquireRelease(
        Effect.sync(() => (process.stdout.isTTY = true)),
        () => Effect.sync(() => (process.stdout.isTTY = isTTY))
      )
      yield* Effect.logInfo("hello", { a: 1 }).pipe(
        Effect.provide(layerLive({ ...options, format: "console", outputPath: path }))
      )
      // oxlint-disable-next-line no-control-regex -- the colors of a terminal
      assert.match(stdout.texts.join(""), /\u001b\[32mINFO \u001b\[0m hello .*\u001b\[2ma=\u001b\[0m1/)
      assert.match(readFileSync(path, "utf8"), /INFO {2}hello service=game a=1\n$/)
    })
  )

  it.effect("counts what stdout does not take, tells stderr once, and stays", () =>
    Effect.gen(function* () {
      yield* captured("stdout", Object.assign(new Error(), { code: "EPIPE" }))
      const stderr = yield* captured("stderr")
      const dropped = Metric.value(Metric.withAttributes(Logger.droppedLines, { sink: "stdout" }))
      const before = (yield* dropped).count
      yield* Effect.gen(function* () {
        yield* Effect.logInfo("a")
        yield* TestClock.adjust("100 millis")
        yield* Effect.logInfo("b")
      }).pipe(Effect.provide(layerLive(options)))
      assert.strictEqual(Number((yield* dropped).count) - Number(before), 2)
      assert.deepStrictEqual(stderr.texts, ["xdooria: log lines are lost, stdout fails (EPIPE)\n"])
    })
  )

  it.effect("can be built and closed again and again", () =>
    Effect.gen(function* () {
      yield* captured("stdout")
      const listeners = process.stdout.listenerCount("error")
      const once = Effect.provide(Effect.logInfo("x"), Layer.fresh(layerLive(options)))
      yield* Effect.repeat(once, { times: 100 })
      assert.isAtMost(process.stdout.listenerCount("error"), listeners + 1)
    })
  )
})

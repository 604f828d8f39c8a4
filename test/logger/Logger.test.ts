import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import { Config, ConfigTest } from "xdooria/config"
import { type Logger, LoggerTest, LogRecorder } from "xdooria/logger"
import { layerLive, type LoggerOptions } from "xdooria/logger/live"

/** The lines that a program writes, as they would be on the disk. */
const written = (program: Effect.Effect<void>, options: Partial<LoggerOptions> = {}) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const sink = { write: (line: string) => void lines.push(line) }
    const layer = layerLive({ service: "game", level: "info", format: "json", outputPath: "", sink, ...options })
    return Effect.as(Effect.orDie(Effect.provide(program, layer)), lines)
  })

/** The one line that a program writes, parsed; and that it is one line, with no character that a terminal obeys. */
const lineOf = (program: Effect.Effect<void>): Effect.Effect<Logger.LogLine> =>
  Effect.map(written(program), (lines) => {
    assert.lengthOf(lines, 1)
    // oxlint-disable-next-line no-control-regex -- that none is there is the promise
    assert.match(lines[0]!, /^\{[^\u0000-\u001f\u007f-\u009f]*\}\n$/)
    assert.strictEqual(Buffer.from(lines[0]!).toString(), lines[0])
    return parseOnce(lines[0]!)
  })

/** JSON.parse, which also fails when an object has a member twice. */
const parseOnce = (line: string): Logger.LogLine => {
  const parsed = JSON.parse(line) as Logger.LogLine
  assert.strictEqual(`${JSON.stringify(parsed)}\n`.length, line.replaceAll(/\\u00[7-9][\da-f]/g, "x").length)
  return parsed
}

describe("a line", () => {
  it.effect("has the plan's names, in order", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 10, 23, 0, 31, 41, 347))
      const [line] = yield* written(
        Effect.logInfo("grpc call success").pipe(
          Effect.annotateLogs({
            method: "/game.GameService/GetPlayer",
            player_id: "p1",
            duration: Duration.micros(3595n)
          })
        )
      )
      assert.strictEqual(
        line,
        `{"level":"info","time":"2026-11-23T00:31:41.347Z","msg":"grpc call success","service":"game",` +
          `"method":"/game.GameService/GetPlayer","player_id":"p1","duration":0.003595}\n`
      )
    })
  )

  it.effect("has the time of its millisecond", () =>
    Effect.gen(function* () {
      const lines = yield* written(
        Effect.gen(function* () {
          yield* TestClock.setTime(1000)
          yield* Effect.logInfo("a")
          yield* Effect.logInfo("b")
          yield* TestClock.setTime(1001)
          yield* Effect.logInfo("c")
        })
      )
      assert.deepStrictEqual(
        lines.map((line) => parseOnce(line).time),
        ["1970-01-01T00:00:01.000Z", "1970-01-01T00:00:01.000Z", "1970-01-01T00:00:01.001Z"]
      )
    })
  )

  it.effect("has the fields of the objects that were logged, over annotations, and log spans in seconds", () =>
    Effect.gen(function* () {
      const line = yield* lineOf(
        Effect.gen(function* () {
          yield* TestClock.adjust("1500 millis")
          yield* Effect.logInfo("moved", { x: 1, zone: "b" }, "twice", 2, { y: null, z: undefined })
        }).pipe(Effect.withLogSpan("turn"), Effect.annotateLogs({ zone: "a", player_id: "p1" }))
      )
      const { level, msg, service, time: _, ...fields } = line
      assert.deepStrictEqual({ level, msg, service }, { level: "info", msg: "moved twice 2", service: "game" })
      assert.deepStrictEqual(fields, { zone: "b", player_id: "p1", x: 1, y: null, turn: 1.5 })
    })
  )

  it.effect("has no member twice: a field whose name is taken gets a _", () =>
    Effect.gen(function* () {
      const line = yield* lineOf(
        Effect.logWarning("m", { level: 1, time: 2, msg: 3, service: 4, error: 5, msg_: 6, caller: 7 }, new Error("x"))
      )
      assert.strictEqual(line.level, "warn")
      assert.strictEqual(line.msg, "m")
      assert.deepInclude(line, { level_: 1, time_: 2, msg__: 3, msg_: 6, service_: 4, error_: 5, error: "Error: x" })
      const plain = yield* lineOf(
        Effect.logInfo("m").pipe(Effect.annotateLogs({ error: "e", trace_id: "t", stacktrace: "s" }))
      )
      assert.deepInclude(plain, { error: "e", trace_id: "t", stacktrace: "s" })
    })
  )

  it.effect("has the ids of the current span, also one from another process", () =>
    Effect.gen(function* () {
      const inner = Effect.gen(function* () {
        const span = yield* Effect.currentSpan
        const line = yield* lineOf(Effect.logInfo("in a span").pipe(Effect.annotateLogs({ trace_id: "mine" })))
        assert.strictEqual(line.trace_id, span.traceId)
        assert.strictEqual(line.span_id, span.spanId)
        assert.strictEqual(line["trace_id_"], "mine")
      })
      yield* Effect.withSpan(inner, "work")
      const parent = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
      const line = yield* lineOf(Effect.logInfo("of a caller").pipe(Effect.withParentSpan(parent)))
      assert.strictEqual(line.trace_id, parent.traceId)
    })
  )

  it.effect("has its caller from warn on, inside of a named effect", () =>
    Effect.gen(function* () {
      const named = Effect.fn("named")((log: Effect.Effect<void>) => log)
      const warned = yield* lineOf(named(Effect.logWarning("w")))
      assert.match(warned.caller ?? "", /^logger\/Logger\.test\.ts:\d+$/)
      assert.isUndefined((yield* lineOf(named(Effect.logInfo("i")))).caller)
      assert.isUndefined((yield* lineOf(Effect.logWarning("w"))).caller)
      const given = yield* lineOf(named(Effect.logWarning("w").pipe(Effect.annotateLogs({ caller: "game/x.ts:1" }))))
      assert.strictEqual(given.caller, "game/x.ts:1")
    })
  )

  it.effect("has the error and its stack, of a cause or of a value", () =>
    Effect.gen(function* () {
      class Lost extends Schema.TaggedError<Lost>()("Lost", { what: Schema.String }) {
        override get message(): string {
          return `lost ${this.what}`
        }
      }
      const ofCause = yield* lineOf(Effect.logError("failed", Cause.fail(new Lost({ what: "it" })), { tries: 3 }))
      assert.strictEqual(ofCause.msg, "failed")
      assert.strictEqual(ofCause.error, "Lost: lost it")
      assert.include(ofCause.stacktrace, "Lost: lost it\n    at ")
      assert.strictEqual(ofCause["tries"], 3)
      const ofValue = yield* lineOf(Effect.logError("failed", new Error("outer", { cause: new Error("inner") })))
      assert.strictEqual(ofValue.msg, "failed")
      assert.strictEqual(ofValue.error, "Error: outer")
      assert.include(ofValue.stacktrace, "[cause]: Error: inner")
      const ofText = yield* lineOf(Effect.logError("failed", Cause.fail("why")))
      assert.strictEqual(ofText.error, "why")
      const ofObject = yield* lineOf(Effect.logError(Cause.fail({ code: 7 })))
      assert.strictEqual(ofObject.error, `{"code":7}`)
      const interrupted = yield* lineOf(Effect.logError("stopped", Cause.interrupt(1)))
      assert.include(interrupted.stacktrace, "interrupted")
      const nameless = yield* lineOf(Effect.logError(new Lost({ what: "" }), new Error("second")))
      assert.include(nameless.msg, `"message":"second"`)
    })
  )

  it.effect("has every level of Effect by its lower case name, from the chosen one on", () =>
    Effect.gen(function* () {
      const all = Effect.all([
        Effect.logTrace("x"),
        Effect.logDebug("x"),
        Effect.logInfo("x"),
        Effect.logWarning("x"),
        Effect.logError("x"),
        Effect.logFatal("x")
      ])
      const levels = (level: LoggerOptions["level"]) =>
        Effect.map(written(Effect.asVoid(all), { level }), (lines) => lines.map((line) => parseOnce(line).level))
      assert.deepStrictEqual(yield* levels("debug"), ["debug", "info", "warn", "error", "fatal"])
      assert.deepStrictEqual(yield* levels("info"), ["info", "warn", "error", "fatal"])
      assert.deepStrictEqual(yield* levels("warn"), ["warn", "error", "fatal"])
      assert.deepStrictEqual(yield* levels("error"), ["error", "fatal"])
    })
  )
})

describe("a value that means harm", () => {
  const loop: { self?: unknown; list: Array<unknown> } = { list: [] }
  loop.self = loop
  loop.list.push(loop)
  const first = new Error("first")
  const second = new TypeError("second", { cause: first })
  first.cause = second
  const deep = Array.from({ length: 20 }).reduce((inner: unknown) => ({ inner }), "bottom")
  const cases: ReadonlyArray<readonly [name: string, value: unknown, encoded: unknown]> = [
    ["line breaks", 'a\r\n{"level":"info"}', 'a\r\n{"level":"info"}'],
    ["ANSI escapes", "\u001b[31mred\u009b0m\u007f", "\u001b[31mred\u009b0m\u007f"],
    ["a lone surrogate", "a\ud800b", "a\ud800b"],
    ["other scripts", "玩家 🎮", "玩家 🎮"],
    ["not a number", [Number.NaN, -Infinity, -0], ["NaN", "-Infinity", 0]],
    ["a bigint", 9007199254740993n, "9007199254740993"],
    ["a symbol", Symbol("s"), "Symbol(s)"],
    ["a function", () => 1, "[function]"],
    ["undefined in a list", [undefined], [null]],
    ["a cycle", loop, { list: ["[circular]"], self: "[circular]" }],
    ["the same object twice, no cycle", [deepFrozen, deepFrozen], [{ a: 1 }, { a: 1 }]],
    [
      "a getter that throws",
      {
        get bad() {
          throw new Error("no")
        },
        good: 1
      },
      { bad: "[unreadable]", good: 1 }
    ],
    [
      "a toJSON that throws",
      {
        toJSON: () => {
          throw new Error("no")
        }
      },
      "[unreadable]"
    ],
    [
      "a toJSON of itself",
      {
        toJSON() {
          return this
        }
      },
      "[circular]"
    ],
    [
      "a proxy that throws",
      new Proxy(
        {},
        {
          ownKeys: () => {
            throw new Error("no")
          }
        }
      ),
      "[unreadable]"
    ],
    ["a revoked proxy", revoked(), "[unreadable]"],
    [
      "an error with a loop of causes",
      first,
      {
        name: "Error",
        message: "first",
        cause: { name: "TypeError", message: "second", cause: "[circular]" }
      }
    ],
    ["a date", new Date(0), "1970-01-01T00:00:00.000Z"],
    ["no date", new Date(Number.NaN), "Invalid Date"],
    ["bytes", Buffer.from("secret"), "[6 bytes]"],
    ["a map", new Map([["a", 1]]), [["a", 1]]],
    ["a set", new Set([1, 2]), [1, 2]],
    ["a secret", Redacted.make("hunter2"), "<redacted>"],
    ["a secret with a label", { p: Redacted.make("hunter2", { label: "password" }) }, { p: "<redacted>" }],
    ["an option", Option.some(1), { _id: "Option", _tag: "Some", value: 1 }],
    ["a duration", Duration.millis(1500), 1.5],
    ["no prototype", Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    ["the name of the prototype", JSON.parse(`{"__proto__":1}`), JSON.parse(`{"__proto__":1}`)]
  ]
  for (const [name, value, encoded] of cases) {
    it.effect(`${name} is told in one valid line`, () =>
      Effect.gen(function* () {
        const annotated = yield* lineOf(Effect.logInfo("m").pipe(Effect.annotateLogs({ value })))
        assert.deepStrictEqual(annotated["value"], encoded)
        const asField = yield* lineOf(Effect.logInfo("m", { value }))
        assert.deepStrictEqual(asField["value"], encoded)
        // Effect itself looks into an argument, and fails on a revoked proxy.
        if (name !== "a revoked proxy") yield* lineOf(Effect.logInfo(value))
        yield* lineOf(Effect.logError("m", Cause.die(value)))
        yield* lineOf(Effect.logError("m", Cause.fail(value)))
      })
    )
  }

  it.effect("a text of 10 MB is cut, with a mark", () =>
    Effect.gen(function* () {
      const long = "x".repeat(10_000_000)
      const [line] = yield* written(
        Effect.logInfo(long, { long, list: [long, long] }).pipe(Effect.annotateLogs({ long }))
      )
      assert.isBelow(line!.length, 70_000)
      const parsed = JSON.parse(line!) as Logger.LogLine
      assert.match(parsed.msg, /^x{8192}\.\.\.\[9991808 characters cut\]$/)
    })
  )

  it.effect("depth and breadth are cut", () =>
    Effect.gen(function* () {
      const wide = Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`key${index}`, index]))
      const bomb = Array.from({ length: 12 }).reduce<unknown>((inner) => Array.from({ length: 10 }, () => inner), 1)
      for (const value of [wide, bomb, deep, Array.from({ length: 1_000_000 }), "\u0000".repeat(100_000)]) {
        const [line] = yield* written(Effect.logInfo("m", { value }))
        assert.isBelow(line!.length, 100_000)
        assert.include(line, "cut")
        JSON.parse(line!)
      }
    })
  )

  it.effect("fields that have no room are counted, in place of being written", () =>
    Effect.gen(function* () {
      const fields = Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`key${index}`, index]))
      const hidden = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`none${index}`, undefined]))
      for (const log of [
        Effect.logInfo("m", fields, hidden),
        Effect.logInfo("m").pipe(Effect.annotateLogs({ ...fields, ...hidden })),
        Effect.logInfo("m", { ...fields, "...": 1 }),
        Effect.logInfo("m", { fields })
      ]) {
        const [line] = yield* written(log)
        assert.isAbove(line!.length, 32_000)
        assert.isBelow(line!.length, 33_500)
        const { level: _, msg: __, service: ___, time: ____, ...top } = parseOnce(line!)
        const members = ("fields" in top ? top["fields"] : top) as Record<string, unknown>
        const { "...": given, "..._": beside, ...shown } = members
        const count = Object.keys(shown).length
        // The third has a field more, which is cut: the mark has a name beside it.
        const left = (given === undefined ? 100_001 : 100_000) - count
        assert.strictEqual(given ?? beside, `[${left} cut]`)
        assert.strictEqual(shown["key7"], 7)
        const [text] = yield* written(log, { format: "console" })
        assert.isBelow(text!.length, 33_500)
        if (members === top) assert.match(text!, / \.\.\._?="\[\d+ cut\]"\n$/)
      }
      const lists = yield* written(Effect.logInfo("m", { list: Array.from({ length: 100_000 }, () => [{}]) }))
      assert.isBelow(lists[0]!.length, 70_000)
    })
  )

  it.effect("keys that are cut alike stay apart, among fields and within one", () =>
    Effect.gen(function* () {
      const key = "k".repeat(9000)
      const cut = `${"k".repeat(8192)}...[809 characters cut]`
      const members = { [`${key}a`]: 1, [`${key}b`]: 2 }
      assert.deepInclude(yield* lineOf(Effect.logInfo("m", members)), { [cut]: 1, [`${cut}_`]: 2 })
      assert.deepStrictEqual((yield* lineOf(Effect.logInfo("m", { members })))["members"], { [cut]: 1, [`${cut}_`]: 2 })
      const full = "x".repeat(8192)
      const room = { a: full, b: full, c: full }
      // With one of these lengths the last key is cut to what the one before it is called.
      for (let length = 8050; length < 8192; length++) {
        yield* lineOf(
          Effect.logInfo("m", { ...room, d: "x".repeat(length), "l...[18 characters cut]": 1, ["l".repeat(19)]: 2 })
        )
      }
      const mark = { "...": 1, ...room, d: full, e: 1 }
      assert.deepInclude(yield* lineOf(Effect.logInfo("m", mark)), { "...": 1, "..._": "[1 cut]" })
      const within = (yield* lineOf(Effect.logInfo("m", { mark })))["mark"]
      assert.deepInclude(within as object, { "...": 1, "..._": "[1 cut]" })
    })
  )

  it.effect("a stack of many lines is cut in either format", () =>
    Effect.gen(function* () {
      const cause = Cause.fromReasons(Array.from({ length: 20_000 }, (_, index) => Cause.makeFailReason(`e${index}`)))
      for (const format of ["json", "console"] as const) {
        const [line] = yield* written(Effect.logError("m", cause), { format })
        assert.isBelow(line!.length, 50_000)
        assert.match(line!, /characters cut\]/)
      }
    })
  )

  it.effect("a key that is no name is escaped", () =>
    Effect.gen(function* () {
      const line = yield* lineOf(Effect.logInfo("m").pipe(Effect.annotateLogs({ ['a"\n\u009b']: 1, "": 2 })))
      assert.strictEqual(line['a"\n\u009b'], 1)
      assert.strictEqual(line[""], 2)
    })
  )

  it.effect("bytes and secrets in what failed, or caused it, are in no part of the line", () =>
    Effect.gen(function* () {
      const bytes = Buffer.from("canary")
      const held = { token: bytes, view: new Uint8Array(bytes), key: Redacted.make("canary") }
      const told = `{"token":"[6 bytes]","view":"[6 bytes]","key":"<redacted>"}`
      const traced = (cause: Cause.Cause<unknown>) =>
        Effect.map(lineOf(Effect.logError("m", cause)), (line) => {
          assert.notInclude(JSON.stringify(line), "canary")
          assert.notInclude(JSON.stringify(line), "99,97,110")
          return line.stacktrace
        })
      assert.strictEqual(yield* traced(Cause.fail(held)), `Error: ${told}`)
      assert.strictEqual(yield* traced(Cause.die(held)), `Error: ${told}`)
      assert.strictEqual(yield* traced(Cause.fail(bytes)), `Error: "[6 bytes]"`)
      const outer = new TypeError("outer", { cause: new Error("inner", { cause: held }) })
      const stack = yield* traced(Cause.fail(outer))
      assert.match(stack!, /^TypeError: outer\n    at .*Logger\.test\.ts/)
      assert.include(stack, "\n  [cause]: Error: inner\n      at ")
      assert.include(stack, `\n    [cause]: Error: ${told}\n`)
      const odd = Object.assign(new Error("x"), { message: held, stack: undefined, held })
      assert.strictEqual(yield* traced(Cause.die(odd)), `Error: ${told}`)
      yield* traced(Cause.die(Object.assign(new Error("x"), { name: bytes, message: bytes })))
      const asField = yield* lineOf(
        Effect.logInfo("m", { odd: Object.assign(new Error("x"), { name: bytes, message: bytes }) })
      )
      assert.deepStrictEqual(asField["odd"], { name: "[6 bytes]", message: "[6 bytes]" })
    })
  )

  it.effect("every failure of a cause has its stack, with the spans that it failed in", () =>
    Effect.gen(function* () {
      const failing = Effect.die(new Error("within")).pipe(Effect.withSpan("outermost"))
      const cause = Cause.combine(yield* Effect.flip(Effect.sandbox(failing)), Cause.die("also"))
      const { stacktrace } = yield* lineOf(Effect.logError("m", Cause.combine(cause, Cause.interrupt(1))))
      assert.match(stacktrace!, /^Error: within\n    at [^]*\n    at outermost[^]*\nError: also$/)
    })
  )

  it.effect("a long chain of causes is cut, and one that is a loop", () =>
    Effect.gen(function* () {
      const last = Array.from({ length: 1000 }).reduce<Error>(
        (cause, _, index) => Object.assign(new Error(`e${index}`, { cause }), { stack: "" }),
        new Error("first")
      )
      const { stacktrace } = yield* lineOf(Effect.logError("m", last))
      assert.strictEqual(stacktrace?.split("[cause]").length, 9)
      const ofLoop = yield* lineOf(Effect.logError("m", first))
      assert.strictEqual(ofLoop.stacktrace?.split("[cause]").length, 2)
      const self = new Error("self")
      self.cause = self
      assert.notInclude((yield* lineOf(Effect.logError("m", self))).stacktrace, "[cause]")
    })
  )

  it.effect("an error whose message throws is told as unreadable", () =>
    Effect.gen(function* () {
      class Evil extends Error {
        override get message(): string {
          throw new Error("no")
        }
      }
      const line = yield* lineOf(Effect.logError("m", new Evil()))
      assert.strictEqual(line.error, "[unreadable]")
      assert.strictEqual(line.stacktrace, "[unreadable]")
    })
  )
})

const deepFrozen = Object.freeze({ a: 1 })

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

describe("the console format", () => {
  it.effect("is time, level, message and key=value", () =>
    Effect.gen(function* () {
      const lines = yield* written(
        Effect.gen(function* () {
          yield* Effect.logInfo(`said "hi"\nthere`, {
            x: 1,
            text: "two words",
            empty: "",
            list: [1, "a"],
            off: undefined
          })
          yield* Effect.logWarning("odd\u001b[31m")
        }).pipe(Effect.annotateLogs({ player_id: "p1" })),
        { format: "console" }
      )
      assert.deepStrictEqual(lines, [
        `1970-01-01T00:00:00.000Z INFO  said "hi"\\nthere service=game player_id=p1 x=1 text="two words" empty="" list=[1,"a"]\n`,
        `1970-01-01T00:00:00.000Z WARN  odd\\u001b[31m service=game player_id=p1\n`
      ])
    })
  )

  it.effect("has the stack of an error on lines of its own, and ids and caller on the first", () =>
    Effect.gen(function* () {
      const named = Effect.fn("named")(function* () {
        yield* Effect.logError("failed", new Error("why\nforged line"))
      })
      const [line] = yield* written(named(), { format: "console" })
      const [head, ...frames] = line!.trimEnd().split("\n")
      assert.match(
        head!,
        /ERROR failed service=game caller=logger\/Logger\.test\.ts:\d+ trace_id=[\da-f]{32} error="Error: why\\nforged line"$/
      )
      assert.isAbove(frames.length, 1)
      for (const frame of frames) assert.match(frame, /^ {4}/)
    })
  )
})

describe("LoggerTest", () => {
  it.effect("records every line as a value", () =>
    Effect.gen(function* () {
      const recorder = yield* LogRecorder
      yield* Effect.logTrace("a")
      yield* Effect.logInfo("b").pipe(Effect.annotateLogs({ player_id: "p1", token: Redacted.make("t") }))
      const lines = yield* recorder.lines
      assert.deepStrictEqual(
        lines.map(({ level, msg }) => ({ level, msg })),
        [
          { level: "trace", msg: "a" },
          { level: "info", msg: "b" }
        ]
      )
      assert.deepInclude(lines[1], { player_id: "p1", token: "<redacted>", service: "test" })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("finds a line that was logged, and waits for one that will be", () =>
    Effect.gen(function* () {
      const recorder = yield* LogRecorder
      yield* Effect.logInfo("before")
      assert.strictEqual((yield* recorder.find(({ msg }) => msg === "before")).level, "info")
      yield* Effect.forkChild(Effect.andThen(Effect.yieldNow, Effect.logInfo("after")))
      assert.strictEqual((yield* recorder.find(({ msg }) => msg === "after")).level, "info")
    }).pipe(Effect.provide(LoggerTest))
  )
})

describe("section log", () => {
  it.effect("does not allow debug in prod", () =>
    Effect.gen(function* () {
      const values = { server: { env: "prod" }, grpc: { allow_insecure: true }, database: { password: "s" } }
      yield* Layer.build(ConfigTest({ ...values, log: { level: "info" } }))
      const error = yield* Effect.flip(Layer.build(ConfigTest({ ...values, log: { level: "debug" } })))
      assert.include(error.message, "log.level: expected info or above in prod")
      yield* Config.Current
    })
  )
})

import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import type { Code } from "xdooria/grpc"
import * as Observe from "../../src/grpc/internal/observe.ts"
import { recorder } from "./Spans.ts"

const path = "/game.GameService/GetPlayer"

const parent = Tracer.externalSpan({
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  sampled: true
})

/** Metrics and spans of this test alone, on the test's clock. */
const setup = (side: Observe.Side) =>
  Effect.map(Effect.context<never>(), (given) => {
    const { spans, tracer } = recorder()
    const context = Context.add(given, Metric.MetricRegistry, new Map())
    return {
      spans,
      context,
      traced: Context.add(context, Tracer.Tracer, tracer),
      observer: Observe.makeObserver(side, path, context),
      snapshot: () => Metric.snapshotUnsafe(context)
    }
  })

/** The span that what is inside of a call has as its parent. */
const spanOf = ({ context }: Observe.Observation): Tracer.AnySpan | undefined =>
  Context.getOrUndefined(context as Context.Context<Tracer.ParentSpan>, Tracer.ParentSpan)

const histogram = (snapshot: ReadonlyArray<Metric.Metric.Snapshot>, side: Observe.Side, code: Code) => {
  const found = snapshot.find(
    ({ attributes, id }) => id === `rpc.${side}.call.duration` && attributes?.["rpc.response.status_code"] === code
  )
  assert.strictEqual(found?.type, "Histogram")
  return found as Extract<Metric.Metric.Snapshot, { readonly type: "Histogram" }>
}

const active = (snapshot: ReadonlyArray<Metric.Metric.Snapshot>, side: Observe.Side) => {
  const found = snapshot.find(({ id }) => id === `rpc.${side}.active_calls`)
  assert.deepStrictEqual(found?.attributes, { "rpc.system.name": "grpc", "rpc.method": "game.GameService/GetPlayer" })
  return (found!.state as { readonly value: number }).value
}

for (const side of ["server", "client"] as const) {
  describe(`a call of a ${side}`, () => {
    it.effect("is counted in the bucket of its time, by method and status", () =>
      Effect.gen(function* () {
        const { context, observer, snapshot } = yield* setup(side)
        const quick = observer.start(context, undefined)
        const slow = observer.start(context, undefined)
        const failed = observer.start(context, undefined)
        yield* TestClock.adjust(40)
        assert.strictEqual(quick.end("OK"), 0.04)
        yield* TestClock.adjust(3000)
        assert.strictEqual(slow.end("OK"), 3.04)
        failed.end("NOT_FOUND")

        const { attributes, description, state } = histogram(snapshot(), side, "OK")
        assert.deepStrictEqual(attributes, {
          "rpc.system.name": "grpc",
          "rpc.method": "game.GameService/GetPlayer",
          "rpc.response.status_code": "OK"
        })
        assert.strictEqual(description, "How long calls took, in seconds")
        assert.strictEqual(state.count, 2)
        assert.closeTo(state.sum, 3.08, 1e-9)
        // Each bucket holds those below it too.
        assert.deepStrictEqual(state.buckets, [
          [0.005, 0],
          [0.01, 0],
          [0.025, 0],
          [0.05, 1],
          [0.075, 1],
          [0.1, 1],
          [0.25, 1],
          [0.5, 1],
          [0.75, 1],
          [1, 1],
          [2.5, 1],
          [5, 2],
          [7.5, 2],
          [10, 2]
        ])
        assert.strictEqual(histogram(snapshot(), side, "NOT_FOUND").state.count, 1)
      })
    )

    it.effect("is counted as long as it has not ended", () =>
      Effect.gen(function* () {
        const { context, observer, snapshot } = yield* setup(side)
        const calls = [observer.start(context, undefined), observer.start(context, parent)]
        assert.strictEqual(active(snapshot(), side), 2)
        calls[0]!.end("OK")
        assert.strictEqual(active(snapshot(), side), 1)
        calls[1]!.end("CANCELLED")
        assert.strictEqual(active(snapshot(), side), 0)
      })
    )

    it.effect("makes a span that is a child of its parent, and the parent of what is inside", () =>
      Effect.gen(function* () {
        const { observer, spans, traced } = yield* setup(side)
        const call = observer.start(traced, parent)
        assert.strictEqual(spans.length, 1)
        const span = spans[0]!
        assert.strictEqual(span.name, "game.GameService/GetPlayer")
        assert.strictEqual(span.kind, side)
        assert.strictEqual(span.traceId, parent.traceId)
        assert.notStrictEqual(span.spanId, parent.spanId)
        assert.strictEqual(Option.getOrThrow(span.parent), parent)
        assert.strictEqual(call.span, span)
        assert.strictEqual(spanOf(call), span)
        yield* TestClock.adjust(7)
        call.end("OK")
        const { status } = span
        assert(status._tag === "Ended")
        assert.strictEqual(status.endTime - status.startTime, 7_000_000n)
        assert.isTrue(Exit.isSuccess(status.exit))
        assert.deepStrictEqual(Object.fromEntries(span.attributes), {
          "rpc.system.name": "grpc",
          "rpc.method": "game.GameService/GetPlayer",
          "rpc.response.status_code": "OK"
        })
      })
    )

    it.effect("begins a trace when it has no parent", () =>
      Effect.gen(function* () {
        const { observer, spans, traced } = yield* setup(side)
        observer.start(traced, undefined).end("OK")
        assert.isTrue(Option.isNone(spans[0]!.parent))
        assert.match(spans[0]!.traceId, /^[\da-f]{32}$/)
      })
    )

    it.effect("makes no span when nobody takes it, and passes its parent on", () =>
      Effect.gen(function* () {
        const { context, observer, spans, traced } = yield* setup(side)
        const unsampled = { ...parent, sampled: false }
        const cases: ReadonlyArray<readonly [Context.Context<never>, Tracer.AnySpan | undefined]> = [
          [context, parent],
          [context, undefined],
          [traced, unsampled],
          [Context.add(traced, References.TracerEnabled, false), parent],
          [Context.add(traced, Tracer.MinimumTraceLevel, "Error"), parent]
        ]
        for (const [given, above] of cases) {
          const call = observer.start(given, above)
          assert.strictEqual(call.span, above)
          assert.strictEqual(spanOf(call), above)
          call.end("OK")
        }
        assert.deepStrictEqual(spans, [])
      })
    )

    it.effect("is a child of the nearest span that may leave the process", () =>
      Effect.gen(function* () {
        const { context, observer, spans, traced } = yield* setup(side)
        const hidden = new Tracer.NativeSpan({
          name: "noop",
          parent: Option.some(parent),
          annotations: Context.make(Tracer.DisablePropagation, true),
          links: [],
          startTime: 0n,
          kind: "internal",
          sampled: true
        })
        assert.strictEqual(observer.start(context, hidden).span, parent)
        observer.start(traced, hidden)
        assert.strictEqual(Option.getOrThrow(spans[0]!.parent), parent)
        const alone = { ...parent, annotations: Context.make(Tracer.DisablePropagation, true) }
        assert.strictEqual(observer.start(context, alone).span, undefined)
      })
    )

    it.effect("has the annotations and the links of where it was made", () =>
      Effect.gen(function* () {
        const { observer, spans, traced } = yield* setup(side)
        const link = { span: parent, attributes: {} }
        const given = traced.pipe(
          Context.add(References.TracerSpanAnnotations, { region: "eu" }),
          Context.add(References.TracerSpanLinks, [link])
        )
        observer.start(given, undefined).end("OK")
        assert.strictEqual(spans[0]!.attributes.get("region"), "eu")
        assert.deepStrictEqual(spans[0]!.links, [link])
      })
    )
  })
}

describe("a span of a call that failed", () => {
  const ended = (side: Observe.Side, code: Code, cause?: Cause.Cause<unknown>) =>
    Effect.map(setup(side), ({ observer, spans, traced }) => {
      observer.start(traced, undefined).end(code, cause)
      const span = spans[0]!
      assert(span.status._tag === "Ended")
      assert.strictEqual(span.attributes.get("rpc.response.status_code"), code)
      return { exit: span.status.exit, errorType: span.attributes.get("error.type") }
    })

  it.effect("is an error of the server only for what the server is to blame for", () =>
    Effect.gen(function* () {
      const blamed: ReadonlyArray<Code> = [
        "UNKNOWN",
        "DEADLINE_EXCEEDED",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS"
      ]
      const others: ReadonlyArray<Code> = ["OK", "CANCELLED", "NOT_FOUND", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED"]
      for (const code of blamed) {
        const { errorType, exit } = yield* ended("server", code)
        assert.isTrue(Exit.isFailure(exit), code)
        assert.strictEqual(errorType, code)
      }
      for (const code of others) {
        const { errorType, exit } = yield* ended("server", code, Cause.fail("declared"))
        assert.isTrue(Exit.isSuccess(exit), code)
        assert.strictEqual(errorType, undefined)
      }
    })
  )

  it.effect("is an error of the client whenever it did not succeed", () =>
    Effect.gen(function* () {
      assert.isTrue(Exit.isSuccess((yield* ended("client", "OK")).exit))
      for (const code of ["NOT_FOUND", "CANCELLED", "UNAVAILABLE"] as const) {
        const { errorType, exit } = yield* ended("client", code)
        assert.deepStrictEqual(exit, Exit.fail(code))
        assert.strictEqual(errorType, code)
      }
    })
  )

  it.effect("has the cause", () =>
    Effect.gen(function* () {
      const cause = Cause.die(new Error("a bug"))
      assert.deepStrictEqual((yield* ended("server", "INTERNAL", cause)).exit, Exit.failCause(cause))
    })
  )
})

// Tracing and metrics of calls, of both sides. What does not change from call to call is bound once for each method; a
// call that is not sampled costs a clock, two additions and the right bucket.
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import type { Code } from "../GrpcError.ts"
import { monotonicMillis } from "./clock.ts"

/** Which end of a call is observed. */
export type Side = "server" | "client"

/** The bounds that OpenTelemetry advises for durations of calls, in seconds. */
const boundaries = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

const durationOf = (side: Side, attributes: Metric.Metric.AttributeSet) =>
  Metric.histogram(`rpc.${side}.call.duration`, {
    description: "How long calls took, in seconds",
    boundaries,
    attributes
  })

const activeOf = (side: Side, attributes: Metric.Metric.AttributeSet) =>
  Metric.gauge(`rpc.${side}.active_calls`, { description: "Calls that have not ended", attributes })

/** The statuses for which OpenTelemetry blames the server; a client counts every one that is not OK. */
const serverErrors: ReadonlySet<Code> = new Set([
  "UNKNOWN",
  "DEADLINE_EXCEEDED",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS"
])

const isError = (side: Side, code: Code): boolean => (side === "client" ? code !== "OK" : serverErrors.has(code))

/** A span that may leave the process: those of code that is not traced stand for the one around them. */
const propagated = (span: Tracer.AnySpan | undefined): Tracer.AnySpan | undefined => {
  let current = span
  while (current !== undefined && Context.get(current.annotations, Tracer.DisablePropagation)) {
    current = current._tag === "Span" ? Option.getOrUndefined(current.parent) : undefined
  }
  return current
}

/** Whether somebody takes spans, and wants this one. The default tracer makes spans that nobody reads. */
const isTraced = (context: Context.Context<never>, parent: Tracer.AnySpan | undefined): boolean =>
  Context.get(context, Tracer.Tracer) !== Tracer.nativeTracer &&
  parent?.sampled !== false &&
  Context.get(context, References.TracerEnabled) &&
  !LogLevel.isGreaterThan(
    Context.get(context, Tracer.MinimumTraceLevel),
    Context.get(context, Tracer.CurrentTraceLevel)
  )

/** What is bound for a method. */
interface Method {
  readonly side: Side
  readonly name: string
  readonly clock: Clock.Clock
  readonly add: (calls: number) => void
  readonly record: (code: Code, seconds: number) => void
}

const startSpan = (
  { clock, name, side }: Method,
  context: Context.Context<never>,
  parent: Tracer.AnySpan | undefined
): Tracer.Span => {
  const span = Context.get(context, Tracer.Tracer).span({
    name,
    parent: Option.fromUndefinedOr(parent),
    annotations: Context.empty(),
    links: Context.get(context, References.TracerSpanLinks).slice(),
    startTime: clock.currentTimeNanosUnsafe(),
    kind: side,
    root: parent === undefined,
    sampled: true
  })
  const annotations = Context.get(context, References.TracerSpanAnnotations)
  for (const key in annotations) span.attribute(key, annotations[key])
  span.attribute("rpc.system.name", "grpc")
  span.attribute("rpc.method", name)
  return span
}

/** One call. It began when it was made; `end` is called once. */
export class Observation {
  readonly #method: Method
  readonly #span: Tracer.Span | undefined
  /** On a clock that never goes back, in milliseconds. */
  readonly startedAt: number
  /** What is inside of the call runs on it: with the span of the call as ParentSpan, or with its parent. */
  readonly context: Context.Context<never>
  /** The span that a further hop has as its parent. */
  readonly span: Tracer.AnySpan | undefined

  constructor(method: Method, context: Context.Context<never>, given: Tracer.AnySpan | undefined) {
    this.#method = method
    this.startedAt = monotonicMillis(method.clock)
    const parent = propagated(given)
    this.#span = isTraced(context, parent) ? startSpan(method, context, parent) : undefined
    this.span = this.#span ?? parent
    this.context = this.span === undefined ? context : Context.add(context, Tracer.ParentSpan, this.span)
    method.add(1)
  }

  /**
   * The call has ended; tells how long it took, in seconds.
   *
   * - `cause`: of a status that is an error, if it is known; it goes to the span alone
   */
  end(code: Code, cause?: Cause.Cause<unknown>): number {
    const seconds = (monotonicMillis(this.#method.clock) - this.startedAt) / 1000
    this.#method.add(-1)
    this.#method.record(code, seconds)
    if (this.#span !== undefined) this.#endSpan(this.#span, code, cause)
    return seconds
  }

  #endSpan(span: Tracer.Span, code: Code, cause: Cause.Cause<unknown> | undefined): void {
    const failed = isError(this.#method.side, code)
    span.attribute("rpc.response.status_code", code)
    if (failed) span.attribute("error.type", code)
    const exit = failed ? Exit.failCause(cause ?? Cause.fail(code)) : Exit.void
    span.end(this.#method.clock.currentTimeNanosUnsafe(), exit)
  }
}

/** Observes the calls of a method. */
export interface Observer {
  /**
   * A call begins.
   *
   * - `context`: what it runs on, with the tracer
   * - `parent`: the span that it belongs to
   */
  readonly start: (context: Context.Context<never>, parent: Tracer.AnySpan | undefined) => Observation
}

/**
 * Observes the calls of a method on one side: a span of the kind of that side for each that is sampled, as long as there
 * is a tracer other than Effect's default; the histogram `rpc.<side>.call.duration` by method and status, and the gauge
 * `rpc.<side>.active_calls` by method.
 *
 * - `path`: such as `/game.GameService/GetPlayer`
 * - `context`: with the clock, and with the registry of the metrics
 */
export const makeObserver = (side: Side, path: string, context: Context.Context<never>): Observer => {
  const name = path.slice(1)
  const common = { "rpc.system.name": "grpc", "rpc.method": name }
  const active = activeOf(side, common)
  // Those of the statuses that were met: a method has a few of the seventeen.
  const durations = new Map<Code, Metric.Histogram<number>>()
  const durationFor = (code: Code) => {
    const bound = durationOf(side, { ...common, "rpc.response.status_code": code })
    durations.set(code, bound)
    return bound
  }
  const method: Method = {
    side,
    name,
    clock: Context.get(context, Clock.Clock),
    add: (calls) => active.modifyUnsafe(calls, context),
    record: (code, seconds) => (durations.get(code) ?? durationFor(code)).updateUnsafe(seconds, context)
  }
  return { start: (context, parent) => new Observation(method, context, parent) }
}

import * as Tracer from "effect/Tracer"

/** The metadata entry of W3C trace context. */
export const key = "traceparent"

const pattern = /^(?!ff)[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}(?:-|$)/

/** How long one of version 00 is; only a later version may go on. */
const length = 55

/** The span of the caller; undefined when there is none or it does not follow the standard. */
export const decode = (value: string | Buffer | undefined): Tracer.ExternalSpan | undefined => {
  if (typeof value !== "string" || !pattern.test(value)) return undefined
  if (value.length > length && value.startsWith("00")) return undefined
  return Tracer.externalSpan({
    traceId: value.slice(3, 35),
    spanId: value.slice(36, 52),
    sampled: (parseInt(value.slice(53, length), 16) & 1) === 1
  })
}

/** A span as the standard writes it. */
export const encode = (span: Tracer.AnySpan): string =>
  `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`

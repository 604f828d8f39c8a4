import * as Tracer from "effect/Tracer"

/** The metadata entry of W3C trace context. */
export const key = "traceparent"

const pattern = /^(?!ff)([\da-f]{2})-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(-.*)?$/

/** The span of the caller; undefined when there is none or it does not follow the standard. */
export const decode = (value: string | Buffer | undefined): Tracer.ExternalSpan | undefined => {
  const match = typeof value === "string" ? pattern.exec(value) : null
  if (match === null) return undefined
  const [, version, traceId, spanId, flags, more] = match
  // Only a later version may go on.
  if (version === "00" && more !== undefined) return undefined
  return Tracer.externalSpan({ traceId: traceId!, spanId: spanId!, sampled: (parseInt(flags!, 16) & 1) === 1 })
}

/** A span as the standard writes it. */
export const encode = (span: Tracer.AnySpan): string =>
  `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`

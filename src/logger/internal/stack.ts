import * as Cause from "effect/Cause"
import { isError, textOf } from "./value.ts"

/** How many causes of an error are told, each the cause of the one before. */
const maxCauses = 8

/** The stacks of a cause and of what caused it. What is no error is told as every value of a line is. */
export const stackText = (cause: Cause.Cause<unknown>): string =>
  Cause.pretty(Cause.fromReasons(cause.reasons.map(safeReason)))

// Cause.pretty writes the JSON of what is no error: of bytes too, which are told by their number only.
const safeReason = (reason: Cause.Reason<unknown>): Cause.Reason<unknown> => {
  if (reason._tag === "Interrupt") return reason
  const error = safeError(reason._tag === "Fail" ? reason.error : reason.defect, [])
  return Cause.makeFailReason(error).annotate(Cause.reasonAnnotations(reason))
}

/** An error with the members that a stack is told from, or a text. `path` are the errors that it is the cause of. */
const safeError = (error: unknown, path: ReadonlyArray<unknown>): unknown => {
  if (!isError(error)) return textOf(error)
  const { cause, message, name, stack } = error
  const here = [...path, error]
  const isLast = cause === undefined || here.includes(cause) || here.length > maxCauses
  return {
    name,
    message: textOf(message),
    stack,
    cause: isLast ? undefined : safeError(cause, here)
  }
}

import * as Result from "effect/Result"
import { InvalidInput } from "../PgErrorReason.ts"

const int8 = 2n ** 63n

/** What is wrong with a value, or undefined. The driver sends NULL for undefined and garbage for some of the others. */
const problemOf = (value: unknown): string | undefined => {
  switch (typeof value) {
    case "undefined":
      return "undefined: say null where NULL is meant"
    case "string":
      if (value.includes("\0")) return "a text with a NUL character"
      return value.isWellFormed() ? undefined : "a text with a lone surrogate"
    case "number":
      if (!Number.isFinite(value)) return "not a finite number"
      // A double has lost its last digits by then.
      return Number.isInteger(value) && !Number.isSafeInteger(value) ? "beyond safe integers: give a bigint" : undefined
    case "bigint":
      return value >= -int8 && value < int8 ? undefined : "outside of the range of int8"
    case "object":
      if (Array.isArray(value)) return problemIn(value)
      return value instanceof Date && Number.isNaN(value.getTime()) ? "an invalid date" : undefined
    default:
      return undefined
  }
}

const problemIn = (values: ReadonlyArray<unknown>): string | undefined => {
  for (const value of values) {
    // The driver has no form for one. It may also contain itself.
    const problem = Array.isArray(value) ? "a list of lists" : problemOf(value)
    if (problem !== undefined) return problem
  }
  return undefined
}

/** Looks for parameters that must not be sent; undefined when there are none. */
export const refuse = (parameters: ReadonlyArray<unknown>): InvalidInput | undefined => {
  let index = 0
  const found = Result.try(() => {
    for (; index < parameters.length; index++) {
      const problem = problemOf(parameters[index])
      if (problem !== undefined) return problem
    }
    return undefined
  })
  // What an object of the caller's throws, such as its getter, is no defect of ours.
  const problem = Result.getOrElse(found, () => "an object that throws when it is read")
  return problem === undefined ? undefined : new InvalidInput({ parameter: index + 1, problem })
}

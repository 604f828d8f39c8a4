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
      return Number.isFinite(value) ? undefined : "not a finite number"
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
    const problem = problemOf(value)
    if (problem !== undefined) return problem
  }
  return undefined
}

/** Looks for parameters that must not be sent; undefined when there are none. */
export const refuse = (parameters: ReadonlyArray<unknown>): InvalidInput | undefined => {
  for (let i = 0; i < parameters.length; i++) {
    const problem = problemOf(parameters[i])
    if (problem !== undefined) return new InvalidInput({ parameter: i + 1, problem })
  }
  return undefined
}

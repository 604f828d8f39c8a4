import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type { BadRequest_FieldViolation } from "../../gen/google/rpc/error_details.ts"
import { codes } from "../GrpcError.ts"
import * as Details from "./details.ts"
import { refusal, Refused } from "./failure.ts"

/** The most fields that one answer names, and how long a name and what is said of it may be: keys of a map are long. */
const most = 10
const longest = 200

/**
 * The largest request of which all that is wrong is looked for, in bytes. Each finding takes some ten microseconds, and a
 * list of a million empty names is no more than 2 MB.
 */
const largest = 1024

const shorten = (text: string): string => text.slice(0, longest).toWellFormed()

/** What is expected, in the words of the schema. Messages of errors may hold the value, so they are not taken. */
const format = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) =>
    issue._tag === "InvalidValue" && issue.annotations?.expected === undefined
      ? "Expected a valid value"
      : SchemaIssue.defaultLeafHook(issue),
  checkHook: () => undefined
})

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** A path as google.rpc.BadRequest wants it, with the names of the .proto: `items[1].player_id`. */
const fieldOf = (path: ReadonlyArray<PropertyKey>): string =>
  path.reduce<string>((field, step) => {
    if (typeof step === "number") return `${field}[${step}]`
    const name = snakeCase(String(step))
    return field === "" ? name : `${field}.${name}`
  }, "")

const violationsOf = (issue: SchemaIssue.Issue): ReadonlyArray<BadRequest_FieldViolation> =>
  format(issue)
    .issues.slice(0, most)
    .map(({ message, path = [] }) => ({
      field: shorten(fieldOf(path.map((step) => (typeof step === "object" ? step.key : step)))),
      description: shorten(message)
    }))

/**
 * Decodes requests by a schema; gives what they decode to, or a {@link Refused} that names the fields, or the first one
 * of a large request. What the schema throws is thrown.
 *
 * - `size`: of the request, in bytes
 */
export const make = (
  domain: string,
  schema: Schema.ConstraintCodec<unknown, unknown>
): ((request: unknown, size: number) => unknown) => {
  const decode = Schema.decodeUnknownResult(schema as Schema.ConstraintDecoder<unknown>)
  return (request, size) => {
    const decoded = decode(request, { errors: size > largest ? "first" : "all" })
    if (Result.isSuccess(decoded)) return decoded.success
    const violations = violationsOf(decoded.failure.issue)
    const fields = violations.map(({ field }) => field).join(", ")
    const message = fields === "" ? "the request is invalid" : shorten(`invalid ${fields}`)
    const info = { reason: "INVALID_REQUEST", domain, metadata: {} }
    const details = Details.encode(codes.indexOf("INVALID_ARGUMENT"), message, { info, violations })
    return new Refused({ ...refusal("INVALID_ARGUMENT", message), level: "Info", details })
  }
}

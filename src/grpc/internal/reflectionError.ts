import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Code, codes } from "../GrpcError.ts"
import * as Details from "./details.ts"
import type { Ended } from "./transport.ts"

// Cc: also what starts an escape sequence of a terminal. The others change the direction of text.
const unprintable = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu

/** A text of another as a terminal may show it, on one line: what controls the terminal is written as `\u001b`. */
export const printable = (text: string): string =>
  text.replace(unprintable, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

/**
 * What is done by name failed. Its message is {@link printable}, whatever the server sent; each violation has a line.
 *
 * - `code`: of gRPC; INVALID_ARGUMENT also for a request that does not fit the method, UNIMPLEMENTED also for a method
 *   or a reflection that the server does not have
 * - `details`: the text that came with it, or what was wrong with the request
 * - `error`: the error that the server declared, when it is one of ours
 * - `violations`: which fields of the request the server refused and what they should be, when it says so
 */
export class ReflectError extends Schema.TaggedError<ReflectError>("xdooria/grpc/ReflectError")("ReflectError", {
  code: Code,
  details: Schema.String,
  error: Schema.optionalKey(Schema.Struct({ tag: Schema.String, fields: Schema.JsonObject })),
  violations: Schema.optionalKey(Schema.Array(Schema.Struct({ field: Schema.String, description: Schema.String })))
}) {
  override get message(): string {
    const text = this.error === undefined ? this.details : `${this.error.tag} ${JSON.stringify(this.error.fields)}`
    const violations = (this.violations ?? []).map(({ description, field }) =>
      field === "" ? description : `${field}: ${description}`
    )
    return [`${this.code} ${printable(text)}`, ...violations.map((line) => `  ${printable(line)}`)].join("\n")
  }
}

const decodeFields = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.JsonObject))

/** How a call ended that did not end well. */
export const fromEnded = ({ code, details, trailers }: Ended): ReflectError => {
  const { error, violations } = Details.decode(trailers.get(Details.detailsKey), code)
  const fields = Option.map(decodeFields(error?.json ?? ""), ({ _tag, ...fields }) => fields)
  return new ReflectError({
    code: codes[code] ?? "UNKNOWN",
    details,
    ...(error === undefined ? {} : { error: { tag: error.tag, fields: Option.getOrElse(fields, () => ({})) } }),
    ...(violations === undefined ? {} : { violations })
  })
}

/** What the user asked for cannot be sent. */
export const invalid = (details: string): ReflectError => new ReflectError({ code: "INVALID_ARGUMENT", details })

/** The server does not have what was asked for. */
export const absent = (details: string): ReflectError => new ReflectError({ code: "UNIMPLEMENTED", details })

/** The server says what cannot be. */
export const nonsense = (details: string): ReflectError => new ReflectError({ code: "INTERNAL", details })

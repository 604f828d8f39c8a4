import * as Cause from "effect/Cause"
import type * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import type * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { DomainError, ErrorClass } from "../Api.ts"
import { type Code, codes } from "../GrpcError.ts"
import * as Details from "./details.ts"

/** How a call that did not succeed ends: what its caller gets, and what the log says of it. */
export interface Failure {
  readonly code: Code
  readonly message: string
  readonly details?: Buffer
  readonly level: LogLevel.Severity
  readonly fields?: Readonly<Record<string, string>>
  /** Logged, and sent to nobody. */
  readonly cause?: Cause.Cause<unknown>
}

/** A failure that the server itself finds. Its text is ours: it holds nothing of the request or of the inside. */
export const refusal = (code: Code, message: string): Failure => ({ code, message, level: "Warn" })

/** Fails the fiber of a call before its handler runs. */
export class Refused {
  readonly failure: Failure
  constructor(failure: Failure) {
    this.failure = failure
  }
}

// What clients take as metadata by default, so that a long text or a large error does not cost them the status.
const maxMessageLength = 1024
const maxDetailsSize = 6 * 1024

/** How ErrorInfo spells a reason: PlayerNotFound as PLAYER_NOT_FOUND. */
const reasonOf = (tag: string): string => tag.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase()

/** The plain fields of an error, for callers without our classes. */
const factsOf = (fields: object): Record<string, string> =>
  Object.fromEntries(
    Object.entries(fields)
      .filter(([key, value]) => key !== "_tag" && ["string", "number", "boolean"].includes(typeof value))
      .map(([key, value]) => [key, String(value)])
  )

/** Gives nothing when it does not fit the schema; may throw. */
type Encode = (error: DomainError) => Failure | undefined

/** Encodes the errors of a declared class. Another's error of the same tag does not fit the schema, so it fails. */
const encoder = (domain: string, errorClass: ErrorClass): Encode => {
  const { tag, status } = errorClass.grpc
  const fieldsOf = Schema.encodeUnknownOption(
    Schema.toCodecJson(errorClass) as unknown as Schema.ConstraintEncoder<object>
  )
  return (error) => {
    const fields = Option.getOrUndefined(fieldsOf(error))
    if (fields === undefined) return undefined
    // Half a surrogate pair has no place on the wire.
    const message = error.message.slice(0, maxMessageLength).toWellFormed()
    const details = Details.encode(codes.indexOf(status), message, {
      info: { reason: reasonOf(tag), domain, metadata: factsOf(fields) },
      error: { tag, json: JSON.stringify(fields) }
    })
    const failure: Failure = { code: status, message, level: "Info", fields: { error: tag } }
    return details.length > maxDetailsSize ? { ...failure, level: "Warn" } : { ...failure, details }
  }
}

const errorId = (random: Random.Random): string =>
  [random.nextIntUnsafe(), random.nextIntUnsafe()].map((n) => (n >>> 0).toString(16).padStart(8, "0")).join("")

const internal = (domain: string, random: Random.Random, cause: Cause.Cause<unknown>): Failure => {
  const id = errorId(random)
  const message = `internal error ${id}`
  const info = { reason: "INTERNAL", domain, metadata: { [Details.errorIdKey]: id } }
  const details = Details.encode(codes.indexOf("INTERNAL"), message, { info })
  return { code: "INTERNAL", message, details, level: "Error", fields: { error_id: id }, cause }
}

/**
 * Tells how the fibers of a method failed, by the errors that it declares. Error ids are drawn from `random`.
 */
export const failureOf = (
  domain: string,
  errors: ReadonlyArray<ErrorClass>,
  random: Random.Random
): ((cause: Cause.Cause<unknown>) => Failure) => {
  const encoders = new Map(errors.map((errorClass) => [errorClass.grpc.tag, encoder(domain, errorClass)]))
  return (cause) => {
    const error = Cause.findError(cause)
    if (Result.isFailure(error) || Cause.hasDies(cause)) return internal(domain, random, cause)
    if (error.success instanceof Refused) return error.success.failure
    // Only the types say that it has a tag. Its tag, its message and its schema are the service's code, which may throw.
    const encoded = Result.try(() => {
      const failed = (error.success ?? {}) as Partial<DomainError>
      return encoders.get(failed._tag ?? "")?.(failed as DomainError)
    })
    return Result.getOrUndefined(encoded) ?? internal(domain, random, cause)
  }
}

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as LogLevel from "effect/LogLevel"
import type * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { DomainError, ErrorClass } from "../Api.ts"
import { type Code, codes } from "../GrpcError.ts"
import type { Service } from "../GrpcServer.ts"
import * as Details from "./details.ts"

/** How a call that did not succeed ends: what its caller gets, and what the log says of it. */
export interface Failure {
  readonly code: Code
  readonly message: string
  readonly details?: Buffer
  readonly level: LogLevel.Severity
  readonly fields?: Readonly<Record<string, string>>
  /** Logged, and sent to nobody. */
  readonly cause?: Cause.Cause<DomainError>
}

/** A failure that the server itself finds. Its text is ours: it holds nothing of the request or of the inside. */
export const refusal = (code: Code, message: string): Failure => ({ code, message, level: "Warn" })

/** A method with everything about it that does not change from call to call. */
export interface Route {
  /** Such as `/game.GameService/GetPlayer`. */
  readonly path: string
  readonly decode: (bytes: Buffer) => unknown
  /** The whole handler: request in, encoded response out. What it throws is a defect of its fiber. */
  readonly run: (request: unknown) => Effect.Effect<Buffer, DomainError>
  /** How a handler's cause leaves: a declared error as itself, anything else as INTERNAL with an id and no text. */
  readonly failure: (cause: Cause.Cause<DomainError>) => Failure
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

type Encode = (error: DomainError) => Result.Result<Failure, unknown>

/** Encodes the errors of a declared class. Another's error of the same tag does not fit the schema, so it fails. */
const encoder = (domain: string, errorClass: ErrorClass): Encode => {
  const { tag, status } = errorClass.grpc
  const fieldsOf = Schema.encodeUnknownResult(
    Schema.toCodecJson(errorClass) as unknown as Schema.ConstraintEncoder<object>
  )
  return (error) =>
    Result.flatMap(fieldsOf(error), (fields) =>
      // The message is the service's code.
      Result.try((): Failure => {
        // Half a surrogate pair has no place on the wire.
        const message = error.message.slice(0, maxMessageLength).toWellFormed()
        const details = Details.encode(codes.indexOf(status), message, {
          info: { reason: reasonOf(tag), domain, metadata: factsOf(fields) },
          error: { tag, json: JSON.stringify(fields) }
        })
        const failure: Failure = { code: status, message, level: "Info", fields: { error: tag } }
        return details.length > maxDetailsSize ? { ...failure, level: "Warn" } : { ...failure, details }
      })
    )
}

const errorId = (random: Random.Random): string =>
  [random.nextIntUnsafe(), random.nextIntUnsafe()].map((n) => (n >>> 0).toString(16).padStart(8, "0")).join("")

const internal = (domain: string, random: Random.Random, cause: Cause.Cause<DomainError>): Failure => {
  const id = errorId(random)
  const message = `internal error ${id}`
  const info = { reason: "INTERNAL", domain, metadata: { [Details.errorIdKey]: id } }
  const details = Details.encode(codes.indexOf("INTERNAL"), message, { info })
  return { code: "INTERNAL", message, details, level: "Error", fields: { error_id: id }, cause }
}

/** Only the types say that a handler gives an Effect. A promise is waited for, so that its rejection is not unhandled. */
const notAnEffect = (value: unknown): Effect.Effect<never> =>
  Effect.andThen(
    Effect.promise(() => Promise.resolve(value)),
    Effect.die(new TypeError("a handler must give an Effect"))
  )

/** The routes of a service. Error ids are drawn from `random`. */
export const make = ({ api, handlers }: Service, random: Random.Random): ReadonlyArray<Route> =>
  Object.entries(api.definition).map(([name, method]) => {
    const handler = handlers[name] as unknown as (request: unknown) => Effect.Effect<unknown, DomainError>
    const encode = method.responseSerialize as (response: unknown) => Buffer
    const encoders = new Map(
      (api.rules[name]?.errors ?? []).map((errorClass) => [errorClass.grpc.tag, encoder(api.name, errorClass)])
    )
    return {
      path: method.path,
      decode: method.requestDeserialize,
      run: (request) =>
        Effect.map(
          Effect.suspend(() => {
            const effect = handler(request)
            return Effect.isEffect(effect) ? effect : notAnEffect(effect)
          }),
          encode
        ),
      failure: (cause) => {
        const error = Cause.findError(cause)
        if (Result.isFailure(error) || Cause.hasDies(cause)) return internal(api.name, random, cause)
        // Only the types say that it has a tag.
        const { _tag = "" } = (error.success ?? {}) as Partial<DomainError>
        const encoded = encoders.get(_tag)?.(error.success)
        return encoded !== undefined && Result.isSuccess(encoded) ? encoded.success : internal(api.name, random, cause)
      }
    }
  })

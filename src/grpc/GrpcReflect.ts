import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Code } from "./GrpcError.ts"

/**
 * A call by name.
 *
 * - `address`: of a server that speaks plain text, such as `127.0.0.1:50051`
 * - `method`: such as `game.GameService/GetPlayer`; a leading `/` is allowed
 * - `request`: a JSON object. Names as in the .proto or in camel case; 64-bit numbers as numbers or strings, enums by
 *   name or number, bytes in base64
 * - `deadline`: for everything together, the reflection included
 * - `metadata`: sent with the call, lower-case names
 */
export interface ReflectCall {
  readonly address: string
  readonly method: string
  readonly request: string
  readonly deadline: Duration.Input
  readonly metadata?: Readonly<Record<string, string>>
}

/**
 * A call by name that failed.
 *
 * - `code`: of gRPC; INVALID_ARGUMENT also for a request that does not fit the method, UNIMPLEMENTED also for a method
 *   or a reflection that the server does not have
 * - `details`: the text that came with it, or what was wrong with the request
 * - `error`: the error that the server declared, when it is one of ours
 */
export class ReflectError extends Schema.TaggedError<ReflectError>("xdooria/grpc/ReflectError")("ReflectError", {
  code: Code,
  details: Schema.String,
  error: Schema.optionalKey(Schema.Struct({ tag: Schema.String, fields: Schema.Record(Schema.String, Schema.Json) }))
}) {
  override get message(): string {
    return this.error === undefined
      ? `${this.code} ${this.details}`
      : `${this.code} ${this.error.tag} ${JSON.stringify(this.error.fields)}`
  }
}

/** Calls a method that this program knows nothing of: its types come from the server's reflection. Gives JSON. */
export declare const call: (options: ReflectCall) => Effect.Effect<Schema.Json, ReflectError>

import * as Result from "effect/Result"
import { DomainError } from "../../gen/errors/v1/errors.ts"
import { BadRequest, type BadRequest_FieldViolation, ErrorInfo } from "../../gen/google/rpc/error_details.ts"
import { Status } from "../../gen/google/rpc/status.ts"

/** The trailer that carries a google.rpc.Status beside grpc-status. */
export const detailsKey = "grpc-status-details-bin"

const errorInfoType = "type.googleapis.com/google.rpc.ErrorInfo"
const badRequestType = "type.googleapis.com/google.rpc.BadRequest"
const domainErrorType = "type.googleapis.com/xdooria.errors.v1.DomainError"

/** The key of ErrorInfo.metadata that finds the log line of an INTERNAL. */
export const errorIdKey = "error_id"

/** What a failed call says beside its code and message. */
export interface Details {
  readonly info: ErrorInfo
  /** A declared error: its tag and its fields as JSON. */
  readonly error?: DomainError
  /** The fields of a request that do not fit. */
  readonly violations?: ReadonlyArray<BadRequest_FieldViolation>
}

/**
 * Encodes the trailer. A Go client believes it only when code and message are those of the call, and reads the first
 * detail that it knows: so ErrorInfo comes first.
 */
export const encode = (code: number, message: string, details: Details): Buffer => {
  const any = [{ typeUrl: errorInfoType, value: Buffer.from(ErrorInfo.encode(details.info).finish()) }]
  if (details.error !== undefined) {
    any.push({ typeUrl: domainErrorType, value: Buffer.from(DomainError.encode(details.error).finish()) })
  }
  if (details.violations !== undefined) {
    const bad = BadRequest.encode({ fieldViolations: [...details.violations] })
    any.push({ typeUrl: badRequestType, value: Buffer.from(bad.finish()) })
  }
  return Buffer.from(Status.encode({ code, message, details: any }).finish())
}

/** The code and message that the trailer holds; nothing when it is not there once, or does not decode. */
export const statusOf = (
  values: ReadonlyArray<string | Buffer>
): { readonly code: number; readonly message: string } | undefined => {
  const [bytes] = values
  if (values.length !== 1 || !Buffer.isBuffer(bytes)) return undefined
  return Result.getOrUndefined(
    Result.try(() => {
      const { code, message } = Status.decode(bytes)
      return { code, message }
    })
  )
}

/** Decodes the trailer of a call that ended with `code`; nothing when it is not there once, whole and of that code. */
export const decode = (values: ReadonlyArray<string | Buffer>, code: number): Partial<Details> => {
  const [bytes] = values
  if (values.length !== 1 || !Buffer.isBuffer(bytes)) return {}
  const decoded = Result.try(() => {
    const status = Status.decode(bytes)
    if (status.code !== code) return {}
    const find = (typeUrl: string) => status.details.find((any) => any.typeUrl === typeUrl)?.value
    const [info, error, bad] = [find(errorInfoType), find(domainErrorType), find(badRequestType)]
    return {
      ...(bad === undefined ? {} : { violations: BadRequest.decode(bad).fieldViolations }),
      ...(info === undefined ? {} : { info: ErrorInfo.decode(info) }),
      ...(error === undefined ? {} : { error: DomainError.decode(error) })
    }
  })
  return Result.getOrElse(decoded, () => ({}))
}

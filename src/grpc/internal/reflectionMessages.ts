// The two messages of grpc.reflection, as far as this client needs them: v1 and v1alpha are the same.
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire"
import * as Result from "effect/Result"

/** Asks for a file by its name, for the one that declares a symbol, or for the names of all services. */
export type Request = { readonly file: string } | { readonly symbol: string } | "services"

/** Encoded FileDescriptorProtos, or names of services. */
export interface Answer {
  readonly files: ReadonlyArray<Uint8Array>
  readonly services: ReadonlyArray<string>
}

/** Why there are none. */
export interface Refusal {
  readonly code: number
  readonly message: string
}

/** Encodes a ServerReflectionRequest. */
export const encodeRequest = (request: Request): Buffer => {
  const writer = new BinaryWriter()
  if (request === "services") writer.tag(7, 2).string("*")
  else if ("file" in request) writer.tag(3, 2).string(request.file)
  else writer.tag(4, 2).string(request.symbol)
  return Buffer.from(writer.finish())
}

/** Calls `take` for each field; a field that it does not take is skipped. */
const readFields = (bytes: Uint8Array, take: (field: number, reader: BinaryReader) => boolean): void => {
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag()
    if (!take(field, reader)) reader.skip(type)
  }
}

/** Decodes a ServerReflectionResponse. Throws when it is none. */
export const decodeResponse = (bytes: Uint8Array): Result.Result<Answer, Refusal> => {
  const files: Array<Uint8Array> = []
  const services: Array<string> = []
  let refusal: Refusal | undefined
  readFields(bytes, (field, reader) => {
    if (field === 4) {
      readFields(reader.bytes(), (field, reader) => field === 1 && files.push(reader.bytes()) > 0)
    } else if (field === 6) {
      readFields(reader.bytes(), (field, reader) => {
        if (field !== 1) return false
        readFields(reader.bytes(), (field, reader) => field === 1 && services.push(reader.string()) > 0)
        return true
      })
    } else if (field === 7) {
      let code = 0
      let message = ""
      readFields(reader.bytes(), (field, reader) => {
        if (field === 1) code = reader.int32()
        else if (field === 2) message = reader.string()
        return field === 1 || field === 2
      })
      refusal = { code, message }
    } else {
      return false
    }
    return true
  })
  return refusal === undefined ? Result.succeed({ files, services }) : Result.fail(refusal)
}

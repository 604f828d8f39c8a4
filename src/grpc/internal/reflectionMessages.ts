// The two messages of grpc.reflection, as far as a client of unary calls needs them: v1 and v1alpha are the same.
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire"

/** Asks for a file by its name, or for the one that declares a symbol. */
export type Request = { readonly file: string } | { readonly symbol: string }

/** Encoded FileDescriptorProtos, or why there are none. */
export interface Response {
  readonly files: ReadonlyArray<Uint8Array>
  readonly error: { readonly code: number; readonly message: string } | undefined
}

/** Encodes a ServerReflectionRequest. */
export const encodeRequest = (request: Request): Buffer => {
  const writer = new BinaryWriter()
  if ("file" in request) writer.tag(3, 2).string(request.file)
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
export const decodeResponse = (bytes: Uint8Array): Response => {
  const files: Array<Uint8Array> = []
  let error: Response["error"]
  readFields(bytes, (field, reader) => {
    if (field === 4) {
      readFields(reader.bytes(), (field, reader) => field === 1 && files.push(reader.bytes()) > 0)
    } else if (field === 7) {
      let code = 0
      let message = ""
      readFields(reader.bytes(), (field, reader) => {
        if (field === 1) code = reader.int32()
        else if (field === 2) message = reader.string()
        return field === 1 || field === 2
      })
      error = { code, message }
    } else {
      return false
    }
    return true
  })
  return { files, error }
}

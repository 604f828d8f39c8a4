// What generated code of Protocol Buffers uses in place of its own: tools/gen.ts puts it there.
import { type BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire"

/** A reader that knows how deep the message that it reads lies in others. */
export interface NestedReader extends BinaryReader {
  __tsProtoDecodeDepth?: number
}

/** A type of messages as ts-proto generates it. */
export interface MessageType<A> {
  readonly encode: (message: A, writer: BinaryWriter) => BinaryWriter
}

/** A writer that has grown beyond that is not kept: the next message is rarely as large. */
const largestKept = 65_536

let spare: BinaryWriter | undefined

/**
 * A message in bytes. All messages share a writer, one after the other: a new one for each costs more than to write a
 * small message, as what it writes into is allocated outside of the heap.
 */
export const encode = <A>(type: MessageType<A>, message: A): Buffer => {
  const writer = spare ?? new BinaryWriter()
  // Taken: what throws, or encodes another while it is encoded, leaves it to itself.
  spare = undefined
  const { buffer, byteLength, byteOffset } = type.encode(message, writer).finish()
  if (byteLength <= largestKept) spare = writer
  return Buffer.from(buffer, byteOffset, byteLength)
}

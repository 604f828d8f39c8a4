import * as http2 from "node:http2"
import type { Metadata } from "../Call.ts"
import { type Failure, refusal } from "./failure.ts"

// HTTP/2 counts every entry of a header list with 32 bytes more than its name and value.
const entryOverhead = 32

/** What an entry adds to the size of a header list, as HTTP/2 counts it. */
export const sizeOfEntry = (name: string, value: string | Buffer): number =>
  name.length + (typeof value === "string" ? value.length : Math.ceil((value.length * 4) / 3)) + entryOverhead

const sizeOf = (metadata: Metadata): number => {
  let size = 0
  const entries = metadata.toJSON()
  for (const key in entries) {
    for (const value of entries[key]!) size += sizeOfEntry(key, value)
  }
  return size
}

/** Refuses too much metadata, for any kind of call. */
export const metadataRefusal = (metadata: Metadata, limit: number): Failure | undefined =>
  sizeOf(metadata) > limit ? refusal("RESOURCE_EXHAUSTED", `metadata larger than ${limit} bytes`) : undefined

// What a Metadata of gRPC holds; names that begin with grpc- are the protocol's own.
const validName = /^(?!grpc-)[0-9a-z_.-]+$/
// HTTP/2 drops a value with a blank at an end.
const validText = /^(?! )[ -~]*(?<! )$/

/** What HTTP/2 forbids, and what gRPC itself says with every message. */
const reserved = new Set([
  "connection",
  "content-length",
  "content-type",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade"
])

/** Whether it may be sent, by either side. */
export const isEntry = (name: string, value: string | Buffer): boolean =>
  validName.test(name) &&
  !reserved.has(name) &&
  (name.endsWith("-bin") ? Buffer.isBuffer(value) : typeof value === "string" && validText.test(value))

/** Names that HTTP knows have one value, or rules of their own for several. */
const ofHttp = new Set(
  Object.entries(http2.constants).flatMap(([key, name]) => (key.startsWith("HTTP2_HEADER_") ? [String(name)] : []))
)

/** Whether a name may be sent several times. */
export const isRepeatable = (name: string): boolean => !ofHttp.has(name)

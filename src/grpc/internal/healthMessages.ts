// The messages of grpc.health.v1, as a service for the server core.
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire"

/** How a service is, by its number in the protocol; the last one is said by Watch only. */
export const statuses = { SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } as const

/** See {@link statuses}. */
export type Status = keyof typeof statuses

const encodeStatus = (status: Status): Uint8Array => new BinaryWriter().tag(1, 0).int32(statuses[status]).finish()

/** Decodes a HealthCheckRequest. Throws when it is none. */
const decodeRequest = (bytes: Uint8Array): { readonly service: string } => {
  const reader = new BinaryReader(bytes)
  let service = ""
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag()
    if (field === 1 && type === 2) service = reader.string()
    else reader.skip(type)
  }
  return { service }
}

const encodeResponse = ({ status }: { readonly status: Status }): Buffer => Buffer.from(encodeStatus(status))

const encodeList = ({ statuses }: { readonly statuses: Readonly<Record<string, Status>> }): Buffer => {
  const writer = new BinaryWriter()
  for (const [name, status] of Object.entries(statuses)) {
    const entry = new BinaryWriter().tag(1, 2).string(name).tag(2, 2).bytes(encodeStatus(status))
    writer.tag(1, 2).bytes(entry.finish())
  }
  return Buffer.from(writer.finish())
}

/** Nobody calls it with this definition. */
const notDecoded = (): never => {
  throw new TypeError("a server does not decode its responses")
}

const check = {
  path: "/grpc.health.v1.Health/Check",
  requestStream: false,
  responseStream: false,
  requestSerialize: notDecoded,
  requestDeserialize: decodeRequest,
  responseSerialize: encodeResponse,
  responseDeserialize: notDecoded
} as const

/** The service, without a client's half. */
export const HealthService = {
  check,
  list: { ...check, path: "/grpc.health.v1.Health/List", responseSerialize: encodeList },
  watch: { ...check, path: "/grpc.health.v1.Health/Watch", responseStream: true }
} as const

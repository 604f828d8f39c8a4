// HTTP/2 byte by byte, for what no library of HTTP/2 would send.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as net from "node:net"

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export const types = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9
} as const

const endStream = 1
const endHeaders = 4
const ack = 1

export const frame = (type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** An integer of HPACK with a prefix of 7 bits. */
const integer = (value: number): ReadonlyArray<number> => {
  if (value < 127) return [value]
  const bytes = [127]
  for (let rest = value - 127; ; rest >>>= 7) {
    if (rest < 128) return [...bytes, rest]
    bytes.push((rest & 127) | 128)
  }
}

/** A header of HPACK, never indexed and not compressed. Each character is a byte. */
export const field = (name: string, value: string): Buffer =>
  Buffer.concat([
    Buffer.from([0x10, ...integer(name.length)]),
    Buffer.from(name, "latin1"),
    Buffer.from(integer(value.length)),
    Buffer.from(value, "latin1")
  ])

export type Fields = ReadonlyArray<readonly [name: string, value: string]>

/** What a call of gRPC has beside its metadata. */
export const callFields = (path: string): Fields => [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", path],
  [":authority", "localhost"],
  ["te", "trailers"],
  ["content-type", "application/grpc"]
]

const block = (fields: Fields): Buffer => Buffer.concat(fields.map(([name, value]) => field(name, value)))

export const headers = (stream: number, fields: Fields, { end = false } = {}): Buffer =>
  frame(types.headers, endHeaders | (end ? endStream : 0), stream, block(fields))

export const data = (stream: number, bytes: Uint8Array, { end = false } = {}): Buffer =>
  frame(types.data, end ? endStream : 0, stream, bytes)

export const reset = (stream: number, code = 8): Buffer => {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(code)
  return frame(types.reset, 0, stream, payload)
}

export const ping = frame(types.ping, 0, 0, Buffer.alloc(8))

export const settings = frame(types.settings, 0, 0)

export const preface = Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), settings])

export interface Connection {
  readonly send: (...bytes: ReadonlyArray<Uint8Array>) => Effect.Effect<void>
  /** Waits for a frame that fits, also one that came before; gives nothing when the server closes instead. */
  readonly find: (predicate: (frame: Frame) => boolean) => Effect.Effect<Frame | undefined>
  /** Waits until the server closes; gives the frames that came. */
  readonly closed: Effect.Effect<ReadonlyArray<Frame>>
  readonly socket: net.Socket
}

/**
 * A connection that has begun as HTTP/2 does, closed with the scope. It answers the SETTINGS of the server, and nothing
 * else by itself.
 */
export const connect = (address: string): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<net.Socket>((resume) => {
        const [host, port] = address.split(":") as [string, string]
        const socket = net.connect(Number(port), host, () => resume(Effect.succeed(socket)))
        socket.on("error", () => {})
        socket.write(preface)
      }),
      (socket) => Effect.sync(() => socket.destroy())
    ),
    (socket) => {
      const frames: Array<Frame> = []
      const waiting = new Set<() => void>()
      let held = Buffer.alloc(0)
      let isClosed = false
      const wake = () => {
        for (const look of waiting) look()
      }
      socket.on("data", (chunk) => {
        held = Buffer.concat([held, chunk])
        while (held.length >= 9 && held.length >= 9 + held.readUIntBE(0, 3)) {
          const end = 9 + held.readUIntBE(0, 3)
          const [type, flags, stream] = [held.readUInt8(3), held.readUInt8(4), held.readUInt32BE(5)]
          frames.push({ type, flags, stream, payload: held.subarray(9, end) })
          if (type === types.settings && (flags & ack) === 0) socket.write(frame(types.settings, ack, 0))
          held = held.subarray(end)
        }
        wake()
      })
      socket.on("close", () => {
        isClosed = true
        wake()
      })
      const wait = <A>(found: () => A | undefined): Effect.Effect<A> =>
        Effect.callback((resume) => {
          const look = () => {
            const value = found()
            if (value === undefined) return
            waiting.delete(look)
            resume(Effect.succeed(value))
          }
          waiting.add(look)
          look()
          return Effect.sync(() => waiting.delete(look))
        })
      return {
        socket,
        send: (...bytes) =>
          Effect.sync(() => {
            for (const each of bytes) if (!socket.destroyed) socket.write(each)
          }),
        find: (predicate) =>
          Effect.map(
            wait(() => {
              const found = frames.find(predicate)
              return found === undefined && !isClosed ? undefined : { found }
            }),
            ({ found }) => found
          ),
        closed: wait(() => (isClosed ? frames : undefined))
      }
    }
  )

/** The code of a GOAWAY, and its text. */
export const goawayOf = (frames: ReadonlyArray<Frame>): readonly [code: number, text: string] | undefined => {
  const goaway = frames.find(({ type }) => type === types.goaway)
  return goaway && [goaway.payload.readUInt32BE(4), goaway.payload.subarray(8).toString("latin1")]
}

import type * as grpc from "@grpc/grpc-js"

type Transport = grpc.ServerInterceptingCallInterface

/** What grpc-js keeps to itself of a call. */
interface Internals {
  /** Cuts bytes into messages; its state is 0 between two. */
  readonly decoder: { readonly readState: number }
  decompressMessage: (this: object, message: Buffer, encoding: string) => unknown
}

const internalsOf = (transport: Transport): Internals => transport as unknown as Internals

const refused = (details: string) => ({ code: 13, details })

/** With its frame: a byte that says whether it is compressed, and its length. */
function decompress(this: object, message: Buffer, encoding: string): unknown {
  const driver = Object.getPrototypeOf(this) as Internals
  return encoding === "identity" && message[0] !== 0
    ? Promise.reject(refused("a compressed message without an encoding"))
    : driver.decompressMessage.call(this, message, encoding)
}

/**
 * Has grpc-js refuse a message that is compressed by its flag and has no encoding, as gRPC wants it. By itself it takes it
 * as it is.
 */
export const refuseUnencoded = (transport: Transport): void => {
  internalsOf(transport).decompressMessage = decompress
}

/**
 * Refuses a request that ends within a message; gives whether it did. grpc-js drops what has come of it, so that a stream
 * of requests seems whole.
 */
export const refuseCutOff = (transport: Transport): boolean => {
  if (internalsOf(transport).decoder.readState === 0) return false
  transport.sendStatus({ ...refused("the request ends within a message"), metadata: null })
  return true
}

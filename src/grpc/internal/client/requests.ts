import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { GrpcError } from "../../GrpcError.ts"
import type { ClientCall } from "../transport.ts"
import { encode, type Remote } from "./remote.ts"

/** Sends all requests, each when there is room for it, then says that there are no more. */
export const sendAll = <E, R>(
  call: ClientCall,
  remote: Remote,
  requests: Stream.Stream<unknown, E, R>,
  maxMessageSize: number
): Effect.Effect<void, E | GrpcError, R> => {
  const send = (request: unknown): Effect.Effect<void, GrpcError> =>
    Effect.callback((resume) => {
      const { bytes, error } = encode(remote, request, maxMessageSize)
      if (error !== undefined) return resume(Effect.fail(error))
      call.send(bytes, () => resume(Effect.void))
    })
  return Effect.andThen(
    Stream.runForEach(requests, send),
    Effect.sync(() => call.halfClose())
  )
}

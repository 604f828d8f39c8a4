import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { GrpcError } from "../../GrpcError.ts"
import type { ClientCall } from "../transport.ts"
import { encode, type Remote } from "./remote.ts"

const ignore = (): void => {}

/** What sends the one request of a call. */
export const whole =
  (bytes: Buffer) =>
  (call: ClientCall): void => {
    call.send(bytes, ignore)
    call.halfClose()
  }

/** Sends all requests, each when there is room for it, then says that there are no more. */
const sendAll = <E, R>(
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

/** What sends the requests of a call: `send` is told of the call, `sent` waits for that and sends them all. */
export const streamed = <E, R>(
  remote: Remote,
  requests: Stream.Stream<unknown, E, R>,
  maxMessageSize: number
): { readonly send: (call: ClientCall) => void; readonly sent: Effect.Effect<void, E | GrpcError, R> } => {
  const opened = Deferred.makeUnsafe<ClientCall>()
  return {
    send: (call) => Deferred.doneUnsafe(opened, Effect.succeed(call)),
    sent: Effect.flatMap(Deferred.await(opened), (call) => sendAll(call, remote, requests, maxMessageSize))
  }
}

// grpc.testing.TestService on bare grpc-js: what ours is compared with.
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import {
  type EchoStatus,
  type StreamingInputCallRequest,
  type StreamingOutputCallRequest,
  type TestServiceServer,
  TestServiceService
} from "../gen/grpc/testing/test.ts"
import { echoed, payload } from "./TestService.ts"

/** Sends back what the client wants to see again; gives the part for the end of the call. */
const echo = (call: {
  readonly metadata: grpc.Metadata
  readonly sendMetadata: (metadata: grpc.Metadata) => void
}): grpc.Metadata => {
  const [headers, trailers] = [new grpc.Metadata(), new grpc.Metadata()]
  for (const value of call.metadata.get(echoed.header)) headers.add(echoed.header, value)
  for (const value of call.metadata.get(echoed.trailer)) trailers.add(echoed.trailer, value)
  call.sendMetadata(headers)
  return trailers
}

const refusalOf = (status: EchoStatus | undefined, metadata: grpc.Metadata) =>
  status === undefined || status.code === 0 ? undefined : { code: status.code, details: status.message, metadata }

const handlers: TestServiceServer = {
  emptyCall: (_, reply) => reply(null, {}),
  unaryCall: (call, reply) => {
    const trailers = echo(call)
    const refusal = refusalOf(call.request.responseStatus, trailers)
    if (refusal === undefined) reply(null, { payload: payload(call.request.responseSize) }, trailers)
    else reply(refusal)
  },
  streamingOutputCall: (call) => {
    const trailers = echo(call)
    for (const { size } of call.request.responseParameters) call.write({ payload: payload(size) })
    call.end(trailers)
  },
  streamingInputCall: (call, reply) => {
    let sum = 0
    call.on("data", ({ payload }: StreamingInputCallRequest) => (sum += payload?.body.length ?? 0))
    call.on("end", () => reply(null, { aggregatedPayloadSize: sum }))
  },
  fullDuplexCall: (call) => {
    const trailers = echo(call)
    call.on("data", ({ responseParameters, responseStatus }: StreamingOutputCallRequest) => {
      for (const { size } of responseParameters) call.write({ payload: payload(size) })
      const refusal = refusalOf(responseStatus, trailers)
      if (refusal !== undefined) call.emit("error", refusal)
    })
    call.on("end", () => call.end(trailers))
  }
}

/** Serves it on a free port of loopback, as long as the scope; gives the address. */
export const serve = Effect.acquireRelease(
  Effect.callback<{ readonly server: grpc.Server; readonly address: string }>((resume) => {
    const server = new grpc.Server()
    server.addService(TestServiceService, handlers)
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_, port) =>
      resume(Effect.succeed({ server, address: `127.0.0.1:${port}` }))
    )
  }),
  ({ server }) => Effect.sync(() => server.forceShutdown())
).pipe(Effect.map(({ address }) => address))

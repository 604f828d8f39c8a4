// grpc.testing.TestService on a GrpcServer of ours, as gRPC's interop tests and the peer in Go call it.
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type Code, codes, Grpc, GrpcServer, type ServeOptions } from "xdooria/grpc"
import { layerServerLive } from "xdooria/grpc/live"
import {
  type EchoStatus,
  type ResponseParameters,
  type StreamingOutputCallRequest,
  TestServiceService
} from "../gen/grpc/testing/test.ts"
import * as Recorder from "../support/Recorder.ts"

/** The metadata that a client gets back, and what makes a call wait for ever. */
export const echoed = { header: "x-grpc-test-echo-initial", trailer: "x-grpc-test-echo-trailing-bin" }
const hold = "x-hold"

/** A payload of so many zeros. */
export const payload = (size: number) => ({ type: 0 as const, body: Buffer.alloc(size) })

const asked = (status: Exclude<Code, "OK">) =>
  class Asked extends Grpc.TaggedError<Asked>()(
    `Asked_${status}`,
    { text: Schema.String },
    { status, message: ({ text }) => text }
  ) {}

/** By its number a declared error of each status, for a client that asks for it. */
const errors = codes.slice(1).map((code) => asked(code as Exclude<Code, "OK">))

export const TestApi = Grpc.api(TestServiceService, {
  emptyCall: { public: true },
  unaryCall: { public: true, errors },
  streamingOutputCall: { public: true, errors },
  streamingInputCall: { public: true },
  fullDuplexCall: { public: true, errors }
})

/** What became of the calls that arrived. */
export interface Seen {
  readonly method: string
  readonly what: "begun" | "succeeded" | "failed" | "interrupted"
}

const watched = (seen: Recorder.Recorder<Seen>) =>
  Grpc.middleware({
    wrap: (next) =>
      Effect.flatMap(Grpc.Call, ({ method }) =>
        Effect.andThen(
          seen.record({ method, what: "begun" }),
          Effect.onExit(next, (exit) => {
            const how = Exit.hasInterrupts(exit) ? "interrupted" : "failed"
            return seen.record({ method, what: Exit.isSuccess(exit) ? "succeeded" : how })
          })
        )
      )
  })

/** Before every call: sends back what the client wants to see again, and holds what it wants held. */
const prelude = Effect.gen(function* () {
  const { metadata, setHeader, setTrailer } = yield* Grpc.Call
  for (const value of metadata.get(echoed.header)) yield* setHeader(echoed.header, value)
  for (const value of metadata.get(echoed.trailer)) yield* setTrailer(echoed.trailer, value)
  if (metadata.get(hold).length > 0) return yield* Effect.never
})

const refuse = ({ code, message }: EchoStatus) => Effect.fail(new errors[code - 1]!({ text: message }))

const respond = ({ intervalUs, size }: ResponseParameters) =>
  Effect.delay(Effect.succeed({ payload: payload(size) }), Duration.micros(BigInt(intervalUs)))

const respondAll = ({ responseParameters, responseStatus }: StreamingOutputCallRequest) =>
  Stream.fromIterable(responseParameters).pipe(
    Stream.mapEffect(respond),
    Stream.concat(
      responseStatus === undefined || responseStatus.code === 0
        ? Stream.empty
        : Stream.fromEffectDrain(refuse(responseStatus))
    )
  )

const handlers = Grpc.handlers(
  TestApi,
  Effect.succeed({
    emptyCall: () => Effect.as(prelude, {}),
    unaryCall: Effect.fnUntraced(function* ({ responseSize, responseStatus }) {
      yield* prelude
      if (responseStatus !== undefined && responseStatus.code !== 0) return yield* refuse(responseStatus)
      return { payload: payload(responseSize) }
    }),
    streamingOutputCall: (request) => Stream.unwrap(Effect.as(prelude, respondAll(request))),
    streamingInputCall: Effect.fnUntraced(function* (requests) {
      yield* prelude
      const sum = yield* Stream.runFold(
        requests,
        () => 0,
        (total, { payload }) => total + (payload?.body.length ?? 0)
      )
      return { aggregatedPayloadSize: sum }
    }),
    fullDuplexCall: (requests) => Stream.unwrap(Effect.as(prelude, Stream.flatMap(requests, respondAll)))
  })
)

/** Serves it on a free port of loopback, as long as the scope; tells what it saw. */
export const serve = Effect.fnUntraced(function* (
  changes: Partial<Grpc.GrpcSettings> = {},
  options: ServeOptions = {}
) {
  const seen = yield* Recorder.make<Seen>()
  const server = layerServerLive({ port: 0, env: "test", drainDelay: Duration.zero, ...changes })
  const context = yield* Layer.build(
    GrpcServer.serve(Grpc.use(handlers, watched(seen)), options).pipe(Layer.provideMerge(server))
  )
  return { address: yield* Context.get(context, GrpcServer).address, seen }
})

// Our client calls a server of grpc-go: calls of all four kinds, what its statuses become, and pings. The server has what
// grpc-go has by default: a client that pings more often than every 5 minutes is sent away.
import { assert, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { codes, Grpc, type GrpcError } from "xdooria/grpc"
import { layerClientLive } from "xdooria/grpc/live"
import { TestServiceService } from "../gen/grpc/testing/test.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as RealServer from "../support/RealServer.ts"
import { echoed, payload } from "./TestService.ts"

class Full extends Grpc.TaggedError<Full>()(
  "Full",
  { room: Schema.String, since: Schema.Date },
  { status: "RESOURCE_EXHAUSTED" }
) {}

const Repeated = Grpc.api(TestServiceService, { unaryCall: { idempotent: true } })
const Once = Grpc.api(TestServiceService, {})
const Typed = Grpc.api(TestServiceService, { unaryCall: { errors: [Full] }, fullDuplexCall: { errors: [Full] } })

const simple = {
  responseType: 0 as const,
  responseSize: 1,
  payload: undefined,
  responseCompressed: undefined,
  responseStatus: undefined,
  expectCompressed: undefined
}

const parameters = (sizes: ReadonlyArray<number>, intervalUs = 0) =>
  sizes.map((size) => ({ size, intervalUs, compressed: undefined }))

const streaming = { responseType: 0 as const, responseParameters: [], payload: undefined, responseStatus: undefined }

const sizesOf = <E, R>(responses: Stream.Stream<{ readonly payload: { readonly body: Buffer } | undefined }, E, R>) =>
  Effect.map(Stream.runCollect(responses), (all) => all.map(({ payload }) => payload?.body.length))

const refused = (code: number, message = "as asked") => ({ ...simple, responseStatus: { code, message } })

const tagOf = <E extends { readonly _tag: string }>(error: E | GrpcError): string =>
  error._tag === "GrpcError" ? (error as GrpcError).reason._tag : error._tag

/** What each status becomes when the method may be repeated, and when not. */
const reasons: Readonly<Record<string, readonly [repeated: string, once: string]>> = {
  CANCELLED: ["Unavailable", "OutcomeUnknown"],
  UNKNOWN: ["UnexpectedStatus", "UnexpectedStatus"],
  INVALID_ARGUMENT: ["InvalidArgument", "InvalidArgument"],
  DEADLINE_EXCEEDED: ["DeadlineExceeded", "OutcomeUnknown"],
  NOT_FOUND: ["UnexpectedStatus", "UnexpectedStatus"],
  ALREADY_EXISTS: ["UnexpectedStatus", "UnexpectedStatus"],
  PERMISSION_DENIED: ["PermissionDenied", "PermissionDenied"],
  RESOURCE_EXHAUSTED: ["ResourceExhausted", "ResourceExhausted"],
  FAILED_PRECONDITION: ["UnexpectedStatus", "UnexpectedStatus"],
  ABORTED: ["UnexpectedStatus", "UnexpectedStatus"],
  OUT_OF_RANGE: ["UnexpectedStatus", "UnexpectedStatus"],
  UNIMPLEMENTED: ["Unimplemented", "Unimplemented"],
  INTERNAL: ["Internal", "Internal"],
  UNAVAILABLE: ["Unavailable", "OutcomeUnknown"],
  DATA_LOSS: ["UnexpectedStatus", "UnexpectedStatus"],
  UNAUTHENTICATED: ["Unauthenticated", "Unauthenticated"]
}

RealServer.suite("goPeer", "a server of grpc-go", ({ host, port }) => {
  const target = `${host}:${port}`

  it.live("answers calls of all four kinds, compressed too", () =>
    Effect.gen(function* () {
      const client = yield* Grpc.client(Once, { target })
      for (const metadata of [{}, { "x-compress": "gzip" }]) {
        const one = yield* client.unaryCall({ ...simple, responseSize: 100_000 }, { metadata })
        assert.strictEqual(one.payload?.body.length, 100_000)
        const sizes = [1, 100_000, 7]
        const many = client.streamingOutputCall({ ...streaming, responseParameters: parameters(sizes) }, { metadata })
        assert.deepStrictEqual(yield* sizesOf(many), sizes)
        const requests = Stream.fromIterable(
          sizes.map((size) => ({ payload: payload(size), expectCompressed: undefined }))
        )
        const { aggregatedPayloadSize } = yield* client.streamingInputCall(requests, { metadata })
        assert.strictEqual(aggregatedPayloadSize, 100_008)
        const asked = Stream.fromIterable(
          sizes.map((size) => ({ ...streaming, responseParameters: parameters([size]), payload: payload(size) }))
        )
        assert.deepStrictEqual(yield* sizesOf(client.fullDuplexCall(asked, { metadata })), sizes)
      }
    }).pipe(Effect.provide(layerClientLive()))
  )

  it.live("gives its metadata, before the first response and after the last", () =>
    Effect.gen(function* () {
      const client = yield* Grpc.client(Once, { target })
      const seen: Array<string | Buffer | undefined> = []
      yield* client.unaryCall(simple, {
        metadata: { [echoed.header]: "hello" },
        onHeaders: (headers) => seen.push(headers.get(echoed.header)[0], ...headers.get("x-peer")),
        onTrailers: (trailers) => seen.push(...trailers.get(echoed.header), "end")
      })
      assert.deepStrictEqual([seen[0], seen.at(-1)], ["hello", "end"])
      assert.match(String(seen[1]), /^127\.0\.0\.1:\d+$/)
    }).pipe(Effect.provide(layerClientLive()))
  )

  it.live("gives statuses that become reasons", () =>
    Effect.gen(function* () {
      const repeated = yield* Grpc.client(Repeated, { target })
      const once = yield* Grpc.client(Once, { target })
      const found = yield* Effect.forEach(
        codes.slice(1),
        (name, index) =>
          Effect.gen(function* () {
            const request = refused(index + 1)
            const errors = yield* Effect.all([
              Effect.flip(repeated.unaryCall(request)),
              Effect.flip(once.unaryCall(request))
            ])
            for (const { reason } of errors) assert.include(reason, { details: "as asked" })
            return [name, errors.map(tagOf)] as const
          }),
        { concurrency: 4 }
      )
      assert.deepEqual(Object.fromEntries(found) as object, reasons)
    }).pipe(Effect.provide(layerClientLive({ breakerFailures: 0 })))
  )

  it.live("gives errors that a method declares, and ids of log lines", () =>
    Effect.gen(function* () {
      const client = yield* Grpc.client(Typed, { target })
      const full = { room: "blue", since: new Date(0) }
      const json = JSON.stringify({ _tag: "Full", room: "blue", since: "1970-01-01T00:00:00.000Z" })
      const metadata = { "x-tag": "Full", "x-json": json }
      const request = refused(8)
      assert.deepInclude(yield* Effect.flip(client.unaryCall(request, { metadata })), full)
      const stream = client.fullDuplexCall(
        Stream.make(
          { ...streaming, responseParameters: parameters([1]) },
          { ...streaming, responseStatus: request.responseStatus }
        ),
        { metadata }
      )
      assert.deepInclude(yield* Effect.flip(Stream.runDrain(stream)), full)
      // An error of that name with other fields is not this client's.
      const other = yield* Effect.flip(client.unaryCall(request, { metadata: { "x-tag": "Full", "x-json": "{}" } }))
      assert.strictEqual(tagOf(other), "ResourceExhausted")
      const internal = yield* Effect.flip(client.unaryCall(refused(13), { metadata: { "x-error-id": "abc" } }))
      assert.deepInclude((internal as GrpcError).reason, { _tag: "Internal", errorId: "abc" })
    }).pipe(Effect.provide(layerClientLive()))
  )

  it.live("is left at the deadline", () =>
    Effect.gen(function* () {
      const client = yield* Grpc.client(Repeated, { target })
      const options = { deadline: "100 millis", metadata: { "x-hold": "1" } } as const
      // Several, as sometimes the server is there first.
      const errors = yield* Effect.all(
        Array.from({ length: 20 }, () => Effect.flip(client.unaryCall(simple, options))),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual([...new Set(errors.map(tagOf))], ["DeadlineExceeded"])
    }).pipe(Effect.provide(layerClientLive()))
  )

  /** A client of its own, on a connection that its proxy counts. */
  const connected = Effect.fnUntraced(function* (metadata: Readonly<Record<string, string>>) {
    const proxy = yield* FaultProxy.make({ host, port, seed: 1 })
    const address = `127.0.0.1:${proxy.port}`
    const client = yield* Grpc.client(Once, { target: Grpc.endpoints([address], metadata) })
    let peer = ""
    /** Which connection a call takes, as the server knows it. */
    const used = Effect.map(
      client.unaryCall(simple, { onHeaders: (headers) => (peer = String(headers.get("x-peer")[0])) }),
      () => peer
    )
    return { ...client, proxy, used }
  })

  const pings = layerClientLive({ keepaliveTime: Duration.millis(20), keepaliveTimeout: Duration.seconds(5) })

  /** A stream of responses, with one now, and one when everything is long over. */
  const lasting = { ...streaming, responseParameters: [...parameters([1]), ...parameters([1], 300_000_000)] }

  it.live("sends a client away that pings it, and not one that does not know it to allow that", () =>
    Effect.gen(function* () {
      const pinging = yield* connected({ keepalive: "true" })
      const patient = yield* connected({})
      yield* pinging.used
      const connection = yield* patient.used
      // While idle, twice: the second time less often, as grpc-js takes the hint.
      yield* pinging.proxy.accepted.pipe(
        Effect.repeat({ until: (accepted) => accepted >= 3, schedule: Schedule.spaced(Duration.millis(10)) })
      )
      assert.strictEqual(yield* patient.used, connection)
      // With a call open.
      const begun = yield* Stream.toPull(patient.streamingOutputCall(lasting))
      yield* begun
      const error = yield* Effect.flip(Stream.runDrain(pinging.streamingOutputCall(lasting)))
      assert.isFalse((error as GrpcError).isSafeToRetry)
      assert.strictEqual(yield* patient.used, connection)
      assert.strictEqual(yield* patient.proxy.accepted, 1)
    }).pipe(Effect.provide(pings))
  )
})

import * as grpc from "@grpc/grpc-js"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RcMap from "effect/RcMap"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import type { AnyApi, CallOptions, Client, DomainError, ErrorClass, Method } from "./Api.ts"
import { GrpcConfig, type GrpcSettings } from "./Grpc.ts"
import { GrpcClient } from "./GrpcClient.ts"
import {
  GrpcError,
  InsecureTransport,
  Internal,
  InvalidArgument,
  InvalidTarget,
  OutcomeUnknown,
  Unavailable
} from "./GrpcError.ts"
import * as Deadline from "./internal/deadline.ts"
import * as Details from "./internal/details.ts"
import { isLoopback } from "./internal/listener.ts"
import { type Outcome, toReason } from "./internal/outcome.ts"
import * as Traceparent from "./internal/traceparent.ts"

const driverOptions = (settings: GrpcSettings): grpc.ClientOptions => ({
  "grpc.max_receive_message_length": settings.maxMessageSize,
  "grpc.max_send_message_length": settings.maxMessageSize,
  "grpc.enable_channelz": 0,
  // Without this a TXT record of the target's name could turn on retries of calls that are not idempotent.
  "grpc.service_config_disable_resolution": 1,
  // By default http_proxy and its like would carry plain text, meant for this machine, to another.
  "grpc.enable_http_proxy": 0,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2000
})

/** Whether a target, such as `game:50051`, `dns:///game:50051` or `ipv4:127.0.0.1:1,127.0.0.1:2`, is this machine. */
const isLocal = (target: string): boolean =>
  target.startsWith("unix:") ||
  target
    .replace(/^(?:dns|ipv4|ipv6):(?:\/\/[^/]*\/)?/, "")
    .split(",")
    .every((address) => isLoopback(address.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1")))

type Decode = (json: string) => Result.Result<DomainError, unknown>

const decoderOf = (errorClass: ErrorClass): Decode =>
  Schema.decodeUnknownResult(
    Schema.fromJsonString(Schema.toCodecJson(errorClass)) as unknown as Schema.ConstraintDecoder<DomainError>
  )

/** A method with everything about it that does not change from call to call. */
interface Remote {
  readonly name: string
  readonly method: Method
  readonly idempotent: boolean
  readonly decoders: ReadonlyMap<string, Decode>
}

const remoteOf = (api: AnyApi, key: string, method: Method): Remote => {
  const { errors = [], idempotent = false } = api.rules[key] ?? {}
  const decoders = new Map(errors.map((errorClass) => [errorClass.grpc.tag, decoderOf(errorClass)]))
  return { name: method.path.slice(1), method, idempotent, decoders }
}

/** The declared error that a status carries, or else the reason why the call failed. */
const toError = (remote: Remote, outcome: Outcome): DomainError => {
  const { error } = Details.decode(outcome.statusDetails, outcome.code)
  const decoded = error === undefined ? undefined : remote.decoders.get(error.tag)?.(error.json)
  return decoded !== undefined && Result.isSuccess(decoded)
    ? decoded.success
    : new GrpcError({ reason: toReason(outcome) })
}

const metadataOf = (entries: Readonly<Record<string, string>>, span: Tracer.AnySpan | undefined): grpc.Metadata => {
  const metadata = new grpc.Metadata()
  if (span !== undefined) metadata.set(Traceparent.key, Traceparent.encode(span))
  for (const key in entries) metadata.set(key, entries[key]!)
  return metadata
}

const identity = (bytes: Buffer): Buffer => bytes

/** One call. What cannot be sent is told apart from what was sent, so that only the latter's outcome is unknown. */
const invoke = (
  channel: grpc.Client,
  remote: Remote,
  request: unknown,
  deadline: Duration.Duration,
  entries: Readonly<Record<string, string>>
): Effect.Effect<unknown, DomainError> =>
  Effect.withFiber((fiber) => {
    const { name, method, idempotent } = remote
    const span = Context.getOrUndefined(fiber.context, Tracer.ParentSpan)
    const prepared = Result.try(() => ({
      bytes: method.requestSerialize(request as never),
      metadata: metadataOf(entries, span)
    }))
    if (Result.isFailure(prepared)) {
      const details = "the request or its metadata cannot be encoded"
      return Effect.fail(new GrpcError({ reason: new InvalidArgument({ method: name, details }) }))
    }
    const { bytes, metadata } = prepared.success
    if (channel.getChannel().getConnectivityState(false) === grpc.connectivityState.SHUTDOWN) {
      const details = "the client's scope is closed"
      return Effect.fail(new GrpcError({ reason: new Unavailable({ method: name, details }) }))
    }
    const target = channel.getChannel().getTarget()
    let begun = false
    const outcomeOf = ({ code, details, metadata }: grpc.ServiceError, peer: string): Outcome => ({
      method: name,
      idempotent,
      code,
      details,
      statusDetails: metadata.get(Details.detailsKey),
      answered: begun || Object.keys(metadata.toJSON()).length > 0,
      peer,
      target
    })
    return Effect.callback<unknown, DomainError>((resume) => {
      const onReply = (error: grpc.ServiceError | null, response?: Buffer) => {
        if (error !== null) return resume(Effect.fail(toError(remote, outcomeOf(error, call.getPeer()))))
        const decoded = Result.try(() => method.responseDeserialize(response!))
        if (Result.isSuccess(decoded)) return resume(Effect.succeed(decoded.success))
        // It was answered, so it was applied; what it gave is lost.
        const lost = { method: name, details: "the response does not decode" }
        const reason = idempotent
          ? new Internal({ ...lost, repeatable: true })
          : new OutcomeUnknown({ ...lost, code: "INTERNAL" })
        resume(Effect.fail(new GrpcError({ reason })))
      }
      const options = { deadline: Deadline.after(Date.now(), deadline) }
      const call = channel.makeUnaryRequest<Buffer, Buffer>(
        method.path,
        identity,
        identity,
        bytes,
        metadata,
        options,
        onReply
      )
      call.on("metadata", () => (begun = true))
      return Effect.sync(() => call.cancel())
    })
  })

const openChannel = (target: string, settings: GrpcSettings): Effect.Effect<grpc.Client, GrpcError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      try: () => new grpc.Client(target, grpc.credentials.createInsecure(), driverOptions(settings)),
      catch: () => new GrpcError({ reason: new InvalidTarget({ service: target, problem: "it is no address" }) })
    }),
    (channel) => Effect.sync(() => channel.close())
  )

const defaults = Schema.decodeSync(GrpcConfig.schema)({})

/**
 * Makes a client; what is not given has the default of section `grpc`. A channel closes with the last scope of its
 * clients, or with that of this effect.
 */
export const makeLive = (given: Partial<GrpcSettings> = {}): Effect.Effect<GrpcClient["Service"], never, Scope.Scope> =>
  Effect.gen(function* () {
    const settings = { ...defaults, ...given }
    const channels = yield* RcMap.make({ lookup: (target: string) => openChannel(target, settings) })
    return {
      make: Effect.fnUntraced(function* (api, { target = settings.target }) {
        if (typeof target !== "string" || target === "") {
          const reason = new InvalidTarget({ service: api.name, problem: "none is given" })
          return yield* new GrpcError({ reason })
        }
        if (!settings.allowInsecure && !isLocal(target)) {
          return yield* new GrpcError({ reason: new InsecureTransport({ address: target }) })
        }
        const channel = yield* RcMap.get(channels, target)
        const call =
          (remote: Remote) =>
          (request: unknown, { deadline, metadata = {} }: CallOptions = {}) =>
            invoke(
              channel,
              remote,
              request,
              deadline === undefined ? settings.deadline : Duration.fromInputUnsafe(deadline),
              metadata
            )
        return Object.fromEntries(
          Object.entries(api.definition).map(([key, method]) => [key, call(remoteOf(api, key, method))])
        ) as unknown as Client<AnyApi>
      })
    }
  })

/** As {@link GrpcClientLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = (options: Partial<GrpcSettings> = {}): Layer.Layer<GrpcClient> =>
  Layer.effect(GrpcClient, makeLive(options))

/** A client of @grpc/grpc-js, on section `grpc`. */
export const GrpcClientLive: Layer.Layer<GrpcClient, InvalidConfig> = Layer.effect(
  GrpcClient,
  Effect.flatMap(Config.get(GrpcConfig), makeLive)
)

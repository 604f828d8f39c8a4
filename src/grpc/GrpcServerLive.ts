import * as grpc from "@grpc/grpc-js"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import { GrpcConfig, type GrpcSettings } from "./Grpc.ts"
import { GrpcError, InsecureTransport, InvalidService, NotServing } from "./GrpcError.ts"
import { GrpcServer, type Service } from "./GrpcServer.ts"
import * as Call from "./internal/call.ts"
import * as Health from "./internal/health.ts"
import * as Listener from "./internal/listener.ts"
import * as Reflection from "./internal/reflection.ts"
import * as Route from "./internal/route.ts"

/**
 * What a server is made of: the values of section `grpc`, and where it listens.
 *
 * - `host`, `port`: as in section `server`
 * - `env`: in prod there is no reflection, and plain text only with `allowInsecure`
 */
export interface GrpcServerOptions extends GrpcSettings {
  readonly host: string
  readonly port: number
  readonly env: Config.Environment
}

const defaults: GrpcServerOptions = {
  ...Schema.decodeSync(Config.ServerConfig.schema)({}),
  ...Schema.decodeSync(GrpcConfig.schema)({})
}

/** The longest that a stopping server waits for what it has just cut. */
const cutTime = Duration.millis(500)

const driverOptions = (options: GrpcServerOptions): grpc.ServerOptions => ({
  "grpc.max_receive_message_length": options.maxMessageSize,
  "grpc.max_send_message_length": options.maxMessageSize,
  "grpc.max_concurrent_streams": options.maxConcurrentStreams,
  // Its bookkeeping costs every call, and a service that tells it to strangers is not wanted.
  "grpc.enable_channelz": 0,
  ...(Duration.isZero(options.maxConnectionAge)
    ? {}
    : {
        "grpc.max_connection_age_ms": Duration.toMillis(options.maxConnectionAge),
        "grpc.max_connection_age_grace_ms": Duration.toMillis(options.maxConnectionAgeGrace)
      })
})

const invalid = (problem: string): GrpcError => new GrpcError({ reason: new InvalidService({ problem }) })

/** Puts the methods of all services on the caller's context, so that a handler's own log lines name its method. */
const targetsOf = (
  services: ReadonlyArray<Service>,
  context: Context.Context<never>
): Effect.Effect<ReadonlyMap<string, Call.Target>, GrpcError> => {
  const targets = new Map<string, Call.Target>()
  for (const service of services) {
    for (const route of Route.make(service, Context.get(context, Random.Random))) {
      if (targets.has(route.path)) return Effect.fail(invalid(`the method ${route.path} twice`))
      const annotations = { ...Context.get(context, References.CurrentLogAnnotations), method: route.path }
      targets.set(route.path, {
        ...route,
        context: Context.add(context, References.CurrentLogAnnotations, annotations)
      })
    }
  }
  return Effect.succeed(targets)
}

const identity = (bytes: Buffer): Buffer => bytes

/** Makes the methods known to grpc-js, with bytes as messages: they are decoded and run by our interceptor. */
const register = (server: grpc.Server, paths: Iterable<string>): void => {
  for (const path of paths) {
    const method = {
      path,
      requestStream: false,
      responseStream: false,
      requestSerialize: identity,
      requestDeserialize: identity,
      responseSerialize: identity,
      responseDeserialize: identity
    }
    server.addService({ [path]: method }, {})
  }
}

/** Ends calls that are older than the server allows. The oldest is due first, so one timer is enough. */
const expire = ({ open, clock, maxDeadlineMillis }: Call.Calls): Effect.Effect<never> =>
  Effect.forever(
    Effect.suspend(() => {
      const now = Call.monotonicMillis(clock)
      for (const call of open) {
        const left = call.startedAt + maxDeadlineMillis - now
        if (left > 0) return Effect.sleep(Math.ceil(left))
        call.cut(Route.refusal("DEADLINE_EXCEEDED", "deadline of the server exceeded"))
      }
      // A call that comes from now on is not due before that.
      return Effect.sleep(maxDeadlineMillis)
    })
  )

/** A Watch lasts, but its request must not; of what was added to the native server we know nothing. */
const boundOf = (path: string): Call.Bound => {
  if (path === Health.watchPath) return "request"
  return /^\/grpc\.(?:health|reflection)\./.test(path) ? "call" : "nothing"
}

const stopping = Route.refusal("UNAVAILABLE", "the server is stopping")

/** Waits until no handler runs any more, and all that was answered is out. */
const idle = (calls: Call.Calls): Effect.Effect<void> =>
  Effect.callback((resume) => {
    calls.onEmpty = () => resume(Effect.void)
    if (calls.open.size === 0) calls.onEmpty()
  })

/**
 * Makes a server that listens when it is given services; what is not given has its section's default. Its errors are
 * those of `serve`: AddressInUse, CannotListen, InsecureTransport, InvalidService.
 */
export const makeLive = (given: Partial<GrpcServerOptions> = {}): Effect.Effect<GrpcServer["Service"]> =>
  Effect.gen(function* () {
    const options = { ...defaults, ...given }
    const calls: Call.Calls = {
      clock: yield* Clock.Clock,
      open: new Set(),
      onEmpty: () => {},
      maxDeadlineMillis: Duration.toMillis(options.maxDeadline),
      maxMetadataSize: options.maxMetadataSize,
      maxMessageSize: options.maxMessageSize
    }
    const standing = new Set<Call.StandingCall>()
    let targets: ReadonlyMap<string, Call.Target> = new Map()
    let used = false
    let address: string | undefined

    const native = new grpc.Server({
      ...driverOptions(options),
      interceptors: [
        ({ path }, transport) => {
          const target = targets.get(path)
          if (target === undefined) return Call.standingCall(calls, standing, transport, boundOf(path))
          // grpc-js only starts what it is given: a call that listens to the transport itself.
          return new Call.UnaryCall(calls, target, transport) as unknown as grpc.ServerInterceptingCall
        }
      ]
    })
    const injector = native.createConnectionInjector(grpc.ServerCredentials.createInsecure())

    const drain = Effect.fnUntraced(function* (listener: Listener.Listener, health: Health.ServingHealth) {
      yield* Effect.logInfo("grpc server stopping")
      yield* health.leave
      yield* Effect.sleep(options.drainDelay)
      address = undefined
      yield* listener.close
      for (const call of standing) call.end(stopping)
      // Tells every connection to go away. It does not wait for those that it was handed.
      native.tryShutdown(() => {})
      const drained = Effect.andThen(idle(calls), listener.flushed)
      const inTime = yield* drained.pipe(Effect.timeoutOption(options.grace))
      if (Option.isNone(inTime)) {
        for (const call of calls.open) call.cut(stopping)
        yield* drained.pipe(Effect.timeoutOption(cutTime))
      }
      // A peer that has not read yet that it should go away must not find the connection reset.
      yield* listener.closed.pipe(Effect.timeoutOption(cutTime))
      yield* listener.cut
      yield* Effect.logInfo("grpc server stopped")
    })

    return {
      native,
      address: Effect.suspend(() =>
        address === undefined ? Effect.fail(new GrpcError({ reason: new NotServing() })) : Effect.succeed(address)
      ),
      serve: Effect.fnUntraced(function* (services, { descriptors }) {
        if (used) return yield* invalid("a second time; give all handlers to one GrpcServer.serve")
        used = true
        const { host, port, env } = options
        if (!options.allowInsecure && (env === "prod" || !Listener.isLoopback(host))) {
          const reason = new InsecureTransport({ address: Listener.formatAddress(host, port) })
          return yield* new GrpcError({ reason })
        }
        const names = services.map(({ api }) => api.name)
        targets = yield* targetsOf(services, yield* Effect.context<never>())
        register(native, targets.keys())
        const health = Health.add(native, names)
        if (descriptors !== undefined && env !== "prod") {
          const added = Result.try(() => Reflection.add(native, descriptors, names))
          if (Result.isFailure(added)) return yield* invalid("descriptors that do not decode")
        }
        yield* Effect.acquireRelease(
          Listener.listen(host, port, (socket) => injector.injectConnection(socket)),
          (listener) => drain(listener, health)
        ).pipe(Effect.map((listener) => (address = listener.address)))
        yield* Effect.forkScoped(Effect.all([health.follow, expire(calls)], { concurrency: 2, discard: true }))
        yield* Effect.logInfo("grpc server listening").pipe(Effect.annotateLogs({ address, services: names }))
      })
    }
  })

/** As {@link GrpcServerLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = (options: Partial<GrpcServerOptions> = {}): Layer.Layer<GrpcServer> =>
  Layer.effect(GrpcServer, makeLive(options))

/** A server of @grpc/grpc-js, on sections `server` and `grpc`. It listens from `GrpcServer.serve` to the end of that. */
export const GrpcServerLive: Layer.Layer<GrpcServer, InvalidConfig> = Layer.effect(
  GrpcServer,
  Effect.gen(function* () {
    const { env } = yield* Config.Current
    const { host, port } = yield* Config.get(Config.ServerConfig)
    const settings = yield* Config.get(GrpcConfig)
    return yield* makeLive({ ...settings, host, port, env })
  })
)

import * as grpc from "@grpc/grpc-js"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import { GrpcConfig, type GrpcSettings } from "./Grpc.ts"
import { GrpcError, InsecureTransport, NotServing } from "./GrpcError.ts"
import { GrpcServer } from "./GrpcServer.ts"
import { formatAddress, isLoopback } from "./internal/address.ts"
import * as Lateness from "./internal/lateness.ts"
import * as Listener from "./internal/listener.ts"
import * as Native from "./internal/native.ts"
import * as Pings from "./internal/pings.ts"
import * as Reflection from "./internal/reflection.ts"
import * as Serve from "./internal/serve.ts"
import * as Tls from "./internal/tls.ts"

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

/**
 * Makes a server that listens when it is given services; what is not given has its section's default. Fails with
 * InvalidConfig when a file of TLS is missing or does not fit; the certificates are followed until the scope closes. Its
 * other errors are those of `serve`: AddressInUse, CannotListen, InsecureTransport, InvalidService.
 */
export const makeLive = (
  given: Partial<GrpcServerOptions> = {}
): Effect.Effect<GrpcServer["Service"], InvalidConfig, Scope.Scope> =>
  Effect.gen(function* () {
    const options = { ...defaults, ...given }
    let core: Serve.Core | undefined
    let used = false
    let address: string | undefined

    const native = new grpc.Server({
      ...driverOptions(options),
      interceptors: [
        ({ path }, transport) =>
          // What is not of the core was added to the native server.
          ours.has(path) ? Native.call(core!.accept, path, transport) : Native.foreign(core!.calls, transport)
      ]
    })
    const ours = new Set<string>()
    const tls = yield* Tls.server(options)
    const injector = Pings.createInjector(native, yield* Clock.Clock)

    const drain = Effect.fnUntraced(function* (listener: Listener.Listener, core: Serve.Core) {
      yield* Effect.logInfo("grpc server stopping")
      yield* core.leave
      yield* Effect.sleep(options.drainDelay)
      address = undefined
      yield* listener.close
      yield* core.endStreams
      // Tells every connection to go away. It does not wait for those that it was handed.
      native.tryShutdown(() => {})
      yield* core.drain(options.grace, listener.flushed)
      // A peer that has not read yet that it should go away must not find the connection reset.
      yield* listener.closed.pipe(Effect.timeoutOption(Serve.cutTime))
      yield* listener.cut
      yield* Effect.logInfo("grpc server stopped")
    })

    return {
      native,
      address: Effect.suspend(() =>
        address === undefined ? Effect.fail(new GrpcError({ reason: new NotServing() })) : Effect.succeed(address)
      ),
      serve: Effect.fnUntraced(function* (services, serveOptions) {
        if (used) return yield* Serve.invalid("a second time; give all handlers to one GrpcServer.serve")
        used = true
        const { host, port, env } = options
        if (tls === undefined && !options.allowInsecure && (env === "prod" || !isLoopback(host))) {
          const reason = new InsecureTransport({ address: formatAddress(host, port) })
          return yield* new GrpcError({ reason })
        }
        const names = services.map(({ api }) => api.name)
        const made = yield* Serve.make(services, serveOptions, options, yield* Lateness.watch)
        core = made
        for (const path of made.paths) ours.add(path)
        Native.register(native, ours)
        const { descriptors } = serveOptions
        if (descriptors !== undefined && env !== "prod") {
          const added = Result.try(() => Reflection.add(native, descriptors, names))
          if (Result.isFailure(added)) return yield* Serve.invalid("descriptors that do not decode")
        }
        yield* Effect.acquireRelease(
          Listener.listen(host, port, (socket) => injector.injectConnection(socket), tls),
          (listener) => drain(listener, made)
        ).pipe(Effect.map((listener) => (address = listener.address)))
        yield* Effect.forkScoped(made.run)
        yield* Effect.logInfo("grpc server listening").pipe(Effect.annotateLogs({ address, services: names }))
      })
    }
  })

/** As {@link GrpcServerLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = (options: Partial<GrpcServerOptions> = {}): Layer.Layer<GrpcServer, InvalidConfig> =>
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

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import { GrpcConfig, type GrpcSettings } from "./Grpc.ts"
import { GrpcClient } from "./GrpcClient.ts"
import { AddressInUse, GrpcError, NotServing } from "./GrpcError.ts"
import { GrpcServer } from "./GrpcServer.ts"
import * as Client from "./internal/client/client.ts"
import * as Embedded from "./internal/embedded.ts"
import { makePump } from "./internal/exchange.ts"
import * as Serve from "./internal/serve.ts"

export { GrpcNetwork } from "./internal/embedded.ts"

/**
 * What an embedded server and client are made of: the values of section `grpc`, and where the server listens. What is of
 * sockets has no meaning here: TLS, keepalive, the age of connections and the drain delay.
 *
 * - `host`, `port`: an address in the network, not on this machine; by default 127.0.0.1 and 0, a free port
 * - `network`: where it listens and what its client reaches; one of its own by default
 */
export interface GrpcEmbeddedOptions extends GrpcSettings {
  readonly host: string
  readonly port: number
  readonly network: Embedded.GrpcNetwork
}

const defaults: Omit<GrpcEmbeddedOptions, "network"> = {
  ...Schema.decodeSync(GrpcConfig.schema)({}),
  host: "127.0.0.1",
  port: 0
}

const makeServer = (options: GrpcEmbeddedOptions): GrpcServer["Service"] => {
  const { grace, host, maxConcurrentStreams, maxMessageSize, network, port } = options
  let used = false
  let address: string | undefined

  const listen = ({ accept }: Serve.Core): Effect.Effect<Embedded.Listening, GrpcError> =>
    Effect.suspend(() => {
      const listening = network.listen(host, port, { accept, maxConcurrentStreams, maxMessageSize })
      if (listening !== undefined) return Effect.succeed(listening)
      return Effect.fail(new GrpcError({ reason: new AddressInUse({ address: `${host}:${port}` }) }))
    })

  const drain = Effect.fnUntraced(function* (listening: Embedded.Listening, core: Serve.Core) {
    yield* Effect.logInfo("grpc server stopping")
    // Whoever watches its health hears of it at once: there is nothing to wait for.
    yield* core.leave
    address = undefined
    listening.close()
    yield* core.endStreams
    yield* core.drain(grace, Effect.void)
    listening.cut()
    yield* Effect.logInfo("grpc server stopped")
  })

  return {
    native: undefined,
    address: Effect.suspend(() =>
      address === undefined ? Effect.fail(new GrpcError({ reason: new NotServing() })) : Effect.succeed(address)
    ),
    serve: Effect.fnUntraced(function* (services, serveOptions) {
      if (used) return yield* Serve.invalid("a second time; give all handlers to one GrpcServer.serve")
      used = true
      const core = yield* Serve.make(services, serveOptions, options)
      const listening = yield* Effect.acquireRelease(listen(core), (listening) => drain(listening, core))
      address = listening.address
      yield* Effect.forkScoped(core.run)
      const names = services.map(({ api }) => api.name)
      yield* Effect.logInfo("grpc server listening").pipe(Effect.annotateLogs({ address, services: names }))
    })
  }
}

/**
 * Makes a server and a client that reach each other, and whatever else is in their network, without a socket. What is
 * not given has its section's default. They are the real ones on another transport, on the clock of their caller: the
 * same limits, deadlines, errors and log lines, messages are copied bytes, and who sends is held back by who reads.
 *
 * Not there: reflection, TLS, retries of the network itself, and a `native` server. Calls end with the scope.
 */
export const makeEmbedded = (
  given: Partial<GrpcEmbeddedOptions> = {}
): Effect.Effect<Context.Context<GrpcServer | GrpcClient>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const options = { ...defaults, network: new Embedded.GrpcNetwork(), ...given }
    const pump = yield* makePump
    const client = yield* Client.make(options, Embedded.transport(options.network, pump, options.maxMessageSize))
    return Context.make(GrpcServer, makeServer(options)).pipe(Context.add(GrpcClient, client))
  })

/** As {@link GrpcEmbedded}, with options in place of the configuration. See {@link makeEmbedded}. */
export const layerEmbedded = (options: Partial<GrpcEmbeddedOptions> = {}): Layer.Layer<GrpcServer | GrpcClient> =>
  Layer.effectContext(makeEmbedded(options))

/** A server and a client in this process, on sections `server` and `grpc`. See {@link makeEmbedded}. */
export const GrpcEmbedded: Layer.Layer<GrpcServer | GrpcClient, InvalidConfig> = Layer.effectContext(
  Effect.gen(function* () {
    const { host, port } = yield* Config.get(Config.ServerConfig)
    return yield* makeEmbedded({ ...(yield* Config.get(GrpcConfig)), host, port })
  })
)

import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import { GrpcConfig, type GrpcSettings } from "./Grpc.ts"
import { GrpcClient } from "./GrpcClient.ts"
import { InsecureTransport } from "./GrpcError.ts"
import * as Client from "./internal/client/client.ts"
import * as Connection from "./internal/client/connection.ts"
import { lookup } from "./internal/client/lookup.ts"
import { isLocal } from "./internal/client/target.ts"
import * as Tls from "./internal/tls.ts"

const defaults = Schema.decodeSync(GrpcConfig.schema)({})

/**
 * Makes a client; what is not given has the default of section `grpc`. A connection closes with the last scope of its
 * clients, or with that of this effect.
 *
 * Fails with InvalidConfig when a file of TLS is missing or does not fit; the certificates are followed until the scope
 * closes.
 */
export const makeLive = (
  given: Partial<GrpcSettings> = {}
): Effect.Effect<GrpcClient["Service"], InvalidConfig, Scope.Scope> =>
  Effect.gen(function* () {
    const settings = { ...defaults, ...given }
    const isSafe = settings.allowInsecure || settings.tls !== "disable"
    const makeCredentials = yield* Tls.client(settings)
    return yield* Client.make(settings, {
      connect: (place) => Connection.open(settings, makeCredentials, place),
      lookup,
      now: Connection.now,
      refuse: (address) => (isSafe || isLocal(address) ? undefined : new InsecureTransport({ address }))
    })
  })

/** As {@link GrpcClientLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = (options: Partial<GrpcSettings> = {}): Layer.Layer<GrpcClient, InvalidConfig> =>
  Layer.effect(GrpcClient, makeLive(options))

/** A client of @grpc/grpc-js, on section `grpc`. */
export const GrpcClientLive: Layer.Layer<GrpcClient, InvalidConfig> = Layer.effect(
  GrpcClient,
  Effect.flatMap(Config.get(GrpcConfig), makeLive)
)

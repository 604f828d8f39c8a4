import * as grpc from "@grpc/grpc-js"
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
import { isLocal } from "./internal/client/target.ts"

const defaults = Schema.decodeSync(GrpcConfig.schema)({})

/**
 * Makes a client; what is not given has the default of section `grpc`. A connection closes with the last scope of its
 * clients, or with that of this effect.
 */
export const makeLive = (given: Partial<GrpcSettings> = {}): Effect.Effect<GrpcClient["Service"], never, Scope.Scope> =>
  Effect.suspend(() => {
    const settings = { ...defaults, ...given }
    const credentials = grpc.credentials.createInsecure()
    return Client.make(settings, {
      connect: (place) => Connection.open(settings, credentials, place),
      // The driver compares deadlines with the system's clock, whatever Clock a fiber has.
      now: () => Date.now(),
      refuse: (address) => (settings.allowInsecure || isLocal(address) ? undefined : new InsecureTransport({ address }))
    })
  })

/** As {@link GrpcClientLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = (options: Partial<GrpcSettings> = {}): Layer.Layer<GrpcClient> =>
  Layer.effect(GrpcClient, makeLive(options))

/** A client of @grpc/grpc-js, on section `grpc`. */
export const GrpcClientLive: Layer.Layer<GrpcClient, InvalidConfig> = Layer.effect(
  GrpcClient,
  Effect.flatMap(Config.get(GrpcConfig), makeLive)
)

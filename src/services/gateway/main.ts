import * as Layer from "effect/Layer"
import { Auth } from "../../auth/Auth.ts"
import { ConfigLive } from "../../config/ConfigLive.ts"
import { GrpcClientLive } from "../../grpc/GrpcClientLive.ts"
import { GrpcServerLive } from "../../grpc/GrpcServerLive.ts"
import { HealthLive } from "../../health/HealthLive.ts"
import { LoggerLive } from "../../logger/LoggerLive.ts"
import type { Service } from "../services.ts"
import { GatewayApp } from "./app.ts"
import { GatewayConfig } from "./Connections.ts"

/** It has no tables. */
export const migrations: Service["migrations"] = []

/** How many connections it takes, and how it sends them elsewhere. */
export const sections: Service["sections"] = [GatewayConfig]

/** For a newcomer to try. */
export const examples: Service["examples"] = [
  `xdooria call --token "$TOKEN" gateway.GatewayService/Connect '{"hello":{}}'`
]

/**
 * What the gateway runs on. Read bottom-up: each line may use all below it and closes before it.
 *
 * - `env`: which folder of config/ it reads
 * - `infra`: sessions, tokens, pushes and the registry, real or embedded
 */
export const main: Service["main"] = ({ env, infra }) =>
  GatewayApp.pipe(
    Layer.provideMerge(Layer.merge(GrpcServerLive, GrpcClientLive)),
    Layer.provideMerge(Auth.layerAuthenticator),
    Layer.provideMerge(Layer.mergeAll(infra.auth, infra.session, infra.push, infra.registry)),
    Layer.provideMerge(Layer.mergeAll(LoggerLive, HealthLive)),
    Layer.provideMerge(ConfigLive("gateway", { env, sections }))
  )

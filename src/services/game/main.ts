import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Layer from "effect/Layer"
import type { Environment } from "../../config/Config.ts"
import { ConfigLive } from "../../config/ConfigLive.ts"
import { GrpcServerLive } from "../../grpc/GrpcServerLive.ts"
import { HealthLive } from "../../health/HealthLive.ts"
import { LoggerLive } from "../../logger/LoggerLive.ts"
import type { Infra } from "../infra.ts"
import { GameApp } from "./app.ts"

/**
 * What the game service runs on. Read bottom-up: each line may use all below it and closes before it.
 *
 * - `env`: which folder of config/ it reads
 * - `infra`: the database, real or embedded
 */
export const main = (options: { readonly env: Environment; readonly infra: Infra }) =>
  GameApp.pipe(
    Layer.provideMerge(GrpcServerLive),
    Layer.provideMerge(options.infra),
    Layer.provideMerge(Layer.mergeAll(LoggerLive, HealthLive)),
    Layer.provideMerge(Layer.mergeAll(ConfigLive("game", { env: options.env }), NodeFileSystem.layer))
  )

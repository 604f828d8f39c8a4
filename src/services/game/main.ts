import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Layer from "effect/Layer"
import { Auth } from "../../auth/Auth.ts"
import { ConfigLive } from "../../config/ConfigLive.ts"
import { GrpcClientLive } from "../../grpc/GrpcClientLive.ts"
import { GrpcServerLive } from "../../grpc/GrpcServerLive.ts"
import { HealthLive } from "../../health/HealthLive.ts"
import { LoggerLive } from "../../logger/LoggerLive.ts"
import type { Service } from "../services.ts"
import { GameApp } from "./app.ts"

export { migrations } from "./migrations.ts"

/** The game reads nothing beside the rooms' sections. */
export const sections: Service["sections"] = []

/** For a newcomer to try. */
export const examples: Service["examples"] = [
  `xdooria call --token "$TOKEN" game.GameService/CreatePlayer '{"name":"Ann"}'`,
  `xdooria call --token "$TOKEN" game.GameService/GainExp '{"request_id":"r1","amount":"250"}'`,
  `xdooria call --token "$TOKEN" game.GameService/Buy '{"request_id":"r2","item":"potion","quantity":"2"}'`,
  `xdooria call --token "$TOKEN" game.GameService/SubmitScore '{"board":"arena","score":"1200"}'`,
  `xdooria call --token "$TOKEN" game.GameService/GetTop '{"board":"arena"}'`
]

/**
 * What the game service runs on. Read bottom-up: each line may use all below it and closes before it.
 *
 * - `env`: which folder of config/ it reads
 * - `infra`: the database, the boards, the tokens, the pushes and the registry, real or embedded
 */
export const main: Service["main"] = ({ env, infra }) =>
  GameApp.pipe(
    Layer.provideMerge(Layer.merge(GrpcServerLive, GrpcClientLive)),
    Layer.provideMerge(Auth.layerAuthenticator),
    Layer.provideMerge(Layer.mergeAll(infra.pg, infra.leaderboard, infra.auth, infra.push, infra.registry)),
    Layer.provideMerge(Layer.mergeAll(LoggerLive, HealthLive)),
    Layer.provideMerge(Layer.mergeAll(ConfigLive("game", { env, sections }), NodeFileSystem.layer))
  )

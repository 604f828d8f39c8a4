import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Layer from "effect/Layer"
import { ConfigLive } from "../../config/ConfigLive.ts"
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
  `game.GameService/CreatePlayer '{"player_id":"p1","name":"Ann"}'`,
  `game.GameService/GainExp '{"player_id":"p1","request_id":"r1","amount":"250"}'`,
  `game.GameService/SubmitScore '{"player_id":"p1","board":"arena","score":"1200"}'`,
  `game.GameService/GetTop '{"board":"arena"}'`
]

/**
 * What the game service runs on. Read bottom-up: each line may use all below it and closes before it.
 *
 * - `env`: which folder of config/ it reads
 * - `infra`: the database and the boards, real or embedded
 */
export const main: Service["main"] = ({ env, infra }) =>
  GameApp.pipe(
    Layer.provideMerge(GrpcServerLive),
    Layer.provideMerge(Layer.merge(infra.pg, infra.leaderboard)),
    Layer.provideMerge(Layer.mergeAll(LoggerLive, HealthLive)),
    Layer.provideMerge(Layer.mergeAll(ConfigLive("game", { env, sections }), NodeFileSystem.layer))
  )

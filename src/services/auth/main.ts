import * as Layer from "effect/Layer"
import { Auth } from "../../auth/Auth.ts"
import { JwksLive } from "../../auth/JwksLive.ts"
import { ConfigLive } from "../../config/ConfigLive.ts"
import { GrpcServerLive } from "../../grpc/GrpcServerLive.ts"
import { HealthLive } from "../../health/HealthLive.ts"
import { LoggerLive } from "../../logger/LoggerLive.ts"
import type { Service } from "../services.ts"
import { AccountsConfig } from "./Accounts.ts"
import { AuthApp } from "./app.ts"

export { migrations } from "./migrations.ts"

/** Beside the rooms' sections. */
export const sections: Service["sections"] = [AccountsConfig]

/** For a newcomer to try. */
export const examples: Service["examples"] = [
  `xdooria call auth.AuthService/Register '{"name":"ann","password":"correct horse"}'`,
  `TOKEN=$(xdooria call --field tokens.access_token auth.AuthService/Login '{"name":"ann","password":"correct horse"}')`
]

/**
 * What the auth service runs on. Read bottom-up: each line may use all below it and closes before it.
 *
 * - `env`: which folder of config/ it reads
 * - `infra`: the database, the tokens, the sessions and the registry, real or embedded
 */
export const main: Service["main"] = ({ env, infra }) =>
  AuthApp.pipe(
    Layer.provideMerge(Layer.merge(GrpcServerLive, JwksLive)),
    Layer.provideMerge(Auth.layerAuthenticator),
    Layer.provideMerge(Layer.mergeAll(infra.pg, infra.auth, infra.session, infra.registry)),
    Layer.provideMerge(Layer.mergeAll(LoggerLive, HealthLive)),
    Layer.provideMerge(ConfigLive("auth", { env, sections }))
  )

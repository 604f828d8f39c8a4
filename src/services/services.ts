import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { ConfigSection, Environment } from "../config/Config.ts"
import type { GrpcError } from "../grpc/GrpcError.ts"
import type { GrpcServer } from "../grpc/GrpcServer.ts"
import type { LoggerError } from "../logger/LoggerError.ts"
import type { Migration } from "../pg/Pg.ts"
import type { Infra, InfraError } from "./infra.ts"

/**
 * What `<service>/main.ts` exports, for the command line.
 *
 * - `main`: the composition root; it takes of `infra` what it needs, and nothing else is started
 * - `sections`: what it reads of its configuration beside the rooms' sections
 * - `migrations`: its tables; none without a database
 * - `examples`: commands of a shell for a newcomer to try, each with `xdooria call`, which is told the address
 */
export interface Service {
  readonly main: (options: {
    readonly env: Environment
    readonly infra: Infra
  }) => Layer.Layer<GrpcServer, GrpcError | InfraError | LoggerError>
  readonly sections: ReadonlyArray<ConfigSection<unknown>>
  readonly migrations: ReadonlyArray<Migration>
  readonly examples: ReadonlyArray<string>
}

/** The reference services; each is loaded only when it is asked for. */
const modules = {
  auth: (): Promise<Service> => import("./auth/main.ts"),
  game: (): Promise<Service> => import("./game/main.ts"),
  gateway: (): Promise<Service> => import("./gateway/main.ts")
}

/** The name of a reference service: its configuration is `config/<env>/<name>.yaml`. */
export type ServiceName = keyof typeof modules

/** All names, in the order of their start: those that others call come first. They stop in the reverse order. */
export const serviceNames = Object.keys(modules) as ReadonlyArray<ServiceName>

/** Loads a service. */
export const loadService = (name: ServiceName): Effect.Effect<Service> => Effect.promise(() => modules[name]())

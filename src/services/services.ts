import * as Effect from "effect/Effect"

/** The reference services by name; each is loaded only when it is served. */
const modules = {
  game: () => import("./game/main.ts")
}

/** The name of a reference service: its configuration is `config/<env>/<name>.yaml`. */
export type ServiceName = keyof typeof modules

/** All names, in the order of their start. */
export const serviceNames = Object.keys(modules) as ReadonlyArray<ServiceName>

/** Loads the composition root of a service. */
export const loadService = (name: ServiceName) => Effect.promise(() => modules[name]())

const migrationModules = {
  game: () => import("./game/migrations.ts")
}

/** Loads the migrations of a service. */
export const loadMigrations = (name: ServiceName) =>
  Effect.map(
    Effect.promise(() => migrationModules[name]()),
    ({ migrations }) => migrations
  )

import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import * as Memory from "./internal/memory.ts"
import * as Room from "./internal/room.ts"
import type { Leader } from "./Leader.ts"
import { RegistryConfig, type Registry, type RegistrySettings } from "./Registry.ts"

const defaults: RegistrySettings = Schema.decodeSync(RegistryConfig.schema)({})

/**
 * The registry and the elections of this process alone, for development and tests: who shares them finds each other. What
 * is not given has the default of RegistryConfig; leases end by the clock, as those of etcd. They are gone when the scope
 * closes.
 */
export const makeEmbedded = (
  options: Partial<RegistrySettings> = {}
): Effect.Effect<Context.Context<Registry | Leader>, never, Scope.Scope> =>
  Effect.flatMap(Memory.make, (store) => Room.make(store, { ...defaults, ...options }))

/** As {@link RegistryEmbedded}, with options in place of the configuration. See {@link makeEmbedded}. */
export const layerEmbedded = (options: Partial<RegistrySettings> = {}): Layer.Layer<Registry | Leader> =>
  Layer.effectContext(makeEmbedded(options))

/** The registry and the elections of this process, as section `registry` says. See {@link makeEmbedded}. */
export const RegistryEmbedded: Layer.Layer<Registry | Leader, InvalidConfig> = Layer.effectContext(
  Effect.flatMap(Config.get(RegistryConfig), makeEmbedded)
)

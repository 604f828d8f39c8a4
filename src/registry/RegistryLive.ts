import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import * as Etcd from "./internal/etcd.ts"
import * as Room from "./internal/room.ts"
import type { Leader } from "./Leader.ts"
import { EtcdConfig, type EtcdSettings, RegistryConfig, type Registry, type RegistrySettings } from "./Registry.ts"
import { RegistryError, Unavailable } from "./RegistryError.ts"

const defaults = {
  etcd: Schema.decodeSync(EtcdConfig.schema)({}) satisfies EtcdSettings,
  registry: Schema.decodeSync(RegistryConfig.schema)({}) satisfies RegistrySettings
}

/** What a {@link makeLive} is told: the values of the sections `etcd` and `registry`. */
export interface LiveOptions {
  readonly etcd?: Partial<EtcdSettings>
  readonly registry?: Partial<RegistrySettings>
}

/** Waits until a member answers for the first time. What another try cannot mend fails at once. */
const awaitMember = (
  { ping }: Etcd.Etcd,
  { dialTimeout, endpoints }: EtcdSettings
): Effect.Effect<void, RegistryError> =>
  Effect.suspend(() => {
    let detail = endpoints.join(", ")
    return ping.pipe(
      Effect.tapError((reason) => Effect.sync(() => (detail = reason.detail))),
      Effect.retry({ while: ({ _tag }) => _tag === "Unavailable", schedule: Schedule.spaced("100 millis") }),
      Effect.timeoutOrElse({ duration: dialTimeout, orElse: () => Effect.fail(new Unavailable({ detail })) }),
      Effect.mapError((reason) => new RegistryError({ reason }))
    )
  })

/**
 * The registry and the elections on etcd; what is not given has the default of EtcdConfig and RegistryConfig.
 *
 * It asks a member for an answer first. Where none gives one within `etcd.dialTimeout` it fails with `Unavailable`, which
 * names them all, and with `Refused` where they refuse us; with `registry.required` false it starts all the same, and logs
 * why it is not registered. Fails with InvalidConfig when a file of TLS cannot be used. The scope ends registrations,
 * views and elections, then the connections.
 */
export const makeLive = (
  options: LiveOptions = {}
): Effect.Effect<Context.Context<Registry | Leader>, RegistryError | InvalidConfig, Scope.Scope> =>
  Effect.gen(function* () {
    const settings = { ...defaults.etcd, ...options.etcd }
    const registry = { ...defaults.registry, ...options.registry }
    const store = yield* Etcd.make(settings)
    const started = awaitMember(store, settings)
    if (registry.required) yield* started
    else yield* Effect.forkScoped(Effect.catch(started, (error) => Effect.logError("etcd is not there yet", error)))
    return yield* Room.make(store, registry)
  })

/** As {@link RegistryLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = (options: LiveOptions = {}): Layer.Layer<Registry | Leader, RegistryError | InvalidConfig> =>
  Layer.effectContext(makeLive(options))

/** The registry and the elections on the etcd of section `etcd`, as section `registry` says. See {@link makeLive}. */
export const RegistryLive: Layer.Layer<Registry | Leader, RegistryError | InvalidConfig> = Layer.effectContext(
  Effect.gen(function* () {
    return yield* makeLive({ etcd: yield* Config.get(EtcdConfig), registry: yield* Config.get(RegistryConfig) })
  })
)

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import { checkInstance, checkName } from "./internal/names.ts"
import { type Endpoints, type Instance, Registry, RegistryConfig, type RegistrationState } from "./Registry.ts"

/** What the options of a fixed registry are: its instances, each as `name=host:port`. */
export interface StaticOptions {
  readonly instances: ReadonlyArray<string>
}

const split = (text: string): readonly [name: string, address: string] => {
  const end = text.indexOf("=")
  return [text.slice(0, end), text.slice(end + 1)]
}

/**
 * A registry whose instances are fixed, without a server. To register succeeds without effect, and says so: the state is
 * `Registered` where the instance is one of them, and `Invisible` where nobody finds it; a pause is told to nobody. It
 * has no elections.
 */
export const makeStatic = ({ instances }: StaticOptions): Effect.Effect<Registry["Service"]> =>
  Effect.map(Clock.Clock, (clock) => {
    const confirmedAt = clock.currentTimeMillisUnsafe()
    const all = new Map<string, Endpoints>()
    for (const [name, address] of instances.map(split)) {
      const before = all.get(name)?.endpoints.filter((endpoint) => endpoint.address !== address) ?? []
      const endpoints = [...before, { address, metadata: {} }].toSorted((a, b) => (a.address < b.address ? -1 : 1))
      all.set(name, { name, revision: 0n, endpoints, isStale: false, confirmedAt, skipped: 0, held: 0 })
    }
    const of = (name: string): Endpoints =>
      all.get(name) ?? { name, revision: 0n, endpoints: [], isStale: false, confirmedAt, skipped: 0, held: 0 }
    const found = (name: string) => Effect.as(checkName(name), of(name))
    const resolvers = new Map(
      [...all].map(([name, { endpoints }]) => [name, Stream.concat(Stream.succeed(endpoints), Stream.never)])
    )
    const none = Stream.concat(Stream.succeed<Endpoints["endpoints"]>([]), Stream.never)

    const stateOf = ({ address, name }: Instance): RegistrationState =>
      of(name).endpoints.some((endpoint) => endpoint.address === address)
        ? { _tag: "Registered", revision: 0n }
        : { _tag: "Invisible", since: confirmedAt, detail: "registry.instances does not name it" }

    const register = (instance: Instance) =>
      Effect.gen(function* () {
        yield* checkInstance(instance)
        const state = stateOf(instance)
        const line = `registry: ${instance.name} at ${instance.address} is not registered, the instances are fixed`
        yield* state._tag === "Registered" ? Effect.logInfo(line) : Effect.logWarning(line)
        return {
          instance,
          state: Effect.succeed(state),
          changes: Stream.concat(Stream.succeed(state), Stream.never),
          pause: Effect.void,
          resume: Effect.void
        }
      })

    return {
      register,
      discover: found,
      watch: (name) => Stream.concat(Stream.fromEffect(found(name)), Stream.never),
      resolver: (name) => resolvers.get(name) ?? none
    }
  })

/** As {@link RegistryStatic}, with options in place of the configuration. See {@link makeStatic}. */
export const layerStatic = (options: StaticOptions): Layer.Layer<Registry> =>
  Layer.effect(Registry, makeStatic(options))

/** The instances of `registry.instances`, and no others. See {@link makeStatic}. */
export const RegistryStatic: Layer.Layer<Registry, InvalidConfig> = Layer.effect(
  Registry,
  Effect.flatMap(Config.get(RegistryConfig), makeStatic)
)

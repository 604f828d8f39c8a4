// The room on a store: what is registered, what is watched and who leads, the same for etcd and for memory.
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as RcMap from "effect/RcMap"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Health from "../../health/Health.ts"
import type { Resolver } from "../../grpc/Resolver.ts"
import { Leader } from "../Leader.ts"
import { type Endpoints, type Instance, type Registration, Registry, type RegistrySettings } from "../Registry.ts"
import { Closed, RegistryError } from "../RegistryError.ts"
import { prefixOf } from "./codec.ts"
import * as Elections from "./election.ts"
import { checkInstance, checkName } from "./names.ts"
import { Registering, type RegistrationOptions } from "./registration.ts"
import type { Store } from "./store.ts"
import * as View from "./view.ts"

/** How long a view outlives the last one who watches it. */
const idleTime = "10 seconds"

const closed = new RegistryError({ reason: new Closed() })

const component = "registry"

const makeRegistrations = (store: Store, options: RegistrationOptions) =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const all = new Set<Registering>()
    let isClosed = false

    /** The component is up when others find all that is to be found; what they do not find serves those who know it. */
    const report = Effect.suspend(() => {
      const states = [...all].flatMap(({ instance, latest }) =>
        latest.current === undefined ? [] : [{ instance, state: latest.current }]
      )
      const bad = states.find(({ state }) => state._tag === "Invisible" || state._tag === "Lost")
      if (bad === undefined) return Health.report(component, { status: "up" })
      const detail = `${bad.instance.name} at ${bad.instance.address} is ${bad.state._tag.toLowerCase()}`
      return Health.report(component, { status: "degraded", detail })
    })
    const forget = Effect.flatMap(Effect.service(Health.Reporter), (reporter) => reporter.forget(component))

    const left = (one: Registering) =>
      Effect.suspend(() => {
        if (!all.delete(one)) return Effect.void
        return Effect.andThen(
          one.leave,
          Effect.suspend(() => (all.size === 0 ? forget : report))
        )
      })

    const register = (instance: Instance): Effect.Effect<Registration, RegistryError, Scope.Scope> =>
      Effect.gen(function* () {
        yield* checkInstance(instance)
        if (isClosed) return yield* closed
        const one = yield* Effect.acquireRelease(
          Effect.sync(() => {
            const registering = new Registering(instance, store, options, scope, () => report)
            all.add(registering)
            return registering
          }),
          left
        )
        yield* Effect.onError(one.resume, () => left(one))
        return one
      })

    yield* Effect.addFinalizer(() => {
      isClosed = true
      return Effect.forEach([...all], left, { concurrency: "unbounded", discard: true })
    })
    return register
  })

const makeViews = (store: Store, options: View.ViewOptions) =>
  Effect.gen(function* () {
    const views = yield* RcMap.make({
      lookup: (name: string) => View.make(store, name, options),
      idleTimeToLive: idleTime
    })
    let isClosed = false
    yield* Effect.addFinalizer(() => Effect.sync(() => (isClosed = true)))
    const watch = (name: string): Stream.Stream<Endpoints, RegistryError> =>
      Stream.unwrap(
        Effect.gen(function* () {
          yield* checkName(name)
          return isClosed ? Stream.empty : (yield* RcMap.get(views, name)).changes
        })
      )
    const resolvers = new Map<string, Resolver>()
    const resolver = (name: string): Resolver => {
      const before = resolvers.get(name)
      if (before !== undefined) return before
      const none = Stream.concat(Stream.succeed<Endpoints["endpoints"]>([]), Stream.never)
      const made = Stream.catch(Stream.changes(Stream.map(watch(name), ({ endpoints }) => endpoints)), () => none)
      resolvers.set(name, made)
      return made
    }
    return { watch, resolver }
  })

/** Makes the room on a store. It ends with the scope, before the store does. */
export const make = (
  store: Store,
  settings: RegistrySettings
): Effect.Effect<Context.Context<Registry | Leader>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const options = {
      ttlMillis: Duration.toMillis(settings.ttl),
      resyncMillis: Duration.toMillis(settings.resync),
      panicThreshold: settings.panicThreshold,
      required: settings.required
    }
    // Whoever follows its own key has one lease to lose, and reads a few keys: it does not wait a minute for what a server
    // forgot to tell.
    const own = { ...options, resyncMillis: Math.min(options.resyncMillis, options.ttlMillis) }
    const { resolver, watch } = yield* makeViews(store, options)
    const register = yield* makeRegistrations(store, own)
    const leader = yield* Elections.make(store, own)
    let isClosed = false
    yield* Effect.addFinalizer(() => Effect.sync(() => (isClosed = true)))
    const discover = (name: string): Effect.Effect<Endpoints, RegistryError> =>
      Effect.gen(function* () {
        yield* checkName(name)
        if (isClosed) return yield* closed
        const snapshot = yield* Effect.mapError(store.list(prefixOf(name)), (reason) => new RegistryError({ reason }))
        return yield* Effect.clockWith((clock) =>
          Effect.succeed(View.read(name, snapshot, clock.currentTimeMillisUnsafe()))
        )
      })
    return Context.make(Registry, { register, discover, watch, resolver }).pipe(Context.add(Leader, leader))
  })

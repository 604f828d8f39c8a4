import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Hash from "effect/Hash"
import * as Random from "effect/Random"
import * as RcMap from "effect/RcMap"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AnyApi, CallOptions, Client, Method } from "../../Api.ts"
import type { GrpcSettings } from "../../Grpc.ts"
import type { GrpcClient } from "../../GrpcClient.ts"
import { GrpcError, InvalidTarget } from "../../GrpcError.ts"
import type { Resolver } from "../../Resolver.ts"
import { monotonicMillis } from "../clock.ts"
import type { ClientTransport, Place } from "../transport.ts"
import * as Balance from "./balance.ts"
import type { Caller } from "./invocation.ts"
import * as Pool from "./pool.ts"
import * as Remote from "./remote.ts"
import * as Single from "./single.ts"
import * as Streaming from "./streaming.ts"
import * as Target from "./target.ts"

/** What clients that have it in common share a pool for: a text by its letters, a resolver by reference. */
class PoolKey implements Equal.Equal {
  readonly target: string | Resolver
  readonly serving: string | undefined

  constructor(target: string | Resolver, serving: string | undefined) {
    this.target = target
    this.serving = serving
  }

  [Equal.symbol](that: Equal.Equal): boolean {
    return that instanceof PoolKey && that.target === this.target && that.serving === this.serving
  }

  [Hash.symbol](): number {
    return Hash.string(typeof this.target === "string" ? this.target : "")
  }
}

const endpointsOf = (
  target: string | Resolver,
  { lookup }: ClientTransport
): Stream.Stream<ReadonlyArray<Pool.Known>> =>
  typeof target === "string"
    ? Stream.map(Target.resolve(Target.parse(target) ?? [], lookup), (located) =>
        located.map((one) => ({ ...one, metadata: {} }))
      )
    : target

type Call = (request: never, options?: CallOptions) => unknown

const methodOf = (caller: Caller, remote: Remote.Remote): Call => {
  if (remote.responseStream) return (remote.requestStream ? Streaming.talk : Streaming.watch)(caller, remote)
  return (remote.requestStream ? Single.sum : Single.unary)(caller, remote)
}

/** Refuses a text that is no target, or one that must not be called. */
const check = (api: AnyApi, target: string, { refuse }: ClientTransport): Effect.Effect<void, GrpcError> => {
  const invalid = (problem: string) =>
    Effect.fail(new GrpcError({ reason: new InvalidTarget({ service: api.name, problem }) }))
  if (target === "") return invalid("none is given")
  if (Target.parse(target) === undefined) return invalid("it is no address")
  const refused = refuse(target)
  return refused === undefined ? Effect.void : Effect.fail(new GrpcError({ reason: refused }))
}

/**
 * The client on any transport. Pools of instances are shared by target, connections by address; they end with the last
 * scope of their clients, or with that of this effect.
 */
export const make = (
  settings: GrpcSettings,
  transport: ClientTransport
): Effect.Effect<GrpcClient["Service"], never, Scope.Scope> =>
  Effect.gen(function* () {
    const source = yield* Random.Random
    const context = yield* Effect.context<never>()
    const clock = yield* Clock.Clock
    const ticks = () => monotonicMillis(clock)
    const random = () => source.nextDoubleUnsafe()
    const connections = yield* RcMap.make({
      lookup: (place: Place) =>
        Effect.acquireRelease(
          Effect.sync(() => transport.connect(place)),
          (connection) => Effect.sync(() => connection.close())
        )
    })
    const pools = yield* RcMap.make({
      lookup: ({ serving, target }: PoolKey) =>
        Pool.make({
          settings,
          transport,
          connections,
          endpoints: endpointsOf(target, transport),
          serving,
          random,
          ticks
        })
    })

    return {
      make: Effect.fnUntraced(function* (api, options) {
        const { balancing = settings.balancing, identity, onlyServing = false, target = settings.target } = options
        if (typeof target === "string") yield* check(api, target, transport)
        const caller: Caller = {
          pool: yield* RcMap.get(pools, new PoolKey(target, onlyServing ? api.name : undefined)),
          balancer: Balance.make(balancing, random),
          reach: balancing === "pick_first" ? "first" : "all",
          deadlineMillis: Duration.toMillis(settings.deadline),
          attemptMillis: Duration.toMillis(settings.attemptTimeout),
          maxAttempts: settings.maxAttempts,
          maxMessageSize: settings.maxMessageSize,
          maxMetadataSize: settings.maxMetadataSize,
          waitForReady: settings.waitForReady,
          carriesIdentity: identity === "carry",
          random
        }
        const methods = Object.entries<Method>(api.definition).map(([key, method]) => [
          key,
          methodOf(caller, Remote.make(api, key, method, context))
        ])
        return Object.fromEntries(methods) as Client<AnyApi>
      })
    }
  })

// What the fault scenarios of the registry are made of: rooms on etcd, what a watcher sees, and how long it takes.
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { randomUUID } from "node:crypto"
import { EtcdConfig, Leader, Registry, type RegistrySettings } from "xdooria/registry"
import { layerLive } from "xdooria/registry/live"
import * as Etcd from "../../src/registry/internal/etcd.ts"
import { eventually } from "../support/RedisBackends.ts"
import { isMissing, servers } from "../support/Servers.ts"

/** Without the log: what is broken is expected. */
export const quiet = Effect.provideService(References.MinimumLogLevel, "None")

interface Place {
  readonly host: string
  readonly port: number
}

/** Where the shared etcd is. */
export const etcdAddress = Effect.suspend(() => {
  const server = servers.etcd
  return isMissing(server) ? Effect.die(new Error(server.missing)) : Effect.succeed<Place>(server)
})

/** As section `etcd` has it. */
export const endpointOf = ({ port }: { readonly port: number }) => `127.0.0.1:${port}`

interface Options extends Partial<RegistrySettings> {
  /** How long a request may take, in milliseconds. */
  readonly request?: number
}

/** A registry, and elections, of its own. */
export const roomAt = (place: { readonly port: number }, { request = 2_000, ...registry }: Options = {}) =>
  Effect.map(
    Layer.build(
      layerLive({ etcd: { endpoints: [endpointOf(place)], requestTimeout: Duration.millis(request) }, registry })
    ),
    (context) => ({ registry: Context.get(context, Registry), leader: Context.get(context, Leader) })
  )

/** The store itself, to look at what is there. */
export const storeAt = (place: { readonly port: number }) =>
  Etcd.make({ ...Schema.decodeSync(EtcdConfig.schema)({}), endpoints: [endpointOf(place)] })

/** A name that no other scenario has. */
export const newName = Effect.sync(() => `service-${randomUUID()}`)

/** Of the entries of a service. */
export const prefixOf = (name: string) => `/xdooria/services/${name}/`

/** What a watcher sees now. */
export const viewOf = (registry: Registry["Service"], name: string) =>
  Effect.gen(function* () {
    let seen: ReadonlyArray<string> = []
    let isStale = false
    yield* Effect.forkScoped(
      Stream.runForEach(registry.watch(name), (view) =>
        Effect.sync(() => {
          seen = view.endpoints.map(({ address }) => address)
          isStale = view.isStale
        })
      )
    )
    return { addresses: () => seen, isStale: () => isStale }
  })

/** How long something takes to hold, in milliseconds; as long as it was waited for when it does not. */
export const until = <E, R>(what: string, holds: Effect.Effect<boolean, E, R>, most: Duration.Input) =>
  eventually(what, holds).pipe(
    Effect.timeoutOption(most),
    Effect.timed,
    Effect.map(([spent]) => Math.round(Duration.toMillis(spent)))
  )

/** A figure that is over its limit; the machine's own lateness is not counted against it. */
export const over = (what: string, spent: number, limit: number, noise: number): ReadonlyArray<string> =>
  spent - noise <= limit ? [] : [`${what} after ${spent} ms (noise ${noise} ms), not ${limit}`]

/** Whether two lists are equal. */
export const same = (a: ReadonlyArray<string>, b: ReadonlyArray<string>) => a.join() === b.join()

/** For scenarios that have nothing to say of some. */
export const figures = { acked: 0, lost: 0, duplicated: 0, unknown: 0, maxOutageMs: 0, recoverMs: 0 }

/** So many addresses. */
export const addressesFrom = (first: number, count: number) =>
  Array.from({ length: count }, (_, i) => `10.0.0.${first + i}:1`)

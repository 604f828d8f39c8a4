import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import type { Endpoint } from "../../grpc/Resolver.ts"
import type { Endpoints } from "../Registry.ts"
import type { Refused, Unavailable } from "../RegistryError.ts"
import { monotonicMillis } from "./lease.ts"
import { decode, prefixOf } from "./codec.ts"
import { type Followed, follow } from "./follow.ts"
import { Latest } from "./latest.ts"
import type { Snapshot, Store } from "./store.ts"

/** How long losses are added up to see whether many have vanished at once, in milliseconds. */
const atOnceMillis = 1_000

/** Of how many instances an outage is told from the leaving of single ones. */
const leastInstances = 3

/** What the store has under a key. The endpoint is absent when the value cannot be read. */
interface Known {
  readonly value: string
  readonly endpoint: Endpoint | undefined
}

/** An instance that is gone. */
interface Gone {
  readonly endpoint: Endpoint
  readonly at: number
}

export interface ViewOptions {
  readonly ttlMillis: number
  readonly resyncMillis: number
  readonly panicThreshold: number
}

const byAddress = (a: Endpoint, b: Endpoint): number => (a.address < b.address ? -1 : 1)

const areSame = (some: ReadonlyArray<Endpoint>, others: ReadonlyArray<Endpoint>): boolean =>
  some.length === others.length && some.every((endpoint, index) => endpoint === others[index])

/** The endpoints by address, each once: of several entries with one address the first counts, then what is held. */
const listOf = (known: Iterable<Known>, held: Iterable<Gone>): ReadonlyArray<Endpoint> => {
  const all = new Map<string, Endpoint>()
  const add = (endpoint: Endpoint | undefined): void => {
    if (endpoint !== undefined && !all.has(endpoint.address)) all.set(endpoint.address, endpoint)
  }
  for (const { endpoint } of known) add(endpoint)
  for (const { endpoint } of held) add(endpoint)
  return [...all.values()].toSorted(byAddress)
}

const countSkipped = (known: Iterable<Known>): number => {
  let count = 0
  for (const { endpoint } of known) if (endpoint === undefined) count++
  return count
}

/** What a single reading of the store says of a service. */
export const read = (name: string, { entries, revision }: Snapshot, confirmedAt: number): Endpoints => {
  const known = entries.map(({ value }): Known => ({ value, endpoint: decode(name, value) }))
  const endpoints = listOf(known, [])
  return { name, revision, endpoints, isStale: false, confirmedAt, skipped: countSkipped(known), held: 0 }
}

const gaugesOf = (service: string) => {
  const attributes = { service }
  return {
    endpoints: Metric.gauge("registry_endpoints", { description: "Instances that are called", attributes }),
    stale: Metric.gauge("registry_stale", {
      description: "1 when the list of instances may be out of date",
      attributes
    }),
    skipped: Metric.gauge("registry_skipped", { description: "Entries that cannot be read", attributes })
  }
}

/** What is known of the instances of a service, kept up to date. */
class View {
  readonly latest = new Latest<Endpoints>()
  private readonly name: string
  private readonly options: ViewOptions
  private readonly clock: Clock.Clock
  private readonly scope: Scope.Scope
  private readonly gauges: ReturnType<typeof gaugesOf>
  private known = new Map<string, Known>()
  /** Those that were lost lately, and those that are still called although they are gone, by key. */
  private lost = new Map<string, Gone>()
  private readonly held = new Map<string, Gone>()
  private revision = 0n

  constructor(name: string, options: ViewOptions, clock: Clock.Clock, scope: Scope.Scope) {
    this.name = name
    this.options = options
    this.clock = clock
    this.scope = scope
    this.gauges = gaugesOf(name)
  }

  take(followed: Followed): Effect.Effect<void> {
    switch (followed._tag) {
      case "Away":
        return this.away(followed.error)
      case "Listed":
        return this.listed(followed.snapshot)
      case "Confirmed":
        return this.confirm(followed.revision)
      case "Changed": {
        const gone = new Map<string, Gone>()
        for (const change of followed.changes) {
          if (change._tag === "Put") this.keep(change.entry.key, change.entry.value, gone)
          else this.drop(change.key, gone)
        }
        return this.settle(gone, followed.revision)
      }
    }
  }

  private listed({ entries, revision }: Snapshot): Effect.Effect<void> {
    const gone = new Map<string, Gone>()
    const there = new Set(entries.map(({ key }) => key))
    for (const key of this.known.keys()) if (!there.has(key)) this.drop(key, gone)
    for (const { key, value } of entries) this.keep(key, value, gone)
    return this.settle(gone, revision)
  }

  private keep(key: string, value: string, gone: Map<string, Gone>): void {
    gone.delete(key)
    this.lost.delete(key)
    this.held.delete(key)
    if (this.known.get(key)?.value !== value) this.known.set(key, { value, endpoint: decode(this.name, value) })
  }

  private drop(key: string, gone: Map<string, Gone>): void {
    const endpoint = this.known.get(key)?.endpoint
    this.known.delete(key)
    if (endpoint !== undefined) gone.set(key, { endpoint, at: monotonicMillis(this.clock) })
  }

  /** Adds up what has vanished; when it is too much to be believed, it is held. */
  private settle(gone: ReadonlyMap<string, Gone>, revision: bigint): Effect.Effect<void> {
    if (gone.size === 0) return this.confirm(revision)
    const since = monotonicMillis(this.clock) - atOnceMillis
    this.lost = new Map([...[...this.lost].filter(([, { at }]) => at >= since), ...gone])
    const before = this.known.size - countSkipped(this.known.values()) + this.lost.size
    if (before < leastInstances || this.lost.size <= this.options.panicThreshold * before) return this.confirm(revision)
    const isFirst = this.held.size === 0
    const panic = [...this.lost]
    for (const [key, one] of panic) this.held.set(key, one)
    const release = Effect.suspend(() => {
      for (const [key, one] of panic) if (this.held.get(key) === one) this.held.delete(key)
      return this.publish({ ...this.latest.current!, ...this.endpoints() })
    })
    const line = `registry: ${panic.length} of ${before} instances of ${this.name} have vanished at once`
    // More of one outage is told by what is held.
    return (isFirst ? Effect.logWarning(line) : Effect.void).pipe(
      Effect.andThen(Effect.forkIn(Effect.delay(release, this.options.ttlMillis), this.scope)),
      Effect.andThen(this.confirm(revision))
    )
  }

  /** The list, by the same reference while it has the same endpoints. */
  private endpoints(): Pick<Endpoints, "endpoints" | "held" | "skipped"> {
    const before = this.latest.current?.endpoints ?? []
    const endpoints = listOf(this.known.values(), this.held.values())
    return {
      endpoints: areSame(before, endpoints) ? before : endpoints,
      skipped: countSkipped(this.known.values()),
      held: this.held.size
    }
  }

  /** The store has said what there is. */
  private confirm(revision: bigint): Effect.Effect<void> {
    return Effect.suspend(() => {
      // A store that was set back to an older state begins to count again.
      if (revision > this.revision) this.revision = revision
      const confirmedAt = this.clock.currentTimeMillisUnsafe()
      return this.publish({
        name: this.name,
        revision: this.revision,
        isStale: false,
        confirmedAt,
        ...this.endpoints()
      })
    })
  }

  private away(error: Unavailable | Refused): Effect.Effect<void> {
    const before = this.latest.current
    if (before === undefined || before.isStale) return Effect.void
    return Effect.andThen(
      this.publish({ ...before, isStale: true }),
      Effect.logWarning(`registry: the instances of ${this.name} may be out of date`, error.message)
    )
  }

  private publish(next: Endpoints): Effect.Effect<void> {
    const before = this.latest.current
    const isNews = before?.endpoints !== next.endpoints || before.isStale !== next.isStale || before.held !== next.held
    this.latest.set(next, isNews)
    if (!isNews && before.skipped === next.skipped) return Effect.void
    const told = this.measure(next)
    return next.skipped > (before?.skipped ?? 0)
      ? Effect.andThen(told, Effect.logWarning(`registry: ${next.skipped} entries of ${this.name} cannot be read`))
      : told
  }

  private measure({ endpoints, isStale, skipped }: Pick<Endpoints, "endpoints" | "isStale" | "skipped">) {
    return Effect.all(
      [
        Metric.update(this.gauges.endpoints, endpoints.length),
        Metric.update(this.gauges.stale, isStale ? 1 : 0),
        Metric.update(this.gauges.skipped, skipped)
      ],
      { discard: true }
    )
  }

  /** Nobody looks any more. */
  readonly end: Effect.Effect<void> = Effect.suspend(() => {
    this.latest.end()
    return this.measure({ endpoints: [], isStale: false, skipped: 0 })
  })
}

/** A view of the instances of a service that is kept up to date until the scope ends. */
export const make = (
  store: Store,
  name: string,
  options: ViewOptions
): Effect.Effect<Latest<Endpoints>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const view = new View(name, options, yield* Clock.Clock, yield* Effect.scope)
    yield* Effect.addFinalizer(() => view.end)
    yield* Effect.forkScoped(follow(store, prefixOf(name), options.resyncMillis, (followed) => view.take(followed)))
    return view.latest
  })

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as RcMap from "effect/RcMap"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { GrpcSettings } from "../../Grpc.ts"
import { GrpcError, type GrpcErrorReason, TlsFailed, Unavailable } from "../../GrpcError.ts"
import type { Endpoint } from "../../Resolver.ts"
import type { ClientTransport, Connection, Place } from "../transport.ts"
import type { Balancer, Choice } from "./balance.ts"
import * as Breaker from "./breaker.ts"
import { Budget } from "./budget.ts"
import { Instance } from "./instance.ts"
import * as Serving from "./serving.ts"

/** An endpoint of a resolver, with the name that it goes by when that is not its address. */
export interface Known extends Endpoint {
  readonly authority?: string
}

/** What a pool is made of. */
export interface PoolOptions {
  readonly settings: GrpcSettings
  readonly transport: ClientTransport
  /** Shared by the pools of a client. */
  readonly connections: RcMap.RcMap<Place, Connection>
  readonly endpoints: Stream.Stream<ReadonlyArray<Known>>
  /** The service that instances must say they serve; nothing when it does not matter. */
  readonly serving: string | undefined
  /** Draws from 0 to below 1. */
  readonly random: () => number
}

interface Member {
  readonly instance: Instance
  readonly scope: Scope.Closeable
}

/** No more than this share of the instances is ejected at once. */
const ejectable = 0.5

/** So long after the last connection was lost calls wait for the next: as long as a restart takes. In milliseconds. */
const blip = 1000

/**
 * The instances of a target. It is asked and told by plain code for every call; what changes them (the resolver, the
 * connections, their health) comes from fibers of its scope.
 */
export class Pool {
  readonly budget: Budget
  readonly breaker: Breaker.Breaker
  /** A new array with every change of the endpoints. */
  instances: ReadonlyArray<Instance> = []
  readonly #options: PoolOptions
  readonly #attemptMillis: number
  readonly #members = new Map<string, Member>()
  #waiting = new Set<() => void>()
  #refused: GrpcErrorReason | undefined
  #resolved = false
  #awake: "all" | "first" | undefined
  #closed = false
  /** When a connection was lost last. */
  #lostAt = -Infinity

  constructor(options: PoolOptions, breaker: Breaker.Breaker) {
    this.#options = options
    this.#attemptMillis = Duration.toMillis(options.settings.attemptTimeout)
    this.budget = new Budget(options.settings.retryBudget)
    this.breaker = breaker
  }

  now(): number {
    return this.#options.transport.now()
  }

  /** Connects, if it has not yet: to all instances, or one after the other until one is there. */
  wake(mode: "all" | "first"): void {
    if (this.#awake === mode || this.#awake === "all") return
    this.#awake = mode
    this.#connect()
  }

  #connect(): void {
    if (this.#awake === undefined) return
    for (const { connection } of this.instances) {
      const now = connection.connectivity()
      if (now === "idle") connection.connect()
      if (this.#awake === "first" && now !== "failing") return
    }
  }

  /** Why there is no hope for a call that does not wait; nothing as long as there is some. */
  refusal(method: string): GrpcError | undefined {
    const unavailable = (details: string) => new GrpcError({ reason: new Unavailable({ method, details }) })
    if (this.#closed) return unavailable("the client's scope is closed")
    if (!this.#resolved) return undefined
    if (this.instances.length === 0) {
      return this.#refused === undefined
        ? unavailable("the target has no endpoints")
        : new GrpcError({ reason: this.#refused })
    }
    const hope = this.instances.some(
      ({ connection, serving }) => serving !== false && connection.connectivity() !== "failing"
    )
    if (hope || this.patience > 0) return undefined
    const failures = this.instances.map(({ connection }) => connection.tlsFailure?.())
    return failures[0] !== undefined && !failures.includes(undefined)
      ? new GrpcError({ reason: new TlsFailed({ method, detail: failures[0] }) })
      : unavailable("no endpoint can be reached or serves")
  }

  /** How long calls go on waiting when there is no hope but that what was just lost comes back, in milliseconds. */
  get patience(): number {
    return this.#lostAt + blip - this.now()
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Waits until something has changed. */
  readonly changed: Effect.Effect<void> = Effect.callback((resume) => {
    const told = () => resume(Effect.void)
    this.#waiting.add(told)
    return Effect.sync(() => this.#waiting.delete(told))
  })

  tell(): void {
    const waiting = this.#waiting
    // One that is told may wait again at once.
    this.#waiting = new Set()
    for (const told of waiting) told()
  }

  /** An instance for a call. Where all that can be reached are ejected, or only the one to avoid, it is one of those. */
  pick(balancer: Balancer, choice: Choice): Instance | undefined {
    return (
      balancer(this.instances, choice) ??
      this.instances.find((instance) => instance.reachable && instance !== choice.avoid) ??
      this.instances.find((instance) => instance.reachable)
    )
  }

  begin(instance: Instance, now: number): void {
    instance.begin(now, this.#attemptMillis)
  }

  /** A try has ended; `lost`: without an answer, or with one that says no more; nothing when we gave it up. */
  end(instance: Instance, lost: boolean | undefined): void {
    instance.open--
    if (lost === undefined) return
    if (!lost) return instance.answered()
    if (!instance.lost()) return
    const now = this.now()
    const ejected = this.instances.filter((other) => other !== instance && other.ejectedUntil !== 0).length
    if (ejected + 1 > this.instances.length * ejectable) return
    instance.eject(now, this.#options.random())
  }

  /** Takes the endpoints as they are now. */
  readonly update = Effect.fnUntraced(function* (this: Pool, endpoints: ReadonlyArray<Known>, scope: Scope.Scope) {
    const { transport } = this.#options
    this.#refused = undefined
    const wanted = new Map<string, Known>()
    for (const endpoint of endpoints) {
      const refused = transport.refuse(endpoint.address)
      if (refused === undefined) wanted.set(keyOf(endpoint), endpoint)
      else this.#refused = refused
    }
    const gone = [...this.#members].filter(([key]) => !wanted.has(key))
    for (const [key, endpoint] of wanted) {
      if (this.#members.has(key)) continue
      this.#members.set(key, yield* this.#join(endpoint, yield* Scope.fork(scope)))
    }
    for (const [key] of gone) this.#members.delete(key)
    const instances = [...wanted.keys()].map((key) => this.#members.get(key)!.instance)
    if (instances.length !== this.instances.length || instances.some((one, i) => one !== this.instances[i])) {
      this.instances = instances
    }
    this.#resolved = true
    this.#connect()
    this.tell()
    yield* Effect.forEach(gone, ([, member]) => Scope.close(member.scope, Exit.void), { discard: true })
  })

  readonly #join = Effect.fnUntraced(function* (this: Pool, endpoint: Known, scope: Scope.Closeable) {
    const { connections, serving } = this.#options
    const connection = yield* Scope.provide(RcMap.get(connections, placeOf(endpoint)), scope)
    const instance = new Instance(endpoint.address, weightOf(endpoint), connection, serving === undefined || undefined)
    const stop = connection.onChange((now) => {
      if (instance.ready && now !== "ready") this.#lostAt = this.now()
      instance.ready = now === "ready"
      this.#connect()
      this.tell()
    })
    yield* Scope.addFinalizer(
      scope,
      Effect.sync(() => {
        instance.ready = false
        stop()
      })
    )
    if (serving !== undefined) {
      const said = (state: boolean | undefined) => {
        instance.serving = state
        this.tell()
      }
      yield* Effect.forkIn(Serving.follow(connection, serving, said), scope)
    }
    return { instance, scope }
  })

  close(): void {
    this.#closed = true
    this.instances = []
    this.tell()
  }
}

const weightOf = ({ metadata }: Known): number => {
  const weight = Number(metadata["weight"] ?? 1)
  return Number.isInteger(weight) && weight >= 1 && weight <= 100 ? weight : 1
}

const placeOf = ({ address, authority = address, metadata }: Known): Place => ({
  address,
  authority,
  keepalive: metadata["keepalive"] === "true"
})

/** What makes an endpoint another one: with other metadata it gets another connection, or weight. */
const keyOf = (endpoint: Known): string => JSON.stringify([placeOf(endpoint), weightOf(endpoint)])

/** A pool that follows its endpoints as long as its scope. */
export const make = (options: PoolOptions): Effect.Effect<Pool, never, Scope.Scope> =>
  Effect.gen(function* () {
    const pool = new Pool(options, yield* Breaker.make(options.settings))
    const scope = yield* Effect.scope
    yield* Effect.addFinalizer(() => Effect.sync(() => pool.close()))
    yield* Effect.forkScoped(
      Stream.runForEach(options.endpoints, (endpoints) => pool.update(endpoints, scope)),
      // A fixed list is there at once.
      { startImmediately: true }
    )
    return pool
  })

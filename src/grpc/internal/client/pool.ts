import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as RcMap from "effect/RcMap"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { GrpcSettings } from "../../Grpc.ts"
import { GrpcError, type GrpcErrorReason, TlsFailed, Unavailable } from "../../GrpcError.ts"
import type { Endpoint } from "../../Resolver.ts"
import type { ClientTransport, Connection, Connectivity, Place } from "../transport.ts"
import type { Balancer } from "./balance.ts"
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
  /** The time on a clock that never goes back, in milliseconds. */
  readonly ticks: () => number
}

/** Runs something in the scope of a pool. */
type Run = (effect: Effect.Effect<void>) => { readonly interruptUnsafe: () => void }

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
  readonly #run: Run
  readonly #attemptMillis: number
  readonly #members = new Map<string, Member>()
  /** Calls that wait for an instance, and those of them that give up when there is no hope. */
  #waiting = { patient: new Set<() => void>(), hopeful: new Set<() => void>() }
  /** How many instances can be reached, how many may be some time, and how many are ejected. */
  #reachable = 0
  #hopeful = 0
  #ejected = 0
  #refused: GrpcErrorReason | undefined
  #resolved = false
  #awake: "all" | "first" | undefined
  #isLooking = false
  #closed = false
  /** When a connection was lost last. */
  #lostAt = -Infinity

  constructor(options: PoolOptions, breaker: Breaker.Breaker, run: Run) {
    this.#options = options
    this.#run = run
    this.#attemptMillis = Duration.toMillis(options.settings.attemptTimeout)
    this.budget = new Budget(options.settings.retryBudget)
    this.breaker = breaker
  }

  now(): number {
    return this.#options.transport.now()
  }

  /** Does something after a while; gives what keeps it from it. */
  after(millis: number, action: () => void): () => void {
    const fiber = this.#run(Effect.andThen(Effect.sleep(millis), Effect.sync(action)))
    return () => fiber.interruptUnsafe()
  }

  /** Connects, if it has not yet: to all instances, or one after the other until one is there. */
  wake(mode: "all" | "first"): void {
    if (this.#awake === mode || this.#awake === "all") return
    this.#awake = mode
    this.#connect(this.instances)
  }

  #connect(instances: ReadonlyArray<Instance>): void {
    if (this.#awake === undefined) return
    const now = this.#options.ticks()
    if (this.#awake === "first") return this.#connectFirst(now)
    for (const instance of instances) instance.connect(now)
  }

  /** Connects to one more, as long as none is good and none may become so in a moment. */
  #connectFirst(now: number): void {
    for (const instance of this.instances) {
      instance.connect(now)
      if (instance.isGood(now)) return
      if (instance.isComing(now, this.#patienceToConnect)) return this.#lookAgain()
    }
  }

  get #patienceToConnect(): number {
    return Math.min(this.#attemptMillis, blip)
  }

  #lookAgain(): void {
    if (this.#isLooking) return
    this.#isLooking = true
    this.after(this.#patienceToConnect, () => {
      this.#isLooking = false
      this.#connect([])
      this.#tell()
    })
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
    if (this.#hopeful > 0 || this.patience > 0) return undefined
    const failures = this.instances.map(({ connection }) => connection.tlsFailure?.())
    return failures[0] !== undefined && !failures.includes(undefined)
      ? new GrpcError({ reason: new TlsFailed({ method, detail: failures[0] }) })
      : unavailable(`no endpoint can be reached or serves: ${this.#whys}`)
  }

  /** Of a few instances why they take no call. */
  get #whys(): string {
    const whys = this.instances.slice(0, 3).map((instance) => `${instance.address} ${instance.why}`)
    const more = this.instances.length - whys.length
    return `${whys.join(", ")}${more > 0 ? ` and ${more} more` : ""}`
  }

  /** How long calls go on waiting when there is no hope but that what was just lost comes back, in milliseconds. */
  get patience(): number {
    return this.#lostAt + blip - this.#options.ticks()
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Waits until an instance can be reached; one that does not wait in spite of all, also until there is no hope. */
  changed(isPatient: boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const told = () => resume(Effect.void)
      const waiting = isPatient ? this.#waiting.patient : this.#waiting.hopeful
      waiting.add(told)
      return Effect.sync(() => waiting.delete(told))
    })
  }

  #tell(): void {
    const { hopeful, patient } = this.#waiting
    const isOver = this.#reachable > 0 || this.#closed
    // One that is told may wait again at once.
    this.#waiting = { hopeful: new Set(), patient: isOver ? new Set() : patient }
    for (const told of hopeful) told()
    if (isOver) for (const told of patient) told()
  }

  /** An instance for a call. Where all that can be reached are ejected, or only the one to avoid, it is one of those. */
  pick(balancer: Balancer, key: string | undefined, avoid: Instance | undefined): Instance | undefined {
    if (this.#reachable === 0) return undefined
    // No time passes where nothing is ejected and no key waits.
    const now = this.#ejected === 0 && key === undefined ? 0 : this.#options.ticks()
    const chosen = balancer(this.instances, { now, patience: this.#patienceToConnect, key, avoid })
    if (chosen !== undefined && !chosen.reachable) {
      this.#lookAgain()
      return undefined
    }
    if (chosen !== undefined || (this.#awake === "first" && this.#isAnotherComing())) return chosen
    return (
      this.instances.find((instance) => instance.reachable && instance !== avoid) ??
      this.instances.find((instance) => instance.reachable)
    )
  }

  #isAnotherComing(): boolean {
    const now = this.#options.ticks()
    return this.instances.some((instance) => instance.isComing(now, this.#patienceToConnect))
  }

  begin(instance: Instance): void {
    instance.open++
    // One that was ejected is tried by one call at a time: by the next not before it had time to answer.
    if (instance.ejectedUntil !== 0) instance.ejectedUntil = this.#options.ticks() + this.#attemptMillis
  }

  /**
   * A try that began in an `era` of an instance has ended; `lost`: without an answer, or with one that says no more;
   * nothing when we gave it up.
   */
  end(instance: Instance, era: number, lost: boolean | undefined): void {
    instance.open--
    if (lost === undefined) return
    if (!lost) {
      if (instance.ejectedUntil !== 0) this.#ejected--
      return instance.answered()
    }
    if (era !== instance.era) return
    if (instance.lost()) this.#eject(instance)
    if (this.#awake === "first") this.#connect([])
  }

  #eject(instance: Instance): void {
    const { random, ticks } = this.#options
    const isNew = instance.ejectedUntil === 0
    if (this.#ejected + Number(isNew) > this.instances.length * ejectable) return
    if (isNew) this.#ejected++
    instance.eject(ticks(), random())
  }

  /** Takes what has become of an instance. */
  #become(instance: Instance, change: () => void): void {
    const [wasReachable, wasHopeful] = [instance.reachable, instance.isHopeful]
    change()
    if (!this.instances.includes(instance)) return
    this.#reachable += Number(instance.reachable) - Number(wasReachable)
    this.#hopeful += Number(instance.isHopeful) - Number(wasHopeful)
    this.#connect([instance])
    if (this.#reachable > 0 || (wasHopeful && this.#hopeful === 0)) this.#tell()
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
      if (!this.#members.has(key)) yield* this.#join(key, endpoint, yield* Scope.fork(scope))
    }
    for (const [key] of gone) this.#members.delete(key)
    this.#place([...wanted.keys()].flatMap((key) => this.#members.get(key)?.instance ?? []))
    yield* Effect.forEach(gone, ([, member]) => Scope.close(member.scope, Exit.void), { discard: true })
  })

  #place(instances: ReadonlyArray<Instance>): void {
    if (instances.length !== this.instances.length || instances.some((one, i) => one !== this.instances[i])) {
      this.instances = instances
    }
    const count = (is: (instance: Instance) => boolean) => instances.filter(is).length
    this.#reachable = count(({ reachable }) => reachable)
    this.#hopeful = count(({ isHopeful }) => isHopeful)
    this.#ejected = count(({ ejectedUntil }) => ejectedUntil !== 0)
    this.#resolved = true
    this.#connect(instances)
    this.#tell()
  }

  /** An endpoint that no connection can be made to is left out: the others are none the worse for it. */
  readonly #join = (key: string, endpoint: Known, scope: Scope.Closeable): Effect.Effect<void> =>
    Effect.catchCauseIf(
      this.#member(key, endpoint, scope),
      (cause) => !Cause.hasInterruptsOnly(cause),
      () =>
        Effect.andThen(
          Scope.close(scope, Exit.void),
          Effect.logWarning("grpc endpoint left out").pipe(Effect.annotateLogs("address", endpoint.address))
        )
    )

  readonly #member = Effect.fnUntraced(function* (this: Pool, key: string, endpoint: Known, scope: Scope.Closeable) {
    const { connections, serving, ticks } = this.#options
    const connection = yield* Scope.provide(RcMap.get(connections, placeOf(endpoint)), scope)
    const instance = new Instance(endpoint.address, weightOf(endpoint), connection, serving === undefined || undefined)
    const stop = connection.onChange((state: Connectivity) =>
      this.#become(instance, () => {
        if (instance.ready && state !== "ready") this.#lostAt = ticks()
        instance.become(state, ticks())
      })
    )
    yield* Scope.addFinalizer(
      scope,
      Effect.sync(() => {
        instance.ready = false
        stop()
      })
    )
    if (serving !== undefined) {
      const said = (state: boolean | undefined) =>
        this.#become(instance, () => {
          instance.serving = state
        })
      yield* Effect.forkIn(Serving.follow(connection, serving, said), scope)
    }
    this.#members.set(key, { instance, scope })
  })

  /** No further list will come: the last one stays, or there is none. */
  settle(): void {
    if (!this.#resolved) this.#place([])
  }

  close(): void {
    this.#closed = true
    this.instances = []
    this.#reachable = 0
    this.#tell()
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
    const run = yield* FiberSet.makeRuntime<never>()
    const pool = new Pool(options, yield* Breaker.make(options.settings), run)
    const scope = yield* Effect.scope
    yield* Effect.addFinalizer(() => Effect.sync(() => pool.close()))
    const followed = Effect.exit(
      Effect.suspend(() => Stream.runForEach(options.endpoints, (endpoints) => pool.update(endpoints, scope)))
    )
    const settled = Effect.flatMap(followed, (exit) => {
      pool.settle()
      return Effect.logWarning("grpc resolver ended", Exit.isFailure(exit) ? exit.cause : "without a failure")
    })
    // A fixed list is there at once.
    yield* Effect.forkScoped(settled, { startImmediately: true })
    return pool
  })

import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { randomBytes } from "node:crypto"
import type { Instance, Registration, RegistrationState } from "../Registry.ts"
import { Closed, type Refused, RegistryError, Unavailable } from "../RegistryError.ts"
import { encode, instanceKey, keyOf } from "./codec.ts"
import { follow } from "./follow.ts"
import { Latest } from "./latest.ts"
import { backoff, grant, isAlive, keep, type Lease, persist, revoke } from "./lease.ts"
import type { Condition, Entry, Store } from "./store.ts"

/** How long a first registration that has to succeed is tried, in milliseconds. */
const patienceMillis = 5_000

export interface RegistrationOptions {
  readonly ttlMillis: number
  readonly resyncMillis: number
  /** Whether a registration waits for a store that is away. */
  readonly required: boolean
}

const closed = new RegistryError({ reason: new Closed() })

const registeredGauge = (service: string) =>
  Metric.gauge("registry_registered", {
    description: "1 when others find this instance",
    attributes: { service }
  })

/** Whether two states read the same; `since` and the details are told with the first one. */
const areSame = (a: RegistrationState, b: RegistrationState | undefined): boolean =>
  a._tag === b?._tag && (a._tag !== "Registered" || (b._tag === "Registered" && a.revision === b.revision))

const textOf = (state: RegistrationState): string =>
  state._tag === "Registered" || state._tag === "Paused"
    ? state._tag.toLowerCase()
    : `${state._tag.toLowerCase()}: ${state.detail}`

/**
 * An instance that is kept registered. Its state follows from three facts: whether the lease can be relied on, whether
 * the entry is there, and whether another process has put its own in its place.
 */
export class Registering implements Registration {
  readonly instance: Instance
  readonly latest = new Latest<RegistrationState>()
  readonly changes = this.latest.changes
  private readonly store: Store
  private readonly options: RegistrationOptions
  /** Where it works: the room's. */
  private readonly scope: Scope.Scope
  /** Told of every change of the state. */
  private readonly changed: (state: RegistrationState) => Effect.Effect<void>
  private readonly key: string
  /** No other process writes this value: it names this registration. */
  private readonly value: string
  private readonly turn = Semaphore.makeUnsafe(1)
  private working: Fiber.Fiber<never> | undefined
  private hasLeft = false
  private lease: Lease | undefined
  /** Why nobody new finds it, as long as that is so. */
  private trouble: string | undefined
  private revision: bigint | undefined
  private isTaken = false
  private wasPut = false
  /** Done when it is there for the first time since it was started, or cannot be. */
  private first = Deferred.makeUnsafe<void, RegistryError>()

  constructor(
    instance: Instance,
    store: Store,
    options: RegistrationOptions,
    scope: Scope.Scope,
    changed: (state: RegistrationState) => Effect.Effect<void>
  ) {
    const { address, metadata, name } = instance
    this.instance = instance
    this.store = store
    this.options = options
    this.scope = scope
    this.changed = changed
    this.key = keyOf(name, address)
    this.value = encode(name, address, { ...metadata, [instanceKey]: randomBytes(8).toString("hex") })
  }

  // There is one from the end of `resume` on, and nobody has it before that.
  readonly state = Effect.sync(() => this.latest.current!)

  /** Puts the entry and keeps it; waits for the first time that others find it. */
  readonly resume: Effect.Effect<void, RegistryError> = Effect.suspend(() =>
    this.turn.withPermit(Effect.suspend(() => this.start()))
  )

  readonly pause: Effect.Effect<void, RegistryError> = Effect.suspend(() =>
    this.turn.withPermit(
      Effect.suspend(() =>
        // It is not renewed any more, so that it ends in any case.
        this.hasLeft ? Effect.fail(closed) : Effect.ensuring(this.stop(), this.paused)
      )
    )
  )

  /** Takes the entry out for good. */
  readonly leave: Effect.Effect<void> = Effect.suspend(() => {
    if (this.hasLeft) return Effect.void
    this.hasLeft = true
    return Effect.all(
      [
        Deferred.fail(this.first, closed),
        Effect.catch(this.stop(), this.leftBehind),
        Metric.update(registeredGauge(this.instance.name), 0),
        Effect.sync(() => this.latest.end())
      ],
      { discard: true }
    )
  })

  private readonly leftBehind = ({ message }: RegistryError): Effect.Effect<void> =>
    Effect.logWarning(`registry: an entry of ${this.instance.name} stays until its lease ends`, message)

  private start(): Effect.Effect<void, RegistryError> {
    if (this.hasLeft) return Effect.fail(closed)
    if (this.working !== undefined) return Effect.void
    return Effect.gen({ self: this }, function* () {
      this.first = Deferred.makeUnsafe()
      this.trouble = "it is being put"
      this.working = yield* Effect.forkIn(this.work(), this.scope)
      const late = () => this.failure(new Unavailable({ detail: this.trouble ?? "no answer in time" }))
      const waited = Effect.timeoutOrElse(Deferred.await(this.first), { duration: patienceMillis, orElse: late })
      yield* Effect.onError(waited, () => Effect.andThen(Effect.ignore(this.stop()), this.paused))
    })
  }

  private readonly paused = Effect.suspend(() =>
    this.hasLeft || this.latest.current?._tag === "Paused" ? Effect.void : this.tell({ _tag: "Paused" })
  )

  private failure(reason: Unavailable | Refused): Effect.Effect<never, RegistryError> {
    return Effect.fail(new RegistryError({ reason }))
  }

  private stop(): Effect.Effect<void, RegistryError> {
    return Effect.suspend(() => {
      const { working } = this
      this.working = undefined
      const ended = working === undefined ? Effect.void : Fiber.interrupt(working)
      return Effect.andThen(
        ended,
        Effect.suspend(() => {
          const { lease } = this
          this.lease = undefined
          this.revision = undefined
          this.isTaken = false
          this.wasPut = false
          return lease === undefined
            ? Effect.void
            : Effect.catch(revoke(this.store, lease), (reason) => this.failure(reason))
        })
      )
    })
  }

  /** For ever: a lease, and the entry on it, each again as soon as it is lost. */
  private work(): Effect.Effect<never> {
    return Effect.gen({ self: this }, function* () {
      for (let failures = 0; ; failures++) {
        const away = (error: Unavailable | Refused) => this.inTrouble(error)
        const lease = yield* Effect.catch(persist(grant(this.store, this.options.ttlMillis), away), away)
        if (lease !== undefined) {
          this.lease = lease
          const holding = Effect.catch(this.hold(lease), (error) =>
            Effect.andThen(isAlive(this.store, lease), (is) => (is ? away(error) : Effect.void))
          )
          // Whichever ends first: the lease is no more, or it is good for nothing.
          yield* Effect.raceFirst(this.lives(lease), holding)
          yield* Effect.ignore(this.store.revoke(lease.id))
          this.trouble = "its lease is gone"
          this.revision = undefined
          yield* this.refresh()
        }
        yield* backoff(Math.min(failures, 4))
      }
    })
  }

  /** Until the store says that the lease is no more: it may outlive a time in which nothing was heard of it. */
  private lives(lease: Lease): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      for (;;) {
        const ended = yield* keep(this.store, lease)
        if (ended._tag === "Gone") return
        this.trouble = ended.detail
        yield* this.refresh()
        if (!(yield* isAlive(this.store, lease))) return
        this.trouble = undefined
        yield* this.refresh()
      }
    })
  }

  /** Sees to it that the entry is there. Fails when the lease is not good for it. */
  private hold(lease: Lease): Effect.Effect<never, Refused> {
    return Effect.gen({ self: this }, function* () {
      if (!this.wasPut) {
        // What a process before us left there, at our address, is taken over: it may be a long time until its lease ends.
        yield* this.put(lease, undefined)
      }
      const refused = Deferred.makeUnsafe<never, Refused>()
      const see = (entry: Entry | undefined) =>
        Effect.catch(this.see(lease, entry), (error) => Deferred.fail(refused, error))
      const following = follow(this.store, this.key, this.options.resyncMillis, (followed) => {
        // The prefix is also that of longer addresses.
        if (followed._tag === "Listed") return see(followed.snapshot.entries.find(({ key }) => key === this.key))
        if (followed._tag !== "Changed") return Effect.void
        const last = followed.changes.findLast(
          (change) => (change._tag === "Put" ? change.entry.key : change.key) === this.key
        )
        return last === undefined ? Effect.void : see(last._tag === "Put" ? last.entry : undefined)
      })
      return yield* Effect.raceFirst(following, Deferred.await(refused))
    })
  }

  /** What stands at the key now. */
  private see(lease: Lease, entry: Entry | undefined): Effect.Effect<void, Refused> {
    return Effect.suspend(() => {
      const isOurs = entry?.value === this.value
      this.isTaken = entry !== undefined && !isOurs
      this.trouble = entry === undefined ? "its entry is gone" : undefined
      this.revision = isOurs ? entry.modRevision : undefined
      if (this.isTaken || entry?.lease === lease.id) return this.refresh()
      return Effect.andThen(
        this.refresh(),
        this.put(lease, { key: this.key, createRevision: entry?.createRevision ?? 0n })
      )
    })
  }

  /** Puts the entry when the condition holds. A reply that was lost is asked for by doing it again: then it is there. */
  private put(lease: Lease, condition: Condition | undefined): Effect.Effect<void, Refused> {
    const { key, value } = this
    const put = { key, value, lease: lease.id }
    return Effect.flatMap(
      persist(this.store.put(condition === undefined ? put : { ...put, condition }), (error) => this.inTrouble(error)),
      (answer) => {
        if (answer._tag === "Conflict") return this.see(lease, answer.entry)
        this.wasPut = true
        this.revision = answer.revision
        this.trouble = undefined
        return this.refresh()
      }
    )
  }

  /** It is not there, and the store does not let it be put. */
  private inTrouble(error: Unavailable | Refused): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.trouble = error.message
      const isFinal = error._tag === "Refused" || !this.options.required
      const told = isFinal
        ? Deferred.complete(this.first, error._tag === "Refused" ? this.failure(error) : Effect.void)
        : Effect.void
      return Effect.andThen(this.refresh(), Effect.asVoid(told))
    })
  }

  /** Tells the state that follows from the facts, when it is another. */
  private refresh(): Effect.Effect<void> {
    return Effect.clockWith((clock) => {
      const state = this.derived(clock)
      const told = areSame(state, this.latest.current) ? Effect.void : this.tell(state)
      return state._tag === "Invisible" ? told : Effect.andThen(told, Deferred.succeed(this.first, undefined))
    })
  }

  private derived(clock: Clock.Clock): RegistrationState {
    if (this.trouble === undefined && this.isTaken) {
      return { _tag: "Lost", detail: "another process has registered its address" }
    }
    return this.trouble === undefined && this.revision !== undefined
      ? { _tag: "Registered", revision: this.revision }
      : { _tag: "Invisible", since: clock.currentTimeMillisUnsafe(), detail: this.trouble ?? "its entry is gone" }
  }

  private tell(state: RegistrationState): Effect.Effect<void> {
    return Effect.suspend(() => {
      const isOther = state._tag !== this.latest.current?._tag
      this.latest.set(state)
      const { address, name } = this.instance
      const line = `registry: ${name} at ${address} is ${textOf(state)}`
      const isFine = state._tag === "Registered" || state._tag === "Paused"
      const logged = !isOther ? Effect.void : isFine ? Effect.logInfo(line) : Effect.logWarning(line)
      return Effect.all(
        [logged, Metric.update(registeredGauge(name), state._tag === "Registered" ? 1 : 0), this.changed(state)],
        { discard: true }
      )
    })
  }
}

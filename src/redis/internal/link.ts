import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { RedisFailure } from "../RedisError.ts"
import { classify } from "./classify.ts"
import type { Connection } from "./Connection.ts"
import type { Nodes } from "./Nodes.ts"
import { slotOf } from "./slot.ts"

/** What hears one channel. Until it is open it is passed over. */
export interface Ear {
  isOpen: boolean
  readonly message: (text: string) => void
  readonly gap: () => void
}

/** A name on the server, and which of the two spaces of names it is in. */
export interface Name {
  readonly isSharded: boolean
  readonly text: string
}

/** One connection that subscribes. When it is lost another takes its place; it never connects again. */
export interface Link {
  /** Hears a channel until the scope ends: the ear is opened, and told of a gap, once the server has confirmed. */
  readonly hear: (name: Name, ear: Ear) => Effect.Effect<void, RedisFailure, Scope.Scope>
  readonly lost: Effect.Effect<void>
  /** Until the node gives a sharded channel away, from now on. */
  readonly moved: Effect.Effect<void>
}

const beat = { every: "500 millis", within: "1 second" } as const

/** Any node of a cluster, or the only server, or the primary. */
export const anywhere = ""

const failure = (error: unknown, command?: string) =>
  new RedisFailure({
    reason: classify(error, { wasSent: command !== undefined, isIdempotent: true }),
    ...(command === undefined ? {} : { command })
  })

/** A connection, or what it met. */
const dialled = (nodes: Nodes, place: string): Effect.Effect<Connection, RedisFailure> =>
  Effect.suspend(() => {
    const address = place === anywhere ? nodes.addressFor(undefined) : place
    return address === undefined ? Effect.fail(nodes.problemOf(undefined)) : nodes.dialled(address)
  }).pipe(Effect.mapError((reason) => new RedisFailure({ reason })))

/** Runs a command of the connection itself. Its own promise may never settle, once the connection is lost. */
const ask = <A>(command: string, run: () => Promise<A>, lost: Effect.Effect<void>): Effect.Effect<A, RedisFailure> =>
  Effect.tryPromise({ try: run, catch: (error) => failure(error, command) }).pipe(
    Effect.timeoutOrElse({ duration: beat.within, orElse: () => Effect.fail(failure({ code: "ETIMEDOUT" }, command)) }),
    Effect.raceFirst(Effect.andThen(lost, Effect.fail(failure({}, command))))
  )

/** Ends a connection. The driver would wait 2 seconds for the end of one that has ended. */
const closed = (connection: Connection): void => {
  if (connection.native.status !== "end") connection.close()
}

/** What is heard on one connection. */
class Heard implements Link {
  readonly lost: Effect.Effect<void>
  private readonly nodes: Nodes
  private readonly connection: Connection
  private readonly end = Deferred.makeUnsafe<void>()
  private move = Deferred.makeUnsafe<void>()
  private readonly ears = new Map<string, Set<Ear>>()
  private isCutOff = false

  constructor(nodes: Nodes, connection: Connection) {
    this.nodes = nodes
    this.connection = connection
    this.lost = Deferred.await(this.end)
    const { native } = connection
    native.on("message", (text: string, message: string) => this.heard({ isSharded: false, text }, message))
    native.on("smessage", (text: string, message: string) => this.heard({ isSharded: true, text }, message))
    // The node has given a channel away and ended its subscription, or has refused one.
    native.on("moved", () => this.hasMoved())
    native.once("end", () => this.close())
    if (!connection.isOpen) this.close()
  }

  get moved(): Effect.Effect<void> {
    return Effect.suspend(() => Deferred.await(this.move))
  }

  close(): void {
    closed(this.connection)
    Deferred.doneUnsafe(this.end, Effect.void)
  }

  hear(name: Name, ear: Ear): Effect.Effect<void, RedisFailure, Scope.Scope> {
    const { native } = this.connection
    const subscribe = name.isSharded
      ? ask("SSUBSCRIBE", () => native.ssubscribe(name.text), this.lost)
      : ask("SUBSCRIBE", () => native.subscribe(name.text), this.lost)
    return Effect.acquireRelease(
      Effect.sync(() => this.join(name, ear)),
      (all) => this.leave(name, ear, all)
    ).pipe(
      Effect.andThen(subscribe),
      Effect.andThen(
        Effect.sync(() => {
          ear.isOpen = true
          ear.gap()
        })
      )
    )
  }

  /** Looks whether the server answers, an error being an answer too, and is still the right one. */
  readonly beat: Effect.Effect<void, RedisFailure> = Effect.suspend(() => {
    const { native } = this.connection
    return ask("PING", () => (this.nodes.isCluster ? native.cluster("INFO") : native.ping()), this.lost)
  }).pipe(
    Effect.catchIf(
      ({ reason }) => reason._tag !== "Timeout",
      () => Effect.succeed("")
    ),
    Effect.andThen((answer) => Effect.sync(() => this.look(answer)))
  )

  private look(answer: string): void {
    const { address } = this.connection
    const wasCutOff = this.isCutOff
    // A node that has lost the others carries nothing of what they publish, and says only so.
    this.isCutOff = answer.includes("cluster_state:fail")
    if (wasCutOff && !this.isCutOff) this.gapEverywhere()
    if (this.nodes.addresses.length > 0 && !this.nodes.addresses.includes(address)) return this.close()
    if (this.nodes.isCluster && this.hasForeign(address)) this.hasMoved()
  }

  /** Whether a sharded channel is known to be elsewhere. */
  private hasForeign(address: string): boolean {
    for (const id of this.ears.keys()) {
      const owner = id.startsWith("s") ? this.nodes.addressOfSlot(slotOf(id.slice(1))) : address
      if (owner !== undefined && owner !== address) return true
    }
    return false
  }

  private hasMoved(): void {
    const { move } = this
    this.move = Deferred.makeUnsafe<void>()
    Deferred.doneUnsafe(move, Effect.void)
  }

  private heard(name: Name, message: string): void {
    for (const ear of this.ears.get(idOf(name)) ?? []) if (ear.isOpen) ear.message(message)
  }

  private gapEverywhere(): void {
    for (const all of this.ears.values()) for (const ear of all) if (ear.isOpen) ear.gap()
  }

  private join(name: Name, ear: Ear): Set<Ear> {
    const all = this.ears.get(idOf(name)) ?? new Set()
    this.ears.set(idOf(name), all.add(ear))
    return all
  }

  /** The last one unsubscribes; whoever has come by now still hears, though the one before has not finished leaving. */
  private leave(name: Name, ear: Ear, all: Set<Ear>): Effect.Effect<void> {
    ear.isOpen = false
    all.delete(ear)
    if (all.size > 0) return Effect.void
    this.ears.delete(idOf(name))
    if (!this.connection.isOpen) return Effect.void
    const { native } = this.connection
    return Effect.ignore(
      name.isSharded
        ? ask("SUNSUBSCRIBE", () => native.sunsubscribe(name.text), this.lost)
        : ask("UNSUBSCRIBE", () => native.unsubscribe(name.text), this.lost)
    )
  }
}

/** One text for both. */
export const idOf = ({ isSharded, text }: Name): string => `${isSharded ? "s" : "p"}${text}`

/**
 * Connects, once, and beats until the connection is lost: a silent one is found within 1.5 s.
 *
 * - `place`: a node as host:port, or {@link anywhere}
 */
export const open = (nodes: Nodes, place: string): Effect.Effect<Link, RedisFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const connection = yield* Effect.acquireRelease(dialled(nodes, place), (made) => Effect.sync(() => closed(made)), {
      interruptible: true
    })
    const heard = new Heard(nodes, connection)
    yield* heard.beat.pipe(
      Effect.repeat(Schedule.spaced(beat.every)),
      Effect.ignore,
      Effect.andThen(Effect.sync(() => heard.close())),
      Effect.forkScoped
    )
    return heard
  })

import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Redis } from "ioredis"
import { RedisFailure } from "../RedisError.ts"
import { classify } from "./classify.ts"
import type { Nodes } from "./Nodes.ts"

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

/** A connection that is ready, or what it met. */
const ready = (nodes: Nodes, place: string): Effect.Effect<Redis, RedisFailure> =>
  Effect.suspend(() => {
    const address = place === anywhere ? nodes.addressFor(undefined) : place
    return address === undefined ? Effect.fail(nodes.problemOf(undefined)) : nodes.dialled(address)
  }).pipe(
    Effect.map(({ native }) => native),
    Effect.mapError((reason) => new RedisFailure({ reason }))
  )

/** Runs a command of the connection itself. Its own promise may never settle, once the connection is lost. */
const ask = <A>(command: string, run: () => Promise<A>, lost: Effect.Effect<void>): Effect.Effect<A, RedisFailure> =>
  Effect.tryPromise({ try: run, catch: (error) => failure(error, command) }).pipe(
    Effect.timeoutOrElse({ duration: beat.within, orElse: () => Effect.fail(failure({ code: "ETIMEDOUT" }, command)) }),
    Effect.raceFirst(Effect.andThen(lost, Effect.fail(failure({}, command))))
  )

/** Beats until the connection does not answer. An error is an answer too. */
const beating = (client: Redis, inCluster: boolean, lost: Effect.Effect<void>, onHealed: () => void) =>
  Effect.gen(function* () {
    let isCutOff = false
    return yield* ask("PING", () => (inCluster ? client.cluster("INFO") : client.ping()), lost).pipe(
      Effect.tap((answer) =>
        Effect.sync(() => {
          // A node that has lost the others carries nothing of what they publish, and says only so.
          const wasCutOff = isCutOff
          isCutOff = answer.includes("cluster_state:fail")
          if (wasCutOff && !isCutOff) onHealed()
        })
      ),
      Effect.catchIf(
        ({ reason }) => reason._tag !== "Timeout",
        () => Effect.void
      ),
      Effect.repeat(Schedule.spaced(beat.every)),
      Effect.ignore
    )
  })

/**
 * Connects, once, and beats until the connection is lost: a silent one is found within 1.5 s.
 *
 * - `place`: a node as host:port, or {@link anywhere}
 */
export const open = (nodes: Nodes, place: string): Effect.Effect<Link, RedisFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const own = yield* Effect.acquireRelease(ready(nodes, place), (opened) => Effect.sync(() => opened.disconnect()), {
      interruptible: true
    })
    const end = Deferred.makeUnsafe<void>()
    const lost = Deferred.await(end)
    let move = Deferred.makeUnsafe<void>()
    const ears = new Map<string, Set<Ear>>()
    const idOf = ({ isSharded, text }: Name) => `${isSharded ? "s" : "p"}${text}`
    const heard = (isSharded: boolean) => (name: string, text: string) => {
      for (const ear of ears.get(idOf({ isSharded, text: name })) ?? []) if (ear.isOpen) ear.message(text)
    }
    own.on("message", heard(false))
    own.on("smessage", heard(true))
    own.on("moved", () => {
      const moved = move
      move = Deferred.makeUnsafe<void>()
      Deferred.doneUnsafe(moved, Effect.void)
    })
    own.once("close", () => Deferred.doneUnsafe(end, Effect.void))
    if (own.status !== "ready") Deferred.doneUnsafe(end, Effect.void)
    const gapEverywhere = () => {
      for (const all of ears.values()) for (const ear of all) if (ear.isOpen) ear.gap()
    }
    yield* beating(own, nodes.isCluster, lost, gapEverywhere).pipe(
      Effect.andThen(Effect.sync(() => own.disconnect())),
      Effect.forkScoped
    )

    const join = (name: Name, ear: Ear) => {
      const all = ears.get(idOf(name)) ?? new Set()
      ears.set(idOf(name), all.add(ear))
      return all
    }
    const leave = (name: Name, ear: Ear, all: Set<Ear>) => {
      ear.isOpen = false
      all.delete(ear)
      if (all.size > 0) return Effect.void
      ears.delete(idOf(name))
      if (own.status !== "ready") return Effect.void
      const command = name.isSharded ? "SUNSUBSCRIBE" : "UNSUBSCRIBE"
      return Effect.ignore(
        ask(command, () => (name.isSharded ? own.sunsubscribe(name.text) : own.unsubscribe(name.text)), lost)
      )
    }
    return {
      lost,
      moved: Effect.suspend(() => Deferred.await(move)),
      hear: (name, ear) =>
        Effect.acquireRelease(
          Effect.sync(() => join(name, ear)),
          (all) => leave(name, ear, all)
        ).pipe(
          Effect.andThen(
            ask(
              name.isSharded ? "SSUBSCRIBE" : "SUBSCRIBE",
              () => (name.isSharded ? own.ssubscribe(name.text) : own.subscribe(name.text)),
              lost
            )
          ),
          Effect.andThen(
            Effect.sync(() => {
              ear.isOpen = true
              ear.gap()
            })
          )
        )
    }
  })

import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"

/** Keeps what a test saw, in order, and lets it wait for what it has not seen yet. */
export interface Recorder<A> {
  readonly record: (value: A) => Effect.Effect<void>
  /** The same, for the callbacks of sockets and drivers. */
  readonly recordUnsafe: (value: A) => void
  /** What was recorded so far, oldest first. */
  readonly all: Effect.Effect<ReadonlyArray<A>>
  /** The first value that the predicate accepts, recorded already or later. It waits for ever: bound it. */
  readonly first: (predicate: (value: A) => boolean) => Effect.Effect<A>
  /** Waits until at least `count` values that the predicate accepts were recorded, and gives those values. */
  readonly atLeast: (count: number, predicate?: (value: A) => boolean) => Effect.Effect<ReadonlyArray<A>>
}

/** Makes an empty recorder. */
export const make = <A>(): Effect.Effect<Recorder<A>> =>
  Effect.sync(() => {
    const values: Array<A> = []
    const waiters = new Set<() => void>()

    const recordUnsafe = (value: A) => {
      values.push(value)
      for (const look of waiters) look()
    }
    const atLeast = (count: number, predicate: (value: A) => boolean = () => true) =>
      Effect.suspend(() => {
        const found = Deferred.makeUnsafe<ReadonlyArray<A>>()
        const look = () => {
          const accepted = values.filter(predicate)
          if (accepted.length >= count) Deferred.doneUnsafe(found, Effect.succeed(accepted))
        }
        waiters.add(look)
        look()
        return Effect.ensuring(
          Deferred.await(found),
          Effect.sync(() => waiters.delete(look))
        )
      })
    return {
      record: (value) => Effect.sync(() => recordUnsafe(value)),
      recordUnsafe,
      all: Effect.sync(() => [...values]),
      first: (predicate) => Effect.map(atLeast(1, predicate), (accepted) => accepted[0]!),
      atLeast
    }
  })

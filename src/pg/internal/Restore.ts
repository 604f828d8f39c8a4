import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/**
 * Makes what a transaction waits for as interruptible as its caller is. In a finalizer that is not at all: there the
 * fiber has been interrupted already, and the transaction is to be run to its end.
 */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** That of the transaction around. */
export const Restore = Context.Reference<Restore>("xdooria/pg/Restore", { defaultValue: () => Effect.interruptible })

/** See {@link Restore}. */
export const restored: Restore = (effect) => Effect.withFiber((fiber) => fiber.getRef(Restore)(effect))

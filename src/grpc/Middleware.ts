import type * as Effect from "effect/Effect"
import type { DomainError, ErrorClass } from "./Api.ts"

/** What a handler gave or sent: a middleware passes it on. */
export interface Served {
  readonly "~xdooria/grpc/Served": true
}

/**
 * Something around the handler of a method, of any kind: of a method with streams it is around the whole call. Made by
 * {@link middleware}, put around handlers by `Grpc.use`. `P` is what it gives to the handler, `R` what it needs.
 */
export interface Middleware<in out P, out R> {
  readonly errors: ReadonlyArray<ErrorClass>
  readonly wrap: (next: Effect.Effect<Served, DomainError, P>) => Effect.Effect<Served, DomainError, R>
}

/** Any {@link Middleware}. */
export type AnyMiddleware = Middleware<never, never>

/**
 * Makes a middleware.
 *
 * - `wrap`: goes around the handler; it may run it or not, give it services, and look at its failure. `Call` and, in
 *   methods that are not public, `Principal` are there
 * - `errors`: what it fails with by itself; they leave as declared errors do. A client has the class in its type when
 *   its method declares it too
 *
 * ```ts
 * const audited = Grpc.middleware({
 *   wrap: (next) => Effect.tap(next, () => Effect.flatMap(Principal, ({ playerId }) => Effect.logInfo(playerId)))
 * })
 * ```
 */
export const middleware = <
  P = never,
  R = never,
  const Classes extends ReadonlyArray<ErrorClass> = readonly []
>(options: {
  readonly wrap: (
    next: Effect.Effect<Served, DomainError, P>
  ) => Effect.Effect<Served, DomainError | Classes[number]["Type"], R>
  readonly errors?: Classes
}): Middleware<P, R> => ({ errors: options.errors ?? [], wrap: options.wrap })

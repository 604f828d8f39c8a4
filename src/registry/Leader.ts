import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { backoff } from "./internal/lease.ts"
import { RegistryError } from "./RegistryError.ts"

/** Who leads, as everybody sees it. */
export interface Leading {
  /** What the leader called itself. */
  readonly id: string
  /** The fencing token of its leadership. */
  readonly token: bigint
}

/** A leadership that is held. It ends with the scope of its election. */
export interface Leadership extends Leading {
  readonly name: string
  /**
   * Runs an effect for as long as the leadership lasts. When it is lost the effect is interrupted, its finalizers are
   * awaited, and the whole fails with `Lost`: before the lease can be another's, by our own monotonic clock.
   */
  readonly whileLeader: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | RegistryError, R>
}

const isLost = (error: unknown): boolean =>
  error instanceof RegistryError && error.reason._tag === "Lost" && error.reason.how !== "closed"

/** Whether a leadership was lost itself: work may lead elsewhere, too, and fail with what was lost there. */
const isOver = ({ whileLeader }: Leadership): Effect.Effect<boolean> =>
  Effect.match(whileLeader(Effect.void), { onFailure: isLost, onSuccess: () => false })

/** Elections among all processes: one leader of a name at a time. Its keys are under `/xdooria/meta/leaders/`. */
export class Leader extends Context.Service<
  Leader,
  {
    /**
     * Waits until this candidate leads, in the order of asking, and gives the leadership up with the scope. Its token, the
     * create revision of its key, rises with every leader of any name: send it along with what must not be done by a
     * leader that is no more, as with Fence of room lock. Before it is given, the own key is read again.
     *
     * - `name`: of the election, made as the name of a service
     * - `id`: what the candidate calls itself, for others to read, 1 to 256 characters; a random one by default
     *
     * Who is interrupted leaves the queue; where the store does not answer, the place in it ends with the lease. While
     * the store does not answer it waits. Fails with `InvalidName`, `Refused` or
     * `Closed`.
     */
    readonly elect: (
      name: string,
      options?: { readonly id?: string }
    ) => Effect.Effect<Leadership, RegistryError, Scope.Scope>
    /** Who leads, now and after every change. Fails with `InvalidName`. */
    readonly observe: (name: string) => Stream.Stream<Option.Option<Leading>, RegistryError>
  }
>()("xdooria/registry/Leader") {
  /**
   * Runs an effect as leader: waits for the leadership, works, and stands for election again, after a moment, when it was
   * lost. Gives what the effect gives when it ends by itself, and fails as it does, also with the `Lost` of another
   * leadership, and with `InvalidName`, `Refused` or `Closed`.
   */
  static readonly lead =
    (name: string, options?: { readonly id?: string }) =>
    <A, E, R>(
      work: (leadership: Leadership) => Effect.Effect<A, E, R>
    ): Effect.Effect<A, E | RegistryError, Leader | R> =>
      Effect.flatMap(Leader, (leader) => {
        // The scope is the leadership's alone: one that the work asks for is its caller's.
        const term = Effect.scopedWith((scope) =>
          Effect.flatMap(Effect.provideService(leader.elect(name, options), Scope.Scope, scope), (leadership) =>
            Effect.catchIf(
              Effect.asSome(leadership.whileLeader(work(leadership))),
              isLost,
              (error): Effect.Effect<Option.Option<A>, E | RegistryError> =>
                Effect.flatMap(isOver(leadership), (is) => (is ? Effect.succeedNone : Effect.fail(error)))
            )
          )
        )
        const stand = (rounds: number): Effect.Effect<A, E | RegistryError, R> =>
          Effect.flatMap(
            term,
            Option.match({
              onSome: Effect.succeed,
              onNone: () => Effect.andThen(backoff(Math.min(rounds, 4)), stand(rounds + 1))
            })
          )
        return stand(0)
      })
}

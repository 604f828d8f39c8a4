import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Grpc from "../grpc/Grpc.ts"

/** The error of a room that keeps something, such as PgError or LeaderboardError. */
interface StorageError {
  readonly reason: { readonly _tag: string }
  readonly isRetryable: boolean
  readonly message: string
}

/**
 * The database or a store could not be asked, or its answer was lost.
 *
 * - `outcome`: `not_applied` when surely nothing was changed; `unknown` when it may have been: ask before you repeat
 *   what is not idempotent
 */
export class StorageUnavailable extends Grpc.TaggedError<StorageUnavailable>()(
  "StorageUnavailable",
  { outcome: Schema.Literals(["not_applied", "unknown"]) },
  { status: "UNAVAILABLE" }
) {
  /**
   * What a database or a store could not answer leaves as StorageUnavailable, and the log says why; any other of its
   * errors is a bug of ours.
   */
  static readonly from = (error: StorageError): Effect.Effect<never, StorageUnavailable> => {
    const isUnknown = error.reason._tag === "OutcomeUnknown"
    if (!isUnknown && !error.isRetryable) return Effect.die(error)
    const outcome = isUnknown ? "unknown" : "not_applied"
    return Effect.andThen(Effect.logWarning(error.message), Effect.fail(new StorageUnavailable({ outcome })))
  }
}

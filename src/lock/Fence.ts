import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Pg from "../pg/Pg.ts"
import type { PgError } from "../pg/PgError.ts"
import * as Key from "../redis/Key.ts"
import { Redis } from "../redis/Redis.ts"
import { wholeMillis } from "./internal/millis.ts"
import { guardedSet } from "./internal/scripts.ts"
import { CurrentLease } from "./Lock.ts"
import { InvalidInput, LockError, Stale } from "./LockError.ts"

/**
 * Where fencing tokens come from.
 *
 * - `R`: what drawing one asks for
 */
export interface Source<R> {
  /**
   * Draws a token, higher than all before. It is run while the lock is held, and its result counts only when the lock
   * is still held afterwards. Undefined: Redis makes the token, in the script that takes the lock.
   */
  readonly next: Effect.Effect<bigint, LockError, R> | undefined
}

/**
 * Redis: the time of the server in microseconds, and one more than the last token where that is higher. It costs no round
 * trip. It survives a flush, a restart and a failover for as long as the clock of the server, or of the one that takes
 * its place, is not behind the highest token; a clock that is set back does no harm while the last token is remembered,
 * for a day after the last acquisition.
 */
export const redis: Source<never> = { next: undefined }

/**
 * The sequence of {@link migration} in PostgreSQL: it rises whatever happens to Redis. It costs two round trips more, and
 * may take a second longer than `wait`. It begins at 2^62, above whatever {@link redis} gives, so that a service can go
 * over to it; there is no way back. Fails with `Unavailable`, or with `Refused` where the sequence is missing.
 */
export const sequence: Source<SqlClient.SqlClient> = {
  next: Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql<{ fence: bigint }>`SELECT nextval('xdooria_fence') AS fence`
  ).pipe(Pg.run, Effect.mapBoth({ onFailure: LockError.fromPg, onSuccess: ([row]) => row!.fence }))
}

/**
 * What {@link sequence} and {@link guard} need in a database, as a migration of the service's own list.
 *
 * - `id`: its place there
 */
export const migration = (id: number): Pg.Migration => ({
  id,
  name: "create_fences",
  up: `CREATE SEQUENCE xdooria_fence AS bigint MINVALUE 4611686018427387904;
CREATE TABLE xdooria_fences (key text PRIMARY KEY, fence bigint NOT NULL)`
})

/**
 * Runs statements in one transaction that no holder can commit after a later one has. The highest token that was seen for
 * the name of the {@link CurrentLease} is kept in a row of `xdooria_fences`; a lower one is `Stale`, and nothing is written.
 * A lower one is refused only once a later holder was here: what a write is derived from is read inside too.
 *
 * Fails with `Lost`, before anything is done, when this process knows that the lease has ended. Inside of `Pg.transaction`
 * it belongs to that transaction, and the row is locked until its end, so that of two holders one waits for the other.
 */
export const guard = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, Exclude<E, SqlError> | LockError | PgError, R | CurrentLease | SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const { fence, name, whileHeld } = yield* CurrentLease
    yield* whileHeld(Effect.void)
    const sql = yield* SqlClient.SqlClient
    const seen = yield* sql`
      INSERT INTO xdooria_fences AS seen (key, fence) VALUES (${name}, ${fence})
      ON CONFLICT (key) DO UPDATE SET fence = EXCLUDED.fence WHERE seen.fence <= EXCLUDED.fence
      RETURNING seen.fence`
    if (seen.length === 0) return yield* new LockError({ reason: new Stale() })
    return yield* effect
  }).pipe(Pg.transaction)

/**
 * Sets a key of Redis, unless a holder with a higher token than that of the {@link CurrentLease} has set it so before:
 * `Stale`, and nothing is written. The highest token is kept beside the key, for ever. For a value that stands by itself: one
 * that is derived from what was read under the lock is a lost update when a later holder has read, and not yet written.
 * That belongs into {@link guard}, with the reading.
 *
 * - `key`: any key that is not beside another
 * - `value`: as for Command.set
 * - `expiry`: how long the value lives, 1 ms or more; for ever when not given
 *
 * Fails with `Lost`, before anything is done, when this process knows that the lease has ended, with `OutcomeUnknown` when
 * the reply was lost, otherwise as `Lock.acquire`.
 */
export const set = (
  key: Key.Any,
  value: string | Uint8Array,
  expiry?: Duration.Input
): Effect.Effect<void, LockError, CurrentLease | Redis> =>
  Effect.gen(function* () {
    if (key.words !== undefined) {
      return yield* new LockError({ reason: new InvalidInput({ problem: "the key is beside another" }) })
    }
    const { fence, whileHeld } = yield* CurrentLease
    yield* whileHeld(Effect.void)
    const { run } = yield* Redis
    const own = key as Key.Key<string>
    const millis = expiry === undefined ? undefined : Math.max(1, wholeMillis(expiry))
    const isWritten = yield* Effect.mapError(
      run(guardedSet([own, Key.beside(own, "xd:fenced")], fence, value, millis)),
      LockError.fromRedis
    )
    if (!isWritten) return yield* new LockError({ reason: new Stale() })
  })

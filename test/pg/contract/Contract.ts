// What the parts of the suite share.
import type { Vitest } from "@effect/vitest"
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Cause from "effect/Cause"
import * as Schedule from "effect/Schedule"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { randomUUID } from "node:crypto"
import { Pg, type PgError } from "xdooria/pg"

/** The services that a test of the suite may ask for. */
export type Services = SqlClient.SqlClient | PgClient.PgClient

/** A part of the suite: declares its tests. */
export type Part = (it: Vitest.MethodsNonLive<Services>) => void

/** A new table of one test, named by it. */
export const table = (columns: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const name = `t_${randomUUID().replaceAll("-", "")}`
    yield* sql.unsafe(`CREATE TABLE ${name} (${columns})`)
    return name
  })

/** The reason of a failed effect. It must fail with a PgError once it was classified. */
export const reasonOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(Pg.run(effect)), (error) => (error as PgError).reason)

/** The tag of it. */
export const tagOf = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.map(reasonOf(effect), ({ _tag }) => _tag)

/** Looks again until it is as it should be; the test's own timeout bounds it. */
export const eventually = <A, R>(
  look: Effect.Effect<A, SqlError, R>,
  predicate: (value: A) => boolean
): Effect.Effect<A, SqlError, R> => Effect.repeat(look, { until: predicate, schedule: Schedule.spaced("5 millis") })

/** How many other sessions of this database are in a state, such as `active`. */
export const sessionsThatAre = (state: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [row] = yield* sql<{ n: number }>`
      SELECT count(*)::int AS n FROM pg_stat_activity
      WHERE datname = current_database() AND state = ${state} AND pid <> pg_backend_pid()`
    return row!.n
  })

/** Whether an exit is an interrupt and nothing else. */
export const isInterrupted = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)

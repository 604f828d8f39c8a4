import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Environment } from "../config/Config.ts"
import { PgError } from "../pg/PgError.ts"

/**
 * The database of a service does not exist.
 *
 * - `problem`: what room pg says of it
 * - `service`, `env`: whose it is
 */
export class DatabaseMissing extends Schema.TaggedError<DatabaseMissing>("xdooria/cli/DatabaseMissing")(
  "DatabaseMissing",
  {
    problem: Schema.String,
    service: Schema.String,
    env: Schema.String
  }
) {
  override get message(): string {
    return `${this.problem}: \`npx xdooria migrate --create --services ${this.service} --env ${this.env}\` makes it`
  }
}

/** Fails with what makes the database of a service, where there is none; with the error itself else. */
export const orHowToMakeIt =
  (service: string, env: Environment) =>
  <E>(error: E | PgError): Effect.Effect<never, E | PgError | DatabaseMissing> =>
    isDatabaseNotFound(error)
      ? Effect.fail(new DatabaseMissing({ problem: error.message, service, env }))
      : Effect.fail(error)

const isDatabaseNotFound = (error: unknown): error is PgError =>
  error instanceof PgError && error.reason._tag === "DatabaseNotFound"

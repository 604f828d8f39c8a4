import * as Context from "effect/Context"

/** How many milliseconds a statement may take where that is not `statement_timeout`: see Pg.transaction. */
export const StatementTimeout = Context.Reference<number | undefined>("xdooria/pg/StatementTimeout", {
  defaultValue: () => undefined
})

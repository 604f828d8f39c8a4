import * as Context from "effect/Context"
import * as Duration from "effect/Duration"

/** The longest time that PostgreSQL takes, in milliseconds. */
export const longestMillis = 2_147_483_647

/** A time as PostgreSQL takes it, in whole milliseconds. None is 0 milliseconds: that means for ever to it. */
export const serverMillis = (duration: Duration.Input): number =>
  Math.min(Math.max(Math.ceil(Duration.toMillis(duration)), 1), longestMillis)

/** How many milliseconds a statement may take where that is not `statement_timeout`: see Pg.transaction. */
export const StatementTimeout = Context.Reference<number | undefined>("xdooria/pg/StatementTimeout", {
  defaultValue: () => undefined
})

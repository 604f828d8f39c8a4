import * as Duration from "effect/Duration"

/** A time in whole milliseconds, rounded up: a server takes no parts of them. Infinity stays what it is. */
export const wholeMillis = (time: Duration.Input): number => Math.ceil(Duration.toMillis(time))

import * as Duration from "effect/Duration"

// Servers of grpc-js take a longer one for one that has passed, and its client throws on the longest.
const longest = Duration.toMillis("24 days")

/**
 * A deadline as grpc-js wants it; Infinity, so none, beyond 24 days. The driver compares it with the system's clock,
 * whatever Clock the fiber has: `now` is of that.
 */
export const after = (now: number, deadline: Duration.Duration): number => {
  const millis = Duration.toMillis(deadline)
  return millis > longest ? Infinity : now + millis
}

import type * as Clock from "effect/Clock"

/** The time on a clock that never goes back, in milliseconds. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/**
 * How a component is.
 *
 * - `up`: it serves
 * - `degraded`: it serves, and somebody should look: who asks whether the service can take calls is told yes
 * - `down`: it does not serve
 *
 * `detail` says why, without secrets.
 */
export type HealthState =
  | { readonly status: "up" }
  | { readonly status: "degraded"; readonly detail: string }
  | { readonly status: "down"; readonly detail: string }

/** The state of every component that has reported, by its name. */
export type HealthStates = ReadonlyMap<string, HealthState>

/** Takes what the rooms report, and tells it. */
export interface HealthReporter {
  /** Sets the state of a component, such as `pg`. */
  readonly report: (component: string, state: HealthState) => Effect.Effect<void>
  /** Forgets a component: it is gone, not down. */
  readonly forget: (component: string) => Effect.Effect<void>
  /** The states now and after every change. */
  readonly changes: Stream.Stream<HealthStates>
}

/** A reference that takes reports and forgets them, so that no room gains a requirement; HealthLive keeps them. */
export const Reporter = Context.Reference<HealthReporter>("xdooria/health/Reporter", {
  defaultValue: () => ({
    report: () => Effect.void,
    forget: () => Effect.void,
    changes: Stream.succeed<HealthStates>(new Map())
  })
})

/** Whether no component that has reported is down; true when none has. */
export const isUp = (states: HealthStates): boolean => [...states.values()].every((state) => state.status !== "down")

/** Sets the state of a component. */
export const report = (component: string, state: HealthState): Effect.Effect<void> =>
  Effect.flatMap(Effect.service(Reporter), (reporter) => reporter.report(component, state))

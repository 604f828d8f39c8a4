import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { type HealthReporter, type HealthState, type HealthStates, Reporter } from "./Health.ts"

const same = (a: HealthState | undefined, b: HealthState): boolean =>
  a !== undefined && a.status === b.status && (a.status === "up" || b.status === "up" || a.detail === b.detail)

/** Makes a reporter that keeps the states in memory and tells each change once. */
export const makeLive: Effect.Effect<HealthReporter> = Effect.map(
  SubscriptionRef.make<HealthStates>(new Map()),
  (states) => ({
    report: (component, state) =>
      SubscriptionRef.updateSome(states, (now) =>
        same(now.get(component), state) ? Option.none() : Option.some(new Map(now).set(component, state))
      ),
    forget: (component) =>
      SubscriptionRef.updateSome(states, (now) => {
        if (!now.has(component)) return Option.none()
        const next = new Map(now)
        next.delete(component)
        return Option.some(next)
      }),
    changes: SubscriptionRef.changes(states)
  })
)

/** Keeps what the rooms above it report, for grpc.health.v1 and for a reader of {@link Reporter}. */
export const HealthLive: Layer.Layer<never> = Layer.effect(Reporter, makeLive)

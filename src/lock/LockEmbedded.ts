import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import type { Backend } from "./internal/backend.ts"
import { make, ticketMillisOf, Wakes } from "./internal/engine.ts"
import { monotonicMillis } from "./internal/Holding.ts"
import { Lock, LockConfig, type LockOptions } from "./Lock.ts"

/** What is known of a key: the holder and those who wait, each with the time until which that counts. */
interface State {
  holder: { readonly token: string; readonly until: number } | undefined
  readonly queue: Map<string, number>
}

/** The backend of LockLive, without a server: the same answers, from the memory of this process. */
const memory = (wakes: Wakes, ticketMillis: number): Backend => {
  const states = new Map<string, State>()
  let lastFence = 0n

  /** The state of a key without what has ended. */
  const stateOf = (name: string, now: number): State => {
    const state = states.get(name) ?? { holder: undefined, queue: new Map() }
    if (state.holder !== undefined && state.holder.until <= now) state.holder = undefined
    for (const [token, until] of state.queue) if (until <= now) state.queue.delete(token)
    return state
  }
  const keep = (name: string, state: State): void => {
    if (state.holder === undefined && state.queue.size === 0) states.delete(name)
    else states.set(name, state)
  }
  const headOf = ({ queue }: State): string | undefined => queue.keys().next().value
  const withState = <A>(name: string, use: (state: State, now: number, clock: Clock.Clock) => A): Effect.Effect<A> =>
    Effect.clockWith((clock) => {
      const now = monotonicMillis(clock)
      const state = stateOf(name, now)
      const result = use(state, now, clock)
      keep(name, state)
      return Effect.succeed(result)
    })

  return {
    nameOf: (key) => key.name,
    claim: ({ key, token, ttlMillis, waits }) =>
      withState(key.name, (state, now, clock) => {
        const head = headOf(state)
        if (state.holder === undefined && (head === undefined || head === token)) {
          state.holder = { token, until: now + ttlMillis }
          state.queue.delete(token)
          // As LockLive does, so that a token is higher than those that were written before a restart.
          const micros = BigInt(clock.currentTimeMillisUnsafe()) * 1000n
          lastFence = micros > lastFence ? micros : lastFence + 1n
          return { _tag: "Granted", fence: lastFence }
        }
        if (waits) state.queue.set(token, now + ticketMillis)
        const left = (state.holder?.until ?? now) - now
        return { _tag: "Busy", isNext: headOf(state) === token, leftMillis: left }
      }),
    extend: (key, token, ttlMillis) =>
      withState(key.name, (state, now) => {
        if (state.holder?.token !== token) return false
        state.holder = { token, until: now + ttlMillis }
        return true
      }),
    leave: (key, token) =>
      withState(key.name, (state) => {
        if (state.holder?.token === token) state.holder = undefined
        state.queue.delete(token)
        const head = headOf(state)
        if (state.holder === undefined && head !== undefined) wakes.wake(head)
      })
  }
}

const defaults: LockOptions = Schema.decodeSync(LockConfig.schema)({})

/**
 * Locks within this process: whoever shares the service shares the locks. What is not given has the default of
 * LockConfig. It cannot fail. The scope ends the background work and whatever is held, see LockLive.
 */
export const makeEmbedded = (options: Partial<LockOptions> = {}): Effect.Effect<Lock["Service"], never, Scope.Scope> =>
  Effect.suspend(() => {
    const values = { ...defaults, ...options }
    const wakes = new Wakes()
    return make(memory(wakes, ticketMillisOf(values)), wakes, values)
  })

/** As {@link LockEmbedded}, with options in place of the configuration. See {@link makeEmbedded}. */
export const layerEmbedded = (options: Partial<LockOptions> = {}): Layer.Layer<Lock> =>
  Layer.effect(Lock, makeEmbedded(options))

/** Locks within this process, with the times of section `lock`. See {@link makeEmbedded}. */
export const LockEmbedded: Layer.Layer<Lock, InvalidConfig> = Layer.effect(
  Lock,
  Effect.flatMap(Config.get(LockConfig), makeEmbedded)
)

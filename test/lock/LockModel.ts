// Random sequences of what several owners do with several locks, and what a simple model says of them.
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { Lock } from "xdooria/lock"
import { newKey } from "./LockContract.ts"

/** One step: an owner asks for a lock without waiting, or gives it back if it has it. */
export interface Step {
  readonly owner: number
  readonly key: number
  readonly releases: boolean
}

/** Sequences of steps by four owners on three keys; `next` gives a number from 0 to 1. */
export const stepsOf = (next: () => number, length: number): ReadonlyArray<Step> =>
  Array.from({ length }, () => ({
    owner: Math.floor(next() * 4),
    key: Math.floor(next() * 3),
    releases: next() < 0.4
  }))

/** What each step must give: whether the lock was got, or given back. */
export const model = (steps: ReadonlyArray<Step>): ReadonlyArray<boolean> => {
  const holders = new Map<number, number>()
  return steps.map(({ key, owner, releases }) => {
    if (releases) return holders.get(key) === owner && holders.delete(key)
    if (holders.has(key)) return false
    holders.set(key, owner)
    return true
  })
}

/** What the steps give on a lock, and the tokens of each key in the order of being given. */
export const play = (steps: ReadonlyArray<Step>) =>
  Effect.gen(function* () {
    const keys = [yield* newKey, yield* newKey, yield* newKey]
    const held = new Map<string, Scope.Closeable>()
    const tokens = keys.map((): Array<bigint> => [])
    const results: Array<boolean> = []
    for (const { key, owner, releases } of steps) {
      const name = `${owner} ${key}`
      const own = held.get(name)
      if (releases) {
        if (own !== undefined) yield* Scope.close(own, Exit.void)
        results.push(held.delete(name))
      } else {
        const scope = yield* Scope.make()
        const lease = yield* Effect.exit(
          Effect.provideService(Lock.acquire(keys[key]!, { wait: 0 }), Scope.Scope, scope)
        )
        if (Exit.isSuccess(lease)) {
          held.set(name, scope)
          tokens[key]!.push(lease.value.fence)
        } else yield* Scope.close(scope, Exit.void)
        results.push(Exit.isSuccess(lease))
      }
    }
    for (const scope of held.values()) yield* Scope.close(scope, Exit.void)
    return { results, tokens }
  })

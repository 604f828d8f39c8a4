// What clients were told about their operations, against what the server holds afterwards.
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/**
 * The judgement on a history.
 *
 * - `acked`: operations that were reported as done
 * - `lost`: acknowledged and not applied. Never allowed
 * - `duplicated`: applied more than once, whatever was reported. Never allowed
 * - `unknown`: reported as of unknown outcome
 * - `phantom`: reported as surely not applied, and applied. Never allowed: the report was a lie
 * - `maxOutageMs`: the longest time between two acknowledgements
 * - `recoverMs`: from the last `healed` mark to the first acknowledgement after it; 0 without a mark, Infinity when
 *   none followed
 */
export interface Verdict {
  readonly acked: number
  readonly lost: number
  readonly duplicated: number
  readonly unknown: number
  readonly phantom: number
  readonly maxOutageMs: number
  readonly recoverMs: number
}

/**
 * Takes down what became of operations, each under an id of its own, which all tries of it share: an earlier try that
 * surely failed is no lie when a later one is acknowledged. Times come from the fiber's clock.
 */
export interface History {
  /** The operation was reported as done. */
  readonly acked: (id: string) => Effect.Effect<void>
  /** The operation was reported as surely not applied. */
  readonly failed: (id: string) => Effect.Effect<void>
  /** The operation's outcome is unknown to its caller. */
  readonly unknown: (id: string) => Effect.Effect<void>
  /** Marks the moment at which the fault ended. */
  readonly healed: Effect.Effect<void>
  /** Judges, given the ids that the server applied, one entry for each application. */
  readonly verdict: (applied: Iterable<string>) => Effect.Effect<Verdict>
}

/** Makes an empty history. */
export const make: Effect.Effect<History> = Effect.sync(() => {
  const acked = new Set<string>()
  const failed = new Set<string>()
  const unknown = new Set<string>()
  const ackedAt: Array<number> = []
  let healedAt: number | undefined

  return {
    acked: (id) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        acked.add(id)
        failed.delete(id)
        ackedAt.push(now)
      }),
    failed: (id) =>
      Effect.sync(() => {
        if (!acked.has(id) && !unknown.has(id)) failed.add(id)
      }),
    unknown: (id) =>
      Effect.sync(() => {
        unknown.add(id)
        failed.delete(id)
      }),
    healed: Effect.map(Clock.currentTimeMillis, (now) => {
      healedAt = now
    }),
    verdict: (applied) =>
      Effect.sync(() => {
        const times = new Map<string, number>()
        for (const id of applied) times.set(id, (times.get(id) ?? 0) + 1)
        const count = (ids: Iterable<string>, test: (times: number) => boolean) =>
          [...ids].filter((id) => test(times.get(id) ?? 0)).length
        return {
          acked: acked.size,
          lost: count(acked, (n) => n === 0),
          duplicated: count(times.keys(), (n) => n > 1),
          unknown: unknown.size,
          phantom: count(failed, (n) => n > 0),
          maxOutageMs: ackedAt.reduce((max, at, i) => Math.max(max, at - (ackedAt[i - 1] ?? at)), 0),
          recoverMs: healedAt === undefined ? 0 : (ackedAt.find((at) => at >= healedAt!) ?? Infinity) - healedAt
        }
      })
  }
})

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Leaks from "../support/Leaks.ts"
import type * as Servers from "../support/Servers.ts"

/**
 * What a scenario measured, as `History.verdict` gives it; `extra` for numbers of the scenario's own.
 *
 * - `acked`, `lost`, `duplicated`, `unknown`: operations
 * - `phantom`: operations that were reported as surely not applied, and were
 * - `maxOutageMs`: the longest time without an acknowledgement
 * - `recoverMs`: from the end of the fault to the first acknowledgement
 */
export interface Measured {
  readonly acked: number
  readonly lost: number
  readonly duplicated: number
  readonly unknown: number
  readonly phantom?: number
  readonly maxOutageMs: number
  readonly recoverMs: number
  readonly extra?: Readonly<Record<string, number>>
}

/** The result of a run: what was measured, and what the process was left with. */
export interface FaultResult extends Measured {
  readonly id: string
  readonly seed: number
  /** How many fibers, timers, sockets and processes were there after the run and not before it. */
  readonly leaks: number
  /** How many errors reached uncaughtException or unhandledRejection. */
  readonly uncaught: number
  /** What is wrong with it; empty when the promise held. */
  readonly complaints: ReadonlyArray<string>
}

/** A fault, injected under load, with a judgement. Its error and its parameters are its own affair. */
export interface Scenario {
  readonly id: string
  readonly room: string
  readonly title: string
  /** The servers that must be there. One that the scenario starts itself is not listed. */
  readonly servers: ReadonlyArray<Servers.Name>
  /** Runs it once. Never fails: what went wrong is in the complaints. */
  readonly execute: (size: "scaled" | "full", seed: number) => Promise<FaultResult>
}

/**
 * Declares a scenario.
 *
 * - `scaled`: the parameters under `npm test`, where it must end within 5 s
 * - `full`: those of `npm run faults`
 * - `run`: injects, loads and measures; everything that it acquires ends with its scope. It runs on the live clock
 * - `judge`: one sentence for each threshold that was missed. Lost, duplicated and phantom operations, leaks and
 *   uncaught errors are refused in every scenario, without being asked for
 */
export const scenario = <P, E, M extends Measured>(options: {
  readonly id: string
  readonly room: string
  readonly title: string
  readonly servers?: ReadonlyArray<Servers.Name>
  readonly scaled: P
  readonly full: P
  readonly run: (params: P, seed: number) => Effect.Effect<M, E, Scope.Scope>
  readonly judge: (measured: M, params: P) => ReadonlyArray<string>
}): Scenario => ({
  id: options.id,
  room: options.room,
  title: options.title,
  servers: options.servers ?? [],
  execute: async (size, seed) => {
    const params = options[size]
    const before = Leaks.snapshot()
    const uncaught: Array<string> = []
    const note = (error: unknown) =>
      uncaught.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
    // A process that the scenario starts must not write its coverage at its end: its times are measured.
    const coverage = process.env["NODE_V8_COVERAGE"]
    delete process.env["NODE_V8_COVERAGE"]
    process.on("uncaughtException", note).on("unhandledRejection", note)
    const exit = await Effect.runPromiseExit(Effect.scoped(Effect.suspend(() => options.run(params, seed))))
    const leaks = await Leaks.settle(before, 2_000)
    process.off("uncaughtException", note).off("unhandledRejection", note)
    if (coverage !== undefined) process.env["NODE_V8_COVERAGE"] = coverage
    const measured = Exit.isSuccess(exit) ? exit.value : nothing
    const complaints = Exit.isSuccess(exit)
      ? [...refusedAlways(measured), ...options.judge(exit.value, params)]
      : [`it did not end: ${Cause.pretty(exit.cause)}`]
    complaints.push(...leaks.map((leak) => `left behind: ${leak}`), ...uncaught.map((error) => `uncaught: ${error}`))
    return { id: options.id, seed, ...measured, leaks: leaks.length, uncaught: uncaught.length, complaints }
  }
})

const nothing: Measured = { acked: 0, lost: 0, duplicated: 0, unknown: 0, maxOutageMs: 0, recoverMs: 0 }

const refusedAlways = (measured: Measured): ReadonlyArray<string> =>
  (["lost", "duplicated", "phantom"] as const)
    .filter((key) => (measured[key] ?? 0) > 0)
    .map((key) => `${measured[key]} ${key}`)

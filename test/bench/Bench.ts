// Comparisons of one piece of work done in several ways. See README.md for how they are run and what they tell.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** Does the work for so many milliseconds and gives the number of finished calls. */
export type Load = (millis: number) => Effect.Effect<number>

/**
 * Effects in fibers: `concurrency` fibers, each repeating the call. A call that fails is a defect of the benchmark and
 * ends it.
 */
export const fibers =
  <E>(concurrency: number, call: Effect.Effect<unknown, E>): Load =>
  (millis) =>
    Effect.suspend(() => {
      const end = performance.now() + millis
      let calls = 0
      const one = Effect.whileLoop({
        while: () => performance.now() < end,
        body: () => call,
        step: () => {
          calls++
        }
      })
      return Effect.all(
        Array.from({ length: concurrency }, () => one),
        { concurrency: "unbounded", discard: true }
      ).pipe(
        Effect.orDie,
        Effect.map(() => calls)
      )
    })

/** Promises: as many loops that await the call, for a driver without any of our code around it. */
export const promises =
  (concurrency: number, call: () => Promise<unknown>): Load =>
  (millis) =>
    Effect.promise(async () => {
      const end = performance.now() + millis
      let calls = 0
      const one = async () => {
        while (performance.now() < end) {
          await call()
          calls++
        }
      }
      await Promise.all(Array.from({ length: concurrency }, one))
      return calls
    })

/** What a candidate must reach, as a ratio to the baseline: calls per second at least, CPU per call or memory at most. */
export interface Target {
  readonly throughput?: number
  readonly cpu?: number
  readonly memory?: number
}

/**
 * A comparison as the runner sees it. A part (`candidate`, or `server` and `load` of one) is built in a process of its
 * own, so that its CPU is its own.
 */
export interface Comparison {
  readonly name: string
  /** The candidates' names, the baseline first. */
  readonly candidates: ReadonlyArray<string>
  readonly targets: Readonly<Record<string, Target>>
  /** Which process counts, and by what: its CPU in slices of load, or its memory as soon as the load is built. */
  readonly measured: "load's CPU" | "server's CPU" | "server's memory"
  /** Where there is one, the server that the load works on. */
  readonly server: ((candidate: string) => Effect.Effect<unknown, unknown, Scope.Scope>) | undefined
  readonly load: (candidate: string, address: unknown) => Effect.Effect<Load, unknown, Scope.Scope>
}

type Candidates<A> = Readonly<Record<string, Effect.Effect<A, unknown, Scope.Scope>>>

/**
 * Compares clients: each candidate is built in a process of its own, whose CPU is measured, and does its own load.
 *
 * - `baseline`: the name of the candidate that the others are divided by; it takes part twice, to show the noise
 * - `candidates`: built once, with a scope that lasts for the whole run
 * - `targets`: by candidate; a missed one makes `npm run bench` exit with 1
 */
export const clients = (options: {
  readonly name: string
  readonly baseline: string
  readonly candidates: Candidates<Load>
  readonly targets?: Readonly<Record<string, Target>>
}): Comparison => ({
  name: options.name,
  candidates: ordered(options.baseline, options.candidates),
  targets: options.targets ?? {},
  measured: "load's CPU",
  server: undefined,
  load: (candidate) => options.candidates[candidate]!
})

/**
 * Compares clients of one server, which runs in another process.
 *
 * - `server`: starts it and gives its address, which must survive JSON; every candidate has one of its own
 * - `candidates`: as in {@link clients}; given the address
 */
export const clientsOf = <A>(options: {
  readonly name: string
  readonly baseline: string
  readonly server: Effect.Effect<A, unknown, Scope.Scope>
  readonly candidates: Readonly<Record<string, (address: A) => Effect.Effect<Load, unknown, Scope.Scope>>>
  readonly targets?: Readonly<Record<string, Target>>
}): Comparison => ({
  name: options.name,
  candidates: ordered(options.baseline, options.candidates),
  targets: options.targets ?? {},
  measured: "load's CPU",
  server: () => options.server,
  load: (candidate, address) => options.candidates[candidate]!(address as A)
})

/**
 * Compares servers: each is built in a process of its own, whose CPU is measured, and is loaded from another process
 * by the same client.
 *
 * - `candidates`: start a server and give its address, which must survive JSON
 * - `load`: the client, the same for all; given the address
 */
export const servers = <A>(options: {
  readonly name: string
  readonly baseline: string
  readonly candidates: Candidates<A>
  readonly load: (address: A) => Effect.Effect<Load, unknown, Scope.Scope>
  readonly targets?: Readonly<Record<string, Target>>
}): Comparison => ({
  name: options.name,
  candidates: ordered(options.baseline, options.candidates),
  targets: options.targets ?? {},
  measured: "server's CPU",
  server: (candidate) => options.candidates[candidate]!,
  load: (_, address) => options.load(address as A)
})

/**
 * Compares how much memory servers hold: each is started anew for every round, and is measured when all that `hold` opens
 * on it is there.
 *
 * - `candidates`: as in {@link servers}
 * - `hold`: opens, from another process and the same for all, what the server then has; it stays until the scope ends
 */
export const memory = <A>(options: {
  readonly name: string
  readonly baseline: string
  readonly candidates: Candidates<A>
  readonly hold: (address: A) => Effect.Effect<void, unknown, Scope.Scope>
  readonly targets?: Readonly<Record<string, Target>>
}): Comparison => ({
  name: options.name,
  candidates: ordered(options.baseline, options.candidates),
  targets: options.targets ?? {},
  measured: "server's memory",
  server: (candidate) => options.candidates[candidate]!,
  load: (_, address) => Effect.as(options.hold(address as A), () => Effect.succeed(0))
})

const ordered = (baseline: string, candidates: object): ReadonlyArray<string> => [
  baseline,
  ...Object.keys(candidates).filter((name) => name !== baseline)
]

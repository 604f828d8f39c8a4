// What a piece of code left behind in this process: fibers, timers, sockets, listeners, child processes.
import * as Effect from "effect/Effect"
import type { Socket } from "node:net"

interface FiberLike {
  readonly id: number
  context?: unknown
  _exit?: unknown
}

interface FiberPrototype {
  setContext: (this: FiberLike, context: unknown) => void
  evaluate: (this: FiberLike, effect: unknown) => void
}

/** Those that are alive, each with the place where it was started. */
interface Tracked {
  readonly fibers: Map<FiberLike, Error>
  readonly timers: Map<NodeJS.Timeout, Error>
}

const startedHere = (): Error => {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 40
  const error = new Error("started here")
  Error.stackTraceLimit = limit
  return error
}

/**
 * Effect keeps no list of its fibers, so the two methods that every fiber passes through, at its start and after each
 * of its steps, are wrapped to keep one.
 */
const trackFibers = (live: Tracked["fibers"]): void => {
  const prototype = Object.getPrototypeOf(Effect.runFork(Effect.void)) as FiberPrototype
  const { setContext, evaluate } = prototype
  prototype.setContext = function (context) {
    if (this.context === undefined) live.set(this, startedHere())
    setContext.call(this, context)
  }
  prototype.evaluate = function (effect) {
    evaluate.call(this, effect)
    if (this._exit !== undefined) live.delete(this)
  }
}

const isOver = (timer: NodeJS.Timeout): boolean => (timer as unknown as { readonly _destroyed: boolean })._destroyed

/**
 * Node counts timers and does not name them, so the two functions that make one are wrapped. The test runner took its
 * own before, so that its timers are not among these.
 */
const trackTimers = (live: Tracked["timers"]): void => {
  for (const name of ["setTimeout", "setInterval"] as const) {
    const original = globalThis[name] as (...args: ReadonlyArray<unknown>) => NodeJS.Timeout
    const tracking = (...args: ReadonlyArray<unknown>) => {
      if (live.size > 1_000) for (const timer of live.keys()) if (isOver(timer)) live.delete(timer)
      const timer = original(...args)
      live.set(timer, startedHere())
      return timer
    }
    // With what util.promisify looks for.
    Object.defineProperties(tracking, Object.getOwnPropertyDescriptors(original))
    Object.assign(globalThis, { [name]: tracking })
  }
}

const key = Symbol.for("xdooria/test/tracked")
const shared = globalThis as { [key]?: Tracked }

const tracked = (): Tracked => {
  if (shared[key] === undefined) {
    shared[key] = { fibers: new Map(), timers: new Map() }
    trackFibers(shared[key].fibers)
    trackTimers(shared[key].timers)
  }
  return shared[key]
}

/** What the process held at some moment. */
export type Snapshot = ReadonlySet<object>

/** Handles of these classes belong to the test runner or to Node itself. */
const ignored = new Set(["WriteStream", "ReadStream", "MessagePort", "Pipe", "Control", "FSWatcher"])

/** The process's own input and outputs, which Node opens when they are first looked at. */
const isStandard = (handle: object): boolean => {
  const { _handle } = handle as { readonly _handle?: { readonly fd?: number } | null }
  return _handle?.fd !== undefined && _handle.fd >= 0 && _handle.fd <= 2
}

const handles = (): ReadonlyArray<object> =>
  // The only list of open handles with their addresses that Node has.
  (process as unknown as { _getActiveHandles: () => ReadonlyArray<object> })
    ._getActiveHandles()
    .filter((handle) => !ignored.has(handle.constructor.name) && !isStandard(handle))

/** Timers that keep the process alive; one that does not is its maker's own affair. */
const timers = (): ReadonlyArray<readonly [NodeJS.Timeout, Error]> =>
  [...tracked().timers].filter(([timer]) => !isOver(timer) && timer.hasRef())

/** Takes down what is there now. What was started before the first call is not seen. */
export const snapshot = (): Snapshot =>
  new Set<object>([...tracked().fibers.keys(), ...handles(), ...timers().map(([timer]) => timer)])

const nameOf = (handle: object): string => {
  const kind = handle.constructor.name
  const { connecting, destroyed, localPort, remoteAddress, remotePort } = handle as Partial<Socket>
  if (remotePort !== undefined) return `${kind} from ${localPort} to ${remoteAddress}:${remotePort}`
  if (destroyed !== undefined) return `${kind}${connecting ? ", connecting" : ""}${destroyed ? ", destroyed" : ""}`
  const { pid, spawnfile } = handle as { pid?: number; spawnfile?: string }
  return pid === undefined ? kind : `${kind} ${spawnfile} with id ${pid}`
}

/** The first places of ours in a stack. */
const originOf = (error: Error): string =>
  (error.stack ?? "")
    .split("\n")
    .filter((line) => /\(?(?:file:\/\/)?\/.*:\d+:\d+\)?$/.test(line))
    .filter((line) => !line.includes("/node_modules/") && !line.includes("/support/Leaks.ts"))
    .slice(0, 3)
    .map((line) => line.trim())
    .join(" ")

/** What is there now and was not at the snapshot; empty when nothing is. */
export const since = (before: Snapshot): ReadonlyArray<string> => [
  ...[...tracked().fibers]
    .filter(([fiber]) => !before.has(fiber))
    .map(([fiber, start]) => `fiber ${fiber.id} ${originOf(start)}`),
  ...handles()
    .filter((handle) => !before.has(handle))
    .map(nameOf),
  ...timers()
    .filter(([timer]) => !before.has(timer))
    .map(([, start]) => `timer ${originOf(start)}`)
]

/** As it was before the wrapping: this file waits without being seen. */
const turn = setTimeout

/**
 * Waits for what is closing to be closed, at most so many milliseconds, and tells what remains. On real time, outside
 * of Effect, so that it does not count itself.
 */
export const settle = async (before: Snapshot, millis: number): Promise<ReadonlyArray<string>> => {
  const end = performance.now() + millis
  for (;;) {
    const leaks = since(before)
    if (leaks.length === 0 || performance.now() > end) return leaks
    await new Promise((resolve) => turn(resolve, 10))
  }
}

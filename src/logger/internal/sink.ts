import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { LogSink } from "../Logger.ts"

/** How far a write came: `written` of all its bytes, and the system's code when they are not all. */
export interface Outcome {
  readonly written: number
  readonly code?: string
}

/**
 * Where bytes go. `rest` is the end of a line whose beginning was written before; a target that is new since then
 * leaves it out, and counts it as written. The promise never rejects.
 */
export interface Target {
  readonly write: (rest: Buffer, lines: Buffer) => Promise<Outcome>
}

/** With so many characters a write starts at once. */
const fullAt = 65_536

/** What may wait while a write is under way, in characters; further lines are lost. */
const maxWaiting = 8 * 1024 * 1024

/** How long a line waits for others to come along. */
const pause = "100 millis"

/** How long the last lines may take when the scope closes. */
const closeTimeout = "2 seconds"

const nothing = Buffer.alloc(0)

const newline = 10

/** Told of lines that are lost: how many, why, and whether they are the first since writing last worked. */
export type OnLost = (lines: number, code: string, first: boolean) => void

/**
 * A sink that writes in the background, lines together after 100 ms or 64 KB, and all of them when its scope closes.
 *
 * A failed write loses its lines. The rest of a line that a failure cut is kept and goes first, so that no reader meets
 * half a line.
 */
export const makeSink = (target: Target, onLost: OnLost): Effect.Effect<LogSink, never, Scope.Scope> =>
  Effect.gen(function* () {
    const sink = new Writer(target, onLost)
    yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeout(sink.drain, closeTimeout)))
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.andThen(
          Effect.andThen(sink.isWaiting.await, Effect.sleep(pause)),
          Effect.sync(() => sink.flush())
        )
      )
    )
    return sink
  })

class Writer implements LogSink {
  readonly isWaiting = Latch.makeUnsafe(false)
  readonly #target: Target
  readonly #onLost: OnLost
  #text = ""
  #lines = 0
  #rest: Buffer = nothing
  #isWriting = false
  #onIdle: (() => void) | undefined
  #lost = 0
  #code = ""
  #isFailing = false

  constructor(target: Target, onLost: OnLost) {
    this.#target = target
    this.#onLost = onLost
  }

  write(line: string): void {
    if (this.#text.length >= maxWaiting) return this.#lose(1, "too slow")
    this.#text += line
    this.#lines++
    if (this.#text.length >= fullAt) this.flush()
    this.isWaiting.openUnsafe()
  }

  /** Starts to write what waits, unless a write is under way. */
  flush(): void {
    this.#report()
    if (!this.#isWriting && this.#hasMore) this.#start()
  }

  /** Writes what waits, once: what fails now is lost. */
  readonly drain: Effect.Effect<void> = Effect.callback((resume) => {
    this.#onIdle = () => resume(Effect.void)
    this.flush()
    if (!this.#isWriting) this.#onIdle()
  })

  get #hasMore(): boolean {
    return this.#text !== "" || this.#rest.length > 0
  }

  #start(): void {
    const rest = this.#rest
    const lines = Buffer.from(this.#text)
    const count = this.#lines
    this.#rest = nothing
    this.#text = ""
    this.#lines = 0
    this.#isWriting = true
    void this.#target.write(rest, lines).then((outcome) => this.#end(rest, lines, count, outcome))
  }

  #end(rest: Buffer, lines: Buffer, count: number, outcome: Outcome): void {
    this.#settle(rest, lines, count, outcome)
    this.#isWriting = false
    this.#next()
  }

  /** Goes on while lines come faster than the timer, and to the last one when the scope closes. */
  #next(): void {
    if (this.#text.length >= (this.#onIdle === undefined ? fullAt : 1)) return this.#start()
    if (!this.#hasMore) this.isWaiting.closeUnsafe()
    this.#onIdle?.()
  }

  #settle(rest: Buffer, lines: Buffer, count: number, { written, code }: Outcome): void {
    if (code === undefined) {
      this.#report()
      this.#isFailing = false
      return
    }
    const end = endOfLine(rest, lines, written)
    this.#rest = Buffer.concat([rest, lines]).subarray(written, end)
    this.#lose(count - newlines(lines.subarray(0, Math.max(0, end - rest.length))), code)
    this.#report()
  }

  #lose(lines: number, code: string): void {
    this.#lost += lines
    this.#code = code
  }

  #report(): void {
    if (this.#lost === 0) return
    this.#onLost(this.#lost, this.#code, !this.#isFailing)
    this.#lost = 0
    this.#isFailing = true
  }
}

/** Where the line ends that a write was cut in; where the write was cut when that is between lines. */
const endOfLine = (rest: Buffer, lines: Buffer, written: number): number => {
  if (written <= rest.length) return rest.length
  const at = written - rest.length
  return lines[at - 1] === newline ? written : rest.length + lines.indexOf(newline, at) + 1
}

const newlines = (bytes: Buffer): number => {
  let count = 0
  for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, at + 1)) count++
  return count
}

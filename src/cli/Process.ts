import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"

// One terminal key sends two signals: to npm, which passes it on, and to us. Only a later one means "now".
const sameKeyPress = Duration.millis(500)

/** A process has one grace, as it has one exit code: the longest that any of its services asked for. */
let grace = Duration.seconds(10)

/**
 * Declares that this process serves until a signal ends it, which is then success: exit code 0.
 *
 * - `needed`: the time that an orderly stop may take; the grace is 10 s, or this where it is longer
 */
export const serveUntilSignal = (needed: Duration.Duration): Effect.Effect<void> =>
  Effect.sync(() => {
    grace = Duration.max(grace, needed)
    process.exitCode = 0
  })

const exitCodeOf = <A, E>(exit: Exit.Exit<A, E>): number => {
  if (Exit.isSuccess(exit)) return Number(process.exitCode ?? 0)
  if (Cause.hasInterruptsOnly(exit.cause)) return Number(process.exitCode ?? 130)
  return Runtime.getErrorExitCode(Cause.squash(exit.cause))
}

/** What a person reads of a failure: the message of an expected error, the whole of a bug. */
const report = (cause: Cause.Cause<unknown>): void => {
  if (Cause.hasInterruptsOnly(cause)) return
  const failures = cause.reasons.filter(Cause.isFailReason).map((reason) => reason.error)
  const shown = failures.filter(Runtime.getErrorReported)
  if (failures.length === 0) process.stderr.write(`This is a bug of xdooria's:\n${Cause.pretty(cause)}\n`)
  for (const error of shown) process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
}

const end = (why: string): never => {
  process.stderr.write(`xdooria: ${why}, ending now\n`)
  process.exit(1)
}

const run = Runtime.makeRunMain(({ fiber }) => {
  let stoppingSince: number | undefined
  let isTold = true

  const onSignal = (): void => {
    const now = performance.now()
    if (stoppingSince === undefined) {
      stoppingSince = now
      setTimeout(() => end(`not stopped within ${Duration.format(grace)}`), Duration.toMillis(grace)).unref()
      fiber.interruptUnsafe(fiber.id)
    } else if (now - stoppingSince > Duration.toMillis(sameKeyPress)) {
      end("stopped twice")
    }
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  process.stdout.on("error", () => {
    isTold = false
  })
  fiber.addObserver((exit) => {
    if (Exit.isFailure(exit)) report(exit.cause)
    const code = exitCodeOf(exit)
    // A write that fails says so in a later step. What a command could not say is not done; a server has served.
    setImmediate(() => process.exit(isTold || process.exitCode === 0 ? code : 1))
  })
})

/**
 * Runs the command line. SIGINT or SIGTERM interrupts it and lets every scope close, for the grace at most (then exit
 * code 1); a second one, more than 500 ms after the first, ends it at once (exit code 1).
 *
 * This is the edge of the process: signals, timers and exit codes are its own here and nowhere else.
 */
export const runMain = <E>(program: Effect.Effect<void, E>): void => run(program, { disableErrorReporting: true })

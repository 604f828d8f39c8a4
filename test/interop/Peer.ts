// Runs the peer in Go, as a client.
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"

/** How the program ended, and what it printed. */
export interface Ended {
  readonly code: number
  readonly output: string
  readonly errors: string
}

const wait = (program: string, args: ReadonlyArray<string>, until: Effect.Effect<unknown>) =>
  Effect.suspend(() => {
    const child = spawn(program, args)
    let [output, errors] = ["", ""]
    child.stdout.on("data", (bytes: Buffer) => (output += String(bytes)))
    child.stderr.on("data", (bytes: Buffer) => (errors += String(bytes)))
    child.stdin.on("error", () => {})
    const ended = Effect.callback<Ended>((resume) => {
      child.on("error", (error) => resume(Effect.die(error)))
      child.on("close", (code) => resume(Effect.succeed({ code: code ?? -1, output, errors })))
      return Effect.sync(() => child.kill("SIGKILL"))
    })
    const ends = Effect.andThen(
      until,
      Effect.sync(() => child.stdin.end())
    )
    return Effect.andThen(Effect.forkScoped(ends), ended)
  })

/**
 * Runs it to its end; killed when interrupted.
 *
 * - `until`: its standard input ends when this has, which makes `call -cancel` cancel
 */
export const run = (
  program: string,
  args: ReadonlyArray<string>,
  until: Effect.Effect<unknown> = Effect.void
): Effect.Effect<Ended> => Effect.scoped(wait(program, args, until))

/** What came of a call, as a Go program sees it. */
export interface Report {
  readonly code: number
  readonly message: string
  /** The details of the status that are an ErrorInfo, and how many details it has. */
  readonly infos: ReadonlyArray<{
    readonly reason: string
    readonly domain: string
    readonly metadata: Readonly<Record<string, string>>
  }>
  readonly details: number
  /** Of the payloads that came. */
  readonly sizes: ReadonlyArray<number>
  readonly header: Readonly<Record<string, ReadonlyArray<string>>>
  readonly trailer: Readonly<Record<string, ReadonlyArray<string>>>
}

/** Makes a call; see `peer call -help`. */
export const call = (
  program: string,
  address: string,
  kind: "unary" | "output" | "input" | "duplex",
  flags: ReadonlyArray<string>,
  until?: Effect.Effect<unknown>
): Effect.Effect<Report> =>
  Effect.map(run(program, ["call", ...flags, kind, address], until), ({ code, errors, output }) => {
    assert.strictEqual(code, 0, errors)
    return JSON.parse(output) as Report
  })

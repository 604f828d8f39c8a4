// What the tools have in common: running a program, and a list of steps with one line each.
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

/** The folder of package.json. */
export const root: string = fileURLToPath(new URL("../", import.meta.url))

/** How a program ended, and all that it printed. */
export interface Ended {
  readonly code: number
  readonly output: string
}

/** Runs a program of node_modules/.bin, or of the machine, in the root folder. */
export const run = (command: string, args: ReadonlyArray<string>): Promise<Ended> =>
  new Promise((resolve) => {
    const env = { ...process.env, PATH: `${root}node_modules/.bin:${process.env["PATH"]}`, NO_COLOR: "1" }
    const child = spawn(command, args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes: Buffer) => (output += String(bytes)))
    child.on("error", (error) => resolve({ code: 127, output: `${command}: ${error.message}` }))
    child.on("close", (code) => resolve({ code: code ?? 1, output }))
  })

/** Something that must hold: gives nothing when it does, what is wrong when not, or why it could not be told. */
export interface Step {
  readonly name: string
  readonly check: () => Promise<Outcome>
}

/** What a step found; nothing when all is well. */
export interface Outcome {
  readonly complaint?: string
  readonly note?: string
}

/** A step that a program decides by its exit code. */
export const program = (name: string, command: string, args: ReadonlyArray<string>): Step => ({
  name,
  check: async () => {
    const { code, output } = await run(command, args)
    return code === 0 ? {} : { complaint: output.trim() }
  }
})

/** Runs the steps, so many at a time; prints a line for each and the output of those that failed; gives their number. */
export const runAll = async (steps: ReadonlyArray<Step>, concurrency: number): Promise<number> => {
  const waiting = [...steps]
  let failed = 0
  const worker = async () => {
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
      const start = performance.now()
      const { complaint, note } = await step.check().catch((error: unknown): Outcome => ({ complaint: String(error) }))
      const seconds = ((performance.now() - start) / 1000).toFixed(1)
      console.log(`${complaint === undefined ? "ok  " : "FAIL"} ${step.name} ${seconds} s${note ? ` (${note})` : ""}`)
      if (complaint !== undefined) {
        failed++
        console.log(complaint.replaceAll(/^/gm, "     "))
      }
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  return failed
}

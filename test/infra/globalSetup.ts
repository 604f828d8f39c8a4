// The tests' global setup: the servers of `npm run infra:up` for as long as this run lasts, and a temporary folder of
// its own, which must be empty at the end, with no process left that works in it.
import * as Effect from "effect/Effect"
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { infra } from "./Infra.ts"
import { isAlive } from "./Server.ts"

const prefix = "xdooria-test-"

/** Removes the folders of runs that were killed: the name tells whose they are. */
const removeStale = (): void => {
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(prefix) ? /^\d+(?=-)/.exec(name.slice(prefix.length))?.[0] : undefined
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(tmpdir(), name), { recursive: true, force: true })
  }
}

export const setup = async (): Promise<() => Promise<void>> => {
  removeStale()
  const folder = mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`))
  // Servers that run as another user must get through.
  chmodSync(folder, 0o755)
  process.env["TMPDIR"] = folder
  await Effect.runPromise(infra.up(process.pid))
  return async () => {
    await Effect.runPromise(infra.down(process.pid))
    // npm and the compiler keep what Node compiled for them.
    const files = readdirSync(folder).filter((name) => name !== "node-compile-cache")
    const left = [...processesIn(folder), ...files]
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    if (left.length > 0) throw new Error(`the tests left behind in their temporary folder: ${left.join(", ")}`)
  }
}

const attempt = (read: () => string): string => {
  try {
    return read()
  } catch {
    // It has ended meanwhile.
    return ""
  }
}

/** Processes that name the folder on their command line or work in it; told by /proc, so on Linux only. */
const processesIn = (folder: string): ReadonlyArray<string> =>
  (existsSync("/proc/self") ? readdirSync("/proc") : [])
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .map((pid) => ({
      pid,
      command: attempt(() => readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim()),
      cwd: attempt(() => readlinkSync(`/proc/${pid}/cwd`))
    }))
    .filter(({ command, cwd }) => command.includes(folder) || cwd.startsWith(folder))
    .map(({ pid, command }) => `process ${pid} (${command.slice(0, 80)})`)

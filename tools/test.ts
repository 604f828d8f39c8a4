// npm test: the whole proof. Its last line is the plain count. With arguments only those files run, as in
// `npm test -- test/pg`, without the check and the coverage.
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Counts } from "./Counts.ts"
import { root } from "./Step.ts"

const node = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = process.env): number =>
  spawnSync(process.execPath, args, { cwd: root, stdio: "inherit", env }).status ?? 1

const args = process.argv.slice(2)
const whole = args.length === 0
const folder = mkdtempSync(join(tmpdir(), "xdooria-counts-"))
const file = join(folder, "counts.json")

const checked = whole ? node(["tools/check.ts"]) : 0
const tested = node(
  [
    "node_modules/vitest/vitest.mjs",
    "run",
    "--reporter=default",
    "--reporter=./tools/Counts.ts",
    ...(whole ? ["--coverage"] : args)
  ],
  { ...process.env, XDOORIA_COUNTS: file }
)

const read = (): Counts => {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Counts
  } catch {
    return { passed: 0, failed: 0, skipped: 0 }
  }
}
const counts = read()
rmSync(folder, { recursive: true })
// A run that failed without a failing test (coverage, a hook, a crash) is a failure of its own.
const failed = counts.failed + (checked === 0 ? 0 : 1) + (tested !== 0 && counts.failed === 0 ? 1 : 0)
console.log(`${counts.passed} passed, ${failed} failed, ${counts.skipped} skipped`)
process.exitCode = failed === 0 ? 0 : 1

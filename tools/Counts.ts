// A reporter that counts, for the last line of `npm test`. Writes the counts to the file that XDOORIA_COUNTS names.
import { writeFileSync } from "node:fs"
import type { Reporter, TestModule } from "vitest/node"

/** How many tests passed, failed and were skipped. */
export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** A file that could not be loaded, or whose hooks failed, counts as one failure beside those of its tests. */
const countsOf = (modules: ReadonlyArray<TestModule>, unhandled: number): Counts => {
  const counts = { passed: 0, failed: unhandled, skipped: 0 }
  for (const module of modules) {
    for (const test of module.children.allTests()) {
      const { state } = test.result()
      if (state === "passed" || state === "failed") counts[state]++
      else counts.skipped++
    }
    if (module.errors().length > 0) counts.failed++
    for (const suite of module.children.allSuites()) if (suite.errors().length > 0) counts.failed++
  }
  return counts
}

export default class implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, unhandled: ReadonlyArray<unknown>): void {
    const file = process.env["XDOORIA_COUNTS"]
    if (file !== undefined) writeFileSync(file, JSON.stringify(countsOf(modules, unhandled.length)))
  }
}

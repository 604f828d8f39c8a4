// npm run check: what can be told without running the tests.
import { program, run, runAll, type Step } from "./Step.ts"
import { audit, bill, supplyChain } from "./supply.ts"

/** Effect's diagnostics; its exit code knows nothing of messages, which count here like errors. */
const effect: Step = {
  name: "Effect diagnostics",
  check: async () => {
    const { code, output } = await run("effect-tsgo", ["diagnostics", "--project", "tsconfig.json", "--format", "text"])
    const found = output.split("\n").filter((line) => /\): (error|warning|message) /.test(line))
    return code === 0 && found.length === 0 ? {} : { complaint: found.join("\n") || output }
  }
}

const steps: ReadonlyArray<Step> = [
  effect,
  program("types", "tsc", ["--noEmit"]),
  program("generated code", "node", ["tools/gen.ts", "--check"]),
  program("lint", "oxlint", ["--deny-warnings"]),
  program("format (npm run format mends it)", "oxfmt", ["--check", "."]),
  program("lock file", "node", ["tools/lock.ts", "--check"]),
  supplyChain,
  bill,
  audit
]

// The longest first, two at a time: on two cores more would only wait for each other.
process.exitCode = (await runAll(steps, 2)) === 0 ? 0 : 1

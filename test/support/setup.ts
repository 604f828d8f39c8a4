// Runs in every test file, before its own code: its hook is the first to be registered, so the last to run.
import { afterAll } from "vitest"
import * as Leaks from "./Leaks.ts"

const before = Leaks.snapshot()

afterAll(async () => {
  const leaks = await Leaks.settle(before, 2_000)
  if (leaks.length > 0) throw new Error(`this file left behind:\n${leaks.map((leak) => `  ${leak}`).join("\n")}`)
})

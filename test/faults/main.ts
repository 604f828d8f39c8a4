// npm run faults -- F36 --seed 1: one scenario in full. Without an id it lists them all. F01 runs F01/single,
// F01/cluster and so on, one after the other.
import { globSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { isMissing, servers } from "../support/Servers.ts"
import type { Scenario } from "./Fault.ts"

const root = new URL("../../", import.meta.url)

/** Every `<Room>.faults.ts` default-exports a list of scenarios. */
const scenarios = async (): Promise<ReadonlyArray<Scenario>> => {
  const files = globSync("test/*/*.faults.ts", { cwd: fileURLToPath(root) }).toSorted()
  const modules = await Promise.all(files.map((file) => import(new URL(file, root).href)))
  return modules.flatMap((module: { default: ReadonlyArray<Scenario> }) => module.default)
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: "string", default: "1" } }
})
const all = await scenarios()
const [id] = positionals
const chosen = all.filter((scenario) => scenario.id === id || scenario.id.startsWith(`${id}/`))
const seed = Number(values.seed)

/** Runs one in full and prints its result; the code to exit with. */
const execute = async (scenario: Scenario): Promise<number> => {
  const missing = scenario.servers.map((name) => ({ name, server: servers[name] })).filter((s) => isMissing(s.server))
  if (missing.length > 0) {
    for (const { name, server } of missing) console.error(`${name}: ${isMissing(server) ? server.missing : ""}`)
    return 2
  }
  const result = await scenario.execute("full", seed)
  console.log(JSON.stringify(result, undefined, 2))
  return result.complaints.length === 0 ? 0 : 1
}

if (!Number.isSafeInteger(seed)) {
  console.error(`--seed takes an integer, not "${values.seed}"`)
  process.exitCode = 2
} else if (chosen.length === 0) {
  if (id !== undefined) console.error(`there is no scenario ${id}; there are:`)
  for (const { id, room, title } of all) console.log(`${id}  ${room}  ${title}`)
  process.exitCode = id === undefined ? 0 : 2
} else {
  const codes: Array<number> = []
  for (const scenario of chosen) codes.push(await execute(scenario))
  process.exitCode = Math.max(...codes)
}

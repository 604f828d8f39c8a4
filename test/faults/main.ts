// npm run faults -- F36 --seed 1: one scenario in full. Without an id it lists them all.
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
const scenario = all.find((candidate) => candidate.id === id)
const seed = Number(values.seed)

if (!Number.isSafeInteger(seed)) {
  console.error(`--seed takes an integer, not "${values.seed}"`)
  process.exitCode = 2
} else if (scenario === undefined) {
  if (id !== undefined) console.error(`there is no scenario ${id}; there are:`)
  for (const { id, room, title } of all) console.log(`${id}  ${room}  ${title}`)
  process.exitCode = id === undefined ? 0 : 2
} else {
  const missing = scenario.servers.map((name) => ({ name, server: servers[name] })).filter((s) => isMissing(s.server))
  if (missing.length > 0) {
    for (const { name, server } of missing) console.error(`${name}: ${isMissing(server) ? server.missing : ""}`)
    process.exitCode = 2
  } else {
    const result = await scenario.execute("full", seed)
    console.log(JSON.stringify(result, undefined, 2))
    process.exitCode = result.complaints.length === 0 ? 0 : 1
  }
}

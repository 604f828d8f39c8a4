// npm run new -- service <name>: the files of a further service, which serves, is found by the others and passes its tests
// at once.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import * as templates from "./service.ts"
import { root, run } from "./Step.ts"

const fail = (why: string): never => {
  console.error(why)
  process.exit(1)
}

const read = (path: string): string => readFileSync(join(root, path), "utf8")

/** Puts a text before or after the one place where another is. */
const insert = (path: string, place: string | RegExp, text: (found: string) => string): void => {
  const before = read(path)
  if (before.search(place) < 0)
    fail(`${path} is not as it was: add the service by hand, as src/services/README.md says`)
  writeFileSync(join(root, path), before.replace(place, text))
}

/** The port after the highest that a service has in dev. */
const freePort = (): number => {
  const ports = readdirSync(join(root, "config/dev")).flatMap((file) => {
    const port = /^ {2}port: (500\d\d)$/m.exec(read(`config/dev/${file}`))?.[1]
    return port === undefined ? [] : [Number(port)]
  })
  return Math.max(50_050, ...ports) + 1
}

const [kind, name = ""] = process.argv.slice(2)
if (kind !== "service" || process.argv.length !== 4) fail("usage: npm run new -- service <name>")
if (!/^[a-z][a-z0-9]{1,30}$/.test(name))
  fail(`${name} is no name for a service: a lower-case letter, then letters and digits`)
if (existsSync(join(root, "src/services", name)) || existsSync(join(root, `proto/${name}.proto`))) {
  fail(`there is a service ${name} already`)
}

const service = { name, Name: `${name[0]!.toUpperCase()}${name.slice(1)}`, port: freePort() }
const files = Object.entries(templates.files(service))
for (const [path, text] of files) {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}
const { Name } = service
insert(
  "src/services/services.ts",
  /^ {2}gateway: /m,
  (line) => `  ${name}: (): Promise<Service> => import("./${name}/main.ts"),\n${line}`
)
insert("src/services/gateway/forwards.ts", /(?=\n\n\/\*\*)/, () => `\nimport { ${Name}Api } from "../${name}/api.ts"`)
insert("src/services/gateway/forwards.ts", "] as const", () => `, Registry.forward(${Name}Api)] as const`)

for (const [command, ...args] of [
  ["node", "tools/gen.ts"],
  ["oxfmt", ...files.map(([path]) => path).filter((path) => path.endsWith(".ts")), "src/services"]
]) {
  const { code, output } = await run(command!, args)
  if (code !== 0) fail(output)
}
console.log(
  [
    `service ${name}:`,
    ...files.map(([path]) => `  ${path}`),
    "and a line each in src/services/services.ts and src/services/gateway/forwards.ts. Next:",
    `  npm test -- test/services/${Name}.test.ts`,
    "  npm run check: types and lint, which a run of one test file does not check",
    "  npm start",
    "  src/services/README.md says what belongs in which file."
  ].join("\n")
)

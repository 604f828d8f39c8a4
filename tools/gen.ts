// Writes src/gen from proto/: messages and service definitions by ts-proto, and the descriptor set that reflection
// serves. `--check` writes to a temporary folder instead and fails when src/gen differs.
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const run = (args: ReadonlyArray<string>): void => {
  const { status } = spawnSync("node_modules/.bin/buf", args, {
    stdio: "inherit",
    env: { ...process.env, PATH: `node_modules/.bin:${process.env["PATH"]}` }
  })
  if (status !== 0) process.exit(1)
}

const generate = (out: string): void => {
  run(["generate", "--output", out])
  run(["build", "-o", join(out, "src/gen/descriptors.binpb"), "--exclude-source-info"])
  const descriptors = readFileSync(join(out, "src/gen/descriptors.binpb")).toString("base64")
  rmSync(join(out, "src/gen/descriptors.binpb"))
  writeFileSync(
    join(out, "src/gen/descriptors.ts"),
    `// The FileDescriptorSet of proto/, in base64: what reflection serves.\nexport const descriptors = "${descriptors}"\n`
  )
}

const files = (root: string): Map<string, string> =>
  new Map(
    existsSync(root)
      ? readdirSync(root, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => join(entry.parentPath, entry.name))
          .map((path) => [path.slice(root.length + 1), readFileSync(path, "utf8")])
      : []
  )

if (process.argv.includes("--check")) {
  const out = mkdtempSync(join(tmpdir(), "xdooria-gen-"))
  generate(out)
  const [fresh, committed] = [files(join(out, "src/gen")), files("src/gen")]
  rmSync(out, { recursive: true })
  const stale = [...new Set([...fresh.keys(), ...committed.keys()])].filter((f) => fresh.get(f) !== committed.get(f))
  if (stale.length > 0) {
    console.error(`src/gen differs from proto/: run \`npm run gen\`\n${stale.map((f) => `  src/gen/${f}`).join("\n")}`)
    process.exit(1)
  }
} else {
  rmSync("src/gen", { recursive: true, force: true })
  generate(".")
}

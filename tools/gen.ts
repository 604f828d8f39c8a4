// Writes what is derived: src/gen from proto/ (messages and service definitions by ts-proto, and the descriptor set that
// reflection serves), test/gen from what only tests serve in the same way, and config/README.md from the sections of the
// rooms. `--check` writes to a temporary folder instead and fails when something differs.
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, relative } from "node:path"
import { describeSections } from "../src/config/ConfigDocs.ts"
import { sections } from "../src/config/sections.ts"

const run = (args: ReadonlyArray<string>): void => {
  const { status } = spawnSync("node_modules/.bin/buf", args, {
    stdio: "inherit",
    env: { ...process.env, PATH: `node_modules/.bin:${process.env["PATH"]}` }
  })
  if (status !== 0) process.exit(1)
}

// Served by the room grpc itself, whatever else a server serves: so its descriptor is apart.
const health = "proto/grpc/health/v1/health.proto"

// Served by tests alone; no module of buf.yaml, so that nothing of it comes into src/gen.
const served = "test/interop/proto"

/** Writes a FileDescriptorSet as a module; the flags of buf choose its files. */
const describe = (out: string, path: string, what: string, flags: ReadonlyArray<string>): void => {
  const binary = join(out, "set.binpb")
  run(["build", "-o", binary, ...flags])
  const descriptors = readFileSync(binary).toString("base64")
  rmSync(binary)
  writeFileSync(
    join(out, path),
    `// The FileDescriptorSet of ${what}, in base64: what reflection serves.\nexport const descriptors = "${descriptors}"\n`
  )
}

/**
 * Has a generated module use src/utils/Protobuf.ts: all share a writer, and what ts-proto takes for `any` has its type. No
 * option of ts-proto does either.
 */
const refine = (out: string, path: string): void => {
  const file = join(out, path)
  const refined = readFileSync(file, "utf8")
    // Our lint reads generated code like the rest: nothing switches it off.
    .replace("/* eslint-disable */\n", "")
    .replaceAll(/Buffer\.from\((\w+)\.encode\(value\)\.finish\(\)\)/g, "encode($1, value)")
    // What follows takes out each `any` of ts-proto and puts the type there that it stands for.
    .replaceAll("(reader as any).__tsProtoDecodeDepth", "(reader as NestedReader).__tsProtoDecodeDepth")
    .replaceAll(/(message\.\w+) = reader\.int32\(\) as any/g, "$1 = reader.int32() as typeof $1")
    .replaceAll("key: key as any", "key")
  // One that a newer ts-proto adds must not come in unseen.
  if (/\bas any\b/.test(refined)) throw new Error(`${path} has an any that nobody gives a type`)
  const names = [
    ...(/\bencode\(\w+, value\)/.test(refined) ? ["encode"] : []),
    ...(refined.includes("NestedReader") ? ["type NestedReader"] : [])
  ]
  const module = relative(dirname(path), "src/utils/Protobuf.ts")
  writeFileSync(file, refined.replace(/^import /m, `import { ${names.join(", ")} } from "${module}";\nimport `))
}

/** Generates the modules of a folder. */
const modules = (out: string, folder: string, args: ReadonlyArray<string>): void => {
  run(["generate", "--output", out, ...args])
  for (const path of readdirSync(join(out, folder), { recursive: true, encoding: "utf8" })) {
    if (path.endsWith(".ts")) refine(out, join(folder, path))
  }
}

const generate = (out: string): void => {
  modules(out, "src/gen", [])
  describe(out, "src/gen/descriptors.ts", "proto/", ["--exclude-path", health])
  describe(out, "src/gen/healthDescriptors.ts", health, ["--path", health])
  const template = readFileSync("buf.gen.yaml", "utf8").replace("out: src/gen", "out: test/gen")
  modules(out, "test/gen", [served, "--template", template])
  describe(out, "test/gen/descriptors.ts", `${served}/`, [served])
  mkdirSync(join(out, "config"), { recursive: true })
  writeFileSync(join(out, "config/README.md"), describeSections(sections))
}

/** The derived files of a folder, by their path in it. */
const files = (root: string): Map<string, string> => {
  const paths = ["src/gen", "test/gen"].flatMap((folder) =>
    existsSync(join(root, folder))
      ? readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((path) => `${folder}/${path}`)
      : []
  )
  return new Map(
    ["config/README.md", ...paths.filter((path) => path.endsWith(".ts"))]
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
  for (const folder of ["src/gen", "test/gen"]) rmSync(folder, { recursive: true, force: true })
  generate(".")
}

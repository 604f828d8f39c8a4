// `npm run new`, in a copy of the repository: what it writes is right as it is, and passes its tests.
import { assert, describe, it } from "@effect/vitest"
import { execFile, execFileSync } from "node:child_process"
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { root } from "../support/Sources.ts"

/** A copy of the repository, on the same dependencies. */
const copy = (folder: string): void => {
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8"
  })
  for (const file of files.trim().split("\n")) {
    if (!existsSync(root + file)) continue
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    copyFileSync(root + file, join(folder, file))
  }
  symlinkSync(`${root}node_modules`, join(folder, "node_modules"))
}

/** The service alone, and without the servers that other tests need. */
const tsconfig = { extends: "./tsconfig.json", include: ["src/services/**/*.ts", "test/services/Chat.test.ts"] }
const vitest = `
import base from "./vitest.config.ts"
export default { ...base, test: { include: ["test/services/Chat.test.ts"], setupFiles: base.test.setupFiles } }
`

const { VITEST: _, NODE_OPTIONS: __, ...environment } = process.env

describe("npm run new -- service", () => {
  it("writes a service that is right, serves and passes its tests", { timeout: 240_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "xdooria-new-"))
    const run = (command: string, ...args: ReadonlyArray<string>) =>
      promisify(execFile)(command, args, {
        cwd: folder,
        maxBuffer: 1e8,
        env: {
          ...environment,
          NO_COLOR: "1",
          XDOORIA_DATABASE_PASSWORD: "of this test",
          XDOORIA_REDIS_PASSWORD: "of this test",
          PATH: `${root}node_modules/.bin:${process.env["PATH"]}`
        }
      }).then(
        ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
        (error: { code: number; stdout: string; stderr: string }) => ({
          code: error.code,
          output: error.stdout + error.stderr
        })
      )
    const succeeds = async (command: string, ...args: ReadonlyArray<string>) => {
      const { code, output } = await run(command, ...args)
      assert.strictEqual(code, 0, `${command} ${args.join(" ")}\n${output}`)
      return output
    }
    try {
      copy(folder)
      writeFileSync(join(folder, "tsconfig.new.json"), JSON.stringify(tsconfig))
      writeFileSync(join(folder, "vitest.new.ts"), vitest)
      const told = await succeeds("node", "tools/new.ts", "service", "chat")
      const files = [...told.matchAll(/^ {2}(\S+\/\S+\.(?:ts|yaml|proto))$/gm)].map(([, file]) => file!)
      assert.isAbove(files.length, 8)
      const sources = [...files, "src/services/services.ts", "src/services/gateway/forwards.ts"].filter((file) =>
        file.endsWith(".ts")
      )
      const again = await run("node", "tools/new.ts", "service", "chat")
      assert.deepStrictEqual(again, { code: 1, output: "there is a service chat already\n" })
      assert.strictEqual((await run("node", "tools/new.ts", "service", "Chat")).code, 1)
      assert.match(
        readFileSync(join(folder, "src/services/gateway/forwards.ts"), "utf8"),
        /Registry.forward\(ChatApi\)/
      )

      await succeeds("oxfmt", "--check", ...sources)
      await succeeds("oxlint", "--deny-warnings", ...sources)
      for (const env of ["dev", "test", "prod"]) {
        await succeeds("node", "src/main.ts", "config", "check", "--file", `config/${env}/chat.yaml`)
        assert.include(readFileSync(join(folder, `config/${env}/chat.yaml`), "utf8"), "database: xdooria_chat\n")
      }
      await succeeds("tsc", "--noEmit", "--project", "tsconfig.new.json")
      const found = await succeeds("effect-tsgo", "diagnostics", "--project", "tsconfig.new.json", "--format", "text")
      assert.deepStrictEqual(
        found.split("\n").filter((line) => /chat\/.*\): (error|warning|message) /i.test(line)),
        []
      )
      assert.match(await succeeds("vitest", "run", "--config", "vitest.new.ts"), /4 passed/)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

// npm run build: dist/ from src/, JavaScript with declarations, as the published package has it.
import { rmSync } from "node:fs"
import { join } from "node:path"
import { root, run } from "./Step.ts"

rmSync(join(root, "dist"), { recursive: true, force: true })
const { code, output } = await run("tsc", ["--project", "tsconfig.build.json"])
if (code !== 0) console.error(output.trim())
process.exitCode = code

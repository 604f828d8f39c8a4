import { describe, it } from "@effect/vitest"
import { missingEngine } from "./Engine.ts"
import * as Servers from "./Servers.ts"

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
  const address: Servers.Addresses[N] | Servers.Missing = Servers.servers[server]
  if (Servers.isMissing(address)) describeWith(server, address.missing, name, () => {})
  else describeWith(server, undefined, name, () => tests(address))
}

/** The same for tests that start a PgEmbedded. */
export const embedded = (name: string, tests: () => void): void =>
  describeWith("PgEmbedded", missingEngine, name, tests)

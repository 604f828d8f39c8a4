// The real servers that `npm run infra:up` (and the tests' global setup) has made available, read once from
// .infra/servers.json.
import { existsSync, readFileSync } from "node:fs"

/** Where a PostgreSQL server is, and who may do anything there. */
export interface Postgres {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
}

/** A server that is not there, why, and the command that would provide it. */
export interface Missing {
  readonly missing: string
}

/** Every server that a test may ask for. */
export interface Addresses {
  readonly postgres: Postgres
}

/** The name of a server. */
export type Name = keyof Addresses

/** The addresses, or why there is none. */
export type Servers = { readonly [N in Name]: Addresses[N] | Missing }

const file = new URL("../../.infra/servers.json", import.meta.url)
const written = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Partial<Servers>) : {}

/** The servers of this run. */
export const servers: Servers = {
  postgres: written.postgres ?? { missing: "nothing started it: run `npm run infra:up`" }
}

/** Whether a server is absent. */
export const isMissing = (server: object): server is Missing => "missing" in server

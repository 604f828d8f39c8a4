// The real servers that `npm run infra:up` (and the tests' global setup) has made available, read once from
// .infra/servers.json.
import { existsSync, readFileSync } from "node:fs"
import type { Server } from "../infra/Server.ts"
import { servers as all } from "../infra/servers.ts"

/** The name of a server. */
export type Name = keyof typeof all

/** What a server's address consists of. */
export type Addresses = { readonly [N in Name]: (typeof all)[N] extends Server<infer A> ? A : never }

/** A server that is not there, why, and the command that would provide it. */
export interface Missing {
  readonly missing: string
}

/** The addresses, or why there is none. */
export type Servers = { readonly [N in Name]: Addresses[N] | Missing }

const file = new URL("../../.infra/servers.json", import.meta.url)
const written = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Partial<Servers>) : {}

/** The servers of this run. */
export const servers = Object.fromEntries(
  (Object.keys(all) as ReadonlyArray<Name>).map((name) => [
    name,
    written[name] ?? { missing: "nothing started it; run `npm run infra:up`" }
  ])
) as Servers

/** Whether a server is absent. */
export const isMissing = (server: object): server is Missing => "missing" in server

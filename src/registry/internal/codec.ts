// An entry of the registry, as a Go service of the plan writes and reads it.
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Endpoint } from "../../grpc/Resolver.ts"
import { isDialable } from "./address.ts"
import { mostValueBytes } from "./store.ts"

/** The root of the entries. Nothing else may stand under it: Go services would dial it. */
const root = "/xdooria/services/"

/** Where the entries of a service are. The slash at the end keeps out those of a service whose name begins with this one. */
export const prefixOf = (name: string): string => `${root}${name}/`

/** Where an instance has its entry. */
export const keyOf = (name: string, address: string): string => `${prefixOf(name)}${address}`

/** In metadata: which registration an entry belongs to. Two processes with one address tell each other apart by it. */
export const instanceKey = "instance"

/** How many entries the metadata of an instance may have. */
export const mostMetadata = 64

const escapes = /[<>&\u2028\u2029]/g

/** JSON as Go writes it: its readers take ours too, but the bytes of the same entry are the same. */
const text = (value: string): string =>
  JSON.stringify(value).replace(escapes, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

const byKey = ([a]: readonly [string, string], [b]: readonly [string, string]): number => (a < b ? -1 : 1)

/** The value of an entry: these three members, and metadata of strings, sorted by key. */
export const encode = (name: string, address: string, metadata: Readonly<Record<string, string>>): string => {
  const members = Object.entries(metadata)
    .toSorted(byKey)
    .map(([key, value]) => `${text(key)}:${text(value)}`)
  return `{"Name":${text(name)},"Addr":${text(address)},"Metadata":{${members.join(",")}}}`
}

const parse = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

/** As Go compares names. */
const fold = (name: string): string => name.toUpperCase().toLowerCase()

const names = ["name", "addr", "metadata"] as const

type Members = { [K in (typeof names)[number]]?: unknown }

/** The members by their names in lower case; none where a name stands there in two spellings: readers differ on it. */
const membersOf = (object: unknown): Members | undefined => {
  if (typeof object !== "object" || object === null || Array.isArray(object)) return undefined
  const members: Members = {}
  for (const [key, value] of Object.entries(object)) {
    const name = names.find((one) => one === fold(key))
    if (name !== undefined && name in members) return undefined
    if (name !== undefined) members[name] = value
  }
  return members
}

const metadataOf = (value: unknown): Readonly<Record<string, string>> | undefined => {
  if (value === undefined || value === null) return {}
  if (typeof value !== "object" || Array.isArray(value)) return undefined
  const members = Object.entries(value)
  if (members.length > mostMetadata) return undefined
  if (!members.every(([, one]) => typeof one === "string" || one === null)) return undefined
  return Object.fromEntries(members.map(([key, one]) => [key, String(one ?? "")]))
}

/** The instance that an entry of a service tells of; none where it cannot be read or called, or is another service's. */
export const decode = (name: string, value: string): Endpoint | undefined => {
  if (Buffer.byteLength(value) > mostValueBytes) return undefined
  const members = Option.flatMapNullishOr(parse(value), membersOf)
  if (Option.isNone(members) || members.value.name !== name) return undefined
  const { addr } = members.value
  const metadata = metadataOf(members.value.metadata)
  return metadata !== undefined && isDialable(addr) ? { address: addr, metadata } : undefined
}

import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as SchemaIssue from "effect/SchemaIssue"
import { type ConfigSection, Environment } from "../Config.ts"
import { type ConfigIssue, Rejected } from "../ConfigError.ts"
import { actualText, hintFor, type Kind, type Leaf, leavesOf, nearest, parseText, textsOf } from "./leaf.ts"
import type { Document } from "./yaml.ts"

/** The sources of a configuration: defaults are in the sections, the document is over them, the variables over both. */
export interface Sources {
  /** The name of the service that it is for. */
  readonly service: string
  readonly sections: ReadonlyArray<ConfigSection<unknown>>
  readonly document: Document
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly env: Environment
  /** What chose the environment: the default of `server.env`. */
  readonly envSource: string
}

/** A configuration that holds. */
export interface Decoded {
  readonly values: ReadonlyMap<ConfigSection<unknown>, unknown>
  /** The merged tree in the form that YAML has, defaults included. */
  readonly tree: Readonly<Record<string, unknown>>
  /** Where the value of each `section.key` came from. */
  readonly sources: ReadonlyMap<string, string>
  readonly warnings: ReadonlyArray<ConfigIssue>
}

// A document of nothing but faults must not become an endless message.
const maxIssues = 100

// Secrets that stand in public examples: to guess them takes no guessing.
const published: ReadonlySet<string> = new Set([
  "xdooria123",
  "your-secret-key",
  "xdooria-dev-secret-of-32-bytes-or-more",
  "xdooria-dev-admin"
])

interface Found {
  readonly value: unknown
  readonly source: string
  readonly sourceOf: (path: ReadonlyArray<PropertyKey>) => string
}

type Report = (issue: ConfigIssue) => void

/** Merges the sources and decodes every section; tells all faults of all of them at once. */
export const decode = (sources: Sources): Result.Result<Decoded, Rejected> => {
  const issues: Array<ConfigIssue> = []
  const warnings: Array<ConfigIssue> = []
  const report: Report = (issue) => issues.push(issue)
  const plans = sources.sections.map((section) => ({ section, leaves: leavesOf(section) }))
  const mappings = mappingsOf(sources, report)
  checkVariables(sources, plans, report, (warning) => warnings.push(warning))

  const values = new Map<ConfigSection<unknown>, unknown>()
  const tree: Record<string, unknown> = {}
  const origins = new Map<string, string>()
  for (const { section, leaves } of plans) {
    const found = find(sources, section.key, leaves, mappings.get(section.key), report)
    for (const leaf of leaves) {
      const here = found.get(leaf.field)
      origins.set(leaf.path, here?.source ?? "default")
      checkLeaf(leaf, here, sources.env, report)
      if (here !== undefined && leaf.ignored !== undefined) {
        warnings.push({ ...issueOf(leaf, here), expected: "nothing", hint: `ignored: ${leaf.ignored}` })
      }
    }
    const decoded = decodeSection(sources, section, leaves, found, report)
    if (decoded === undefined) continue
    values.set(section, decoded.value)
    tree[section.key] = decoded.encoded
  }
  if (issues.length === 0) return Result.succeed({ values, tree, sources: origins, warnings })
  const hidden = issues.length - maxIssues
  const shown = issues.slice(0, maxIssues)
  if (hidden > 0) {
    shown.push({ source: sources.document.source, path: "", expected: "no fault", actual: `${hidden} more` })
  }
  return Result.fail(new Rejected({ issues: shown }))
}

const isMapping = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const mapping: Kind = { _tag: "other", type: "a mapping of keys" }

/** The document's mapping of each known section; a section without keys is as good as absent. */
const mappingsOf = ({ document, sections }: Sources, report: Report) => {
  const mappings = new Map<string, Readonly<Record<string, unknown>>>()
  const keys = sections.map((section) => section.key)
  if (!isMapping(document.values)) {
    const actual = document.values === null ? "an empty file" : actualText(document.values, mapping, false)
    report({ source: document.source, path: "", expected: `sections, such as ${keys[0]}:`, actual })
    return mappings
  }
  for (const [key, value] of Object.entries(document.values)) {
    const source = document.sourceOf([key])
    if (!keys.includes(key)) {
      report(unknownKey(source, "", key, "section", keys, value))
    } else if (isMapping(value)) {
      mappings.set(key, value)
    } else if (value !== null) {
      report({ source, path: key, expected: mapping.type, actual: actualText(value, mapping, false) })
    }
  }
  return mappings
}

/** What the sources above the defaults say of a section. */
const find = (
  sources: Sources,
  section: string,
  leaves: ReadonlyArray<Leaf>,
  values: Readonly<Record<string, unknown>> = {},
  report: Report
): ReadonlyMap<string, Found> => {
  const { document, environment, env, envSource } = sources
  const found = new Map<string, Found>()
  for (const leaf of leaves) {
    const name = namesOf(sources.service, leaf).find((name) => (environment[name] ?? "") !== "")
    if (name !== undefined) {
      const source = `env ${name}`
      found.set(leaf.field, { value: parseText(environment[name]!, leaf.kind), source, sourceOf: () => source })
    } else if (Object.hasOwn(values, leaf.key)) {
      const sourceOf = (path: ReadonlyArray<PropertyKey>) =>
        document.sourceOf([section, leaf.key, ...path.map((step) => String(step))])
      found.set(leaf.field, { value: values[leaf.key], source: sourceOf([]), sourceOf })
    } else if (leaf.path === "server.env") {
      found.set(leaf.field, { value: env, source: envSource, sourceOf: () => envSource })
    }
  }
  const known = leaves.map((leaf) => leaf.key)
  for (const [key, value] of Object.entries(values)) {
    if (known.includes(key)) continue
    report(unknownKey(document.sourceOf([section, key]), `${section}.`, key, "key", known, value))
  }
  return found
}

const unknownKey = (
  source: string,
  parent: string,
  key: string,
  expected: string,
  known: ReadonlyArray<string>,
  value: unknown
): ConfigIssue => {
  const meant = nearest(key, known)
  const shown = /^[\w.-]{1,60}$/.test(key) ? key : `${JSON.stringify(key.slice(0, 60))}`
  return {
    source,
    path: `${parent}${shown}`,
    expected: `a known ${expected}`,
    actual: isMapping(value) || Array.isArray(value) ? actualText(value, mapping, false) : "an unknown one",
    hint: meant === undefined ? `known: ${known.join(", ")}` : `did you mean ${meant}?`
  }
}

const prefix = "XDOORIA_"

/** What the variables begin with that are for one service alone. */
const prefixOf = (service: string): string => `${prefix}${service.replaceAll("-", "_").toUpperCase()}__`

/** The variables of a key, the strongest first: that of the service alone, and that of all services of the process. */
const namesOf = (service: string, { variable }: Leaf): ReadonlyArray<string> => [
  prefixOf(service) + variable.slice(prefix.length),
  variable
]

const ofAService = /^XDOORIA_([A-Z0-9_]+?)__/

/** Variables that are for one service alone, of a name that none of these services has. */
export const unknownServices = (
  services: ReadonlyArray<string>,
  environment: Readonly<Record<string, string | undefined>>
): ReadonlyArray<ConfigIssue> => {
  const known = services.map((service) => prefixOf(service).slice(prefix.length, -2))
  return Object.entries(environment).flatMap(([name, text = ""]) => {
    const service = ofAService.exec(name)?.[1]
    if (service === undefined || text === "" || known.includes(service)) return []
    const meant = nearest(service, known)
    const hint = meant === undefined ? `known: ${known.join(", ")}` : `did you mean ${name.replace(service, meant)}?`
    return [{ source: `env ${name}`, path: "", expected: "the variable of a service", actual: "an unknown one", hint }]
  })
}

/** As Kubernetes has it: a service xdooria-auth gives every pod a XDOORIA_AUTH_SERVICE_HOST and a XDOORIA_AUTH_PORT. */
const isLink = (name: string, text: string): boolean =>
  /_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_[A-Z]+(_\w+)?$/.test(name) || /^(tcp|udp|sctp):\/\//.test(text)

/**
 * Variables of ours that name no key. One that is close to a key is a fault. Any other is a warning, since others use the
 * prefix too. Those that are for another service are that one's.
 */
const checkVariables = (
  { environment, service }: Sources,
  plans: ReadonlyArray<{ readonly leaves: ReadonlyArray<Leaf> }>,
  report: Report,
  warn: Report
): void => {
  const own = prefixOf(service)
  const known = plans.flatMap(({ leaves }) => leaves.flatMap((leaf) => namesOf(service, leaf)))
  for (const [name, text = ""] of Object.entries(environment)) {
    if (!name.startsWith(prefix) || name === "XDOORIA_ENV" || text === "" || known.includes(name)) continue
    if (ofAService.test(name) && !name.startsWith(own)) continue
    const start = name.startsWith(own) ? own : prefix
    const alike = known.filter((other) => other.startsWith(start)).map((other) => other.slice(start.length))
    const meant = isLink(name, text) ? undefined : nearest(name.slice(start.length), alike)
    const issue: ConfigIssue = {
      source: `env ${name}`,
      path: "",
      expected: "the variable of a key",
      actual: "an unknown one",
      hint: meant === undefined ? "no key has this name" : `did you mean ${start}${meant}?`
    }
    if (meant !== undefined) report(issue)
    else warn(issue)
  }
}

const issueOf = (leaf: Leaf, found: Found | undefined): ConfigIssue => ({
  source: found?.source ?? "default",
  path: leaf.path,
  expected: leaf.kind.type,
  actual: actualText(found === undefined ? Option.getOrUndefined(leaf.fallback) : found.value, leaf.kind, leaf.secret)
})

const decodeSection = (
  { env, document }: Sources,
  section: ConfigSection<unknown>,
  leaves: ReadonlyArray<Leaf>,
  found: ReadonlyMap<string, Found>,
  report: Report
): { readonly value: unknown; readonly encoded: unknown } | undefined => {
  const input = Object.fromEntries([...found].map(([field, { value }]) => [field, value]))
  const decoded = Schema.decodeResult(section.schema)(input, { errors: "all", onExcessProperty: "error" })
  if (Result.isFailure(decoded)) {
    const told = new Set<string>()
    for (const path of pathsOf(decoded.failure.issue, [])) {
      const leaf = leaves.find((leaf) => leaf.field === path[0])
      if (leaf === undefined || told.has(path.join("."))) continue
      told.add(path.join("."))
      report(faultAt(leaf, found.get(leaf.field), path.slice(1), document.source))
    }
    return undefined
  }
  for (const { field, expected, hint } of section.check(decoded.success, env)) {
    const leaf = leaves.find((leaf) => leaf.field === field)
    if (leaf === undefined) continue
    // Nobody is asked for the secret of what he does not use: a section of which nothing is given.
    if (leaf.secret && found.size === 0) continue
    report({ ...issueOf(leaf, found.get(field)), expected, ...(hint === undefined ? {} : { hint }) })
  }
  const encoded = Schema.encodeSync(section.schema)(decoded.success) as Record<string, unknown>
  return {
    value: decoded.success,
    encoded: Object.fromEntries(leaves.map((leaf) => [leaf.key, encoded[leaf.field]]))
  }
}

/** The rules that hold in every section: which environment it is for, and that secrets are secret in prod. */
const checkLeaf = (leaf: Leaf, found: Found | undefined, env: Environment, report: Report): void => {
  const value = found === undefined ? Option.getOrUndefined(leaf.fallback) : found.value
  if (leaf.path === "server.env" && value !== env && Environment.literals.some((known) => known === value)) {
    report({ ...issueOf(leaf, found), expected: `${JSON.stringify(env)}, the environment of this process` })
  }
  if (env !== "prod" || !leaf.secret) return
  const defaults = textsOf(Option.getOrUndefined(leaf.fallback))
  const isKnown = textsOf(value).some((text) => published.has(text) || (text !== "" && defaults.includes(text)))
  if (!isKnown) return
  report({ ...issueOf(leaf, found), expected: "a secret of your own in prod", hint: `set ${leaf.variable}` })
}

/** A fault of a field, or of an item within it. */
const faultAt = (
  leaf: Leaf,
  found: Found | undefined,
  within: ReadonlyArray<PropertyKey>,
  file: string
): ConfigIssue => {
  if (found === undefined) {
    const hint = leaf.secret ? `set ${leaf.variable}` : `add it to ${file}, or set ${leaf.variable}`
    return { ...issueOf(leaf, found), source: file, hint }
  }
  let kind = leaf.kind
  let value = found.value
  let path = leaf.path
  for (const step of within) {
    kind = kind._tag === "list" ? kind.item : { _tag: "other", type: kind.type }
    value = isMapping(value) || Array.isArray(value) ? (value as Record<PropertyKey, unknown>)[step] : undefined
    path += `[${String(step)}]`
  }
  const issue: ConfigIssue = {
    source: found.sourceOf(within),
    path,
    expected: kind.type,
    actual: actualText(value, kind, leaf.secret)
  }
  const hint = hintFor(kind, value)
  return hint === undefined ? issue : { ...issue, hint }
}

/** The path of every leaf of a schema's issue. */
const pathsOf = (
  issue: SchemaIssue.Issue,
  path: ReadonlyArray<PropertyKey>
): ReadonlyArray<ReadonlyArray<PropertyKey>> => {
  switch (issue._tag) {
    case "Filter":
    case "Encoding":
      return pathsOf(issue.issue, path)
    case "Pointer":
      return pathsOf(issue.issue, [...path, ...issue.path])
    case "Composite":
      return issue.issues.flatMap((issue) => pathsOf(issue, path))
    default:
      return [path]
  }
}

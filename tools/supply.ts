// The supply chain: what we depend on, under which licence, why, and what is known against it.
import { readFileSync } from "node:fs"
import { root, run, type Step } from "./Step.ts"

interface Package {
  readonly version?: string
  readonly license?: string
  readonly dev?: boolean
  readonly hasInstallScript?: boolean
  readonly optional?: boolean
}

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
  readonly engines: { readonly node: string }
  readonly allowScripts: Readonly<Record<string, boolean>>
}

/** What package.json, package-lock.json and SECURITY.md say. */
export interface Sources {
  readonly manifest: Manifest
  readonly packages: Readonly<Record<string, Package>>
  readonly security: string
  /** The paths that git has. */
  readonly tracked: ReadonlyArray<string>
}

/** Licences that a user of an MIT package can live with. */
const licences = new Set(["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD"])

/** The oldest versions without a known hole that matters here; an audit needs a registry that answers, this does not. */
const floors: Readonly<Record<string, string>> = {
  // CVE-2026-48068, 48069: a malformed request ends the process; CVE-2026-101916: unverified certificates.
  "@grpc/grpc-js": "1.14.5",
  // CVE-2026-54269, 44291, 44294, CVE-2023-36665: prototype pollution and code execution.
  protobufjs: "7.6.3",
  // CVE-2026-21714: http2.
  node: "24.14.1"
}

const atLeast = (version: string, floor: string): boolean =>
  version.localeCompare(floor, "en", { numeric: true, sensitivity: "base" }) >= 0

/** The rows of the first table under a heading: what is in the first column, without its quotes, and in the others. */
const tableOf = (text: string, heading: string): ReadonlyMap<string, ReadonlyArray<string>> => {
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? ""
  const rows = section.split("\n").filter((line) => line.startsWith("| `"))
  return new Map(
    rows.map((line) => {
      const [name = "", ...rest] = line.split("|").slice(1, -1)
      return [name.trim().replaceAll("`", ""), rest.map((cell) => cell.trim())]
    })
  )
}

const pins = ({ manifest }: Sources): ReadonlyArray<string> =>
  Object.entries({ ...manifest.dependencies, ...manifest.devDependencies, ...manifest.peerDependencies })
    .filter(([, range]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(range))
    .map(([name, range]) => `${name} is "${range}" in package.json, not an exact version`)

const inStep = ({ manifest, packages, tracked }: Sources): ReadonlyArray<string> => {
  const locked = packages[""] as unknown as Manifest
  const same = (["dependencies", "devDependencies", "peerDependencies", "engines"] as const).every(
    (key) => JSON.stringify(locked[key]) === JSON.stringify(manifest[key])
  )
  return [
    ...(same ? [] : ["package-lock.json is not of this package.json: run `npm install && npm run lock`"]),
    ...(tracked.includes("package-lock.json") ? [] : ["package-lock.json is not committed"])
  ]
}

const nameOf = (path: string): string => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length)

const licensed = ({ packages }: Sources): ReadonlyArray<string> =>
  Object.entries(packages)
    .filter(([path, { dev, license = "none" }]) => {
      const named = license.replaceAll(/[()]/g, "").split(/ AND | OR /)
      return path !== "" && dev !== true && !named.every((licence) => licences.has(licence))
    })
    .map(([path, { license }]) => `${nameOf(path)} has the licence ${license ?? "none"}, which is not on the list`)

const aboveFloors = ({ packages }: Sources): ReadonlyArray<string> =>
  Object.entries(packages)
    .map(([path, { version = "" }]) => ({ name: nameOf(path), version }))
    .filter(({ name, version }) => floors[name] !== undefined && !atLeast(version, floors[name]))
    .map(({ name, version }) => `${name} ${version} has a known hole: ${floors[name]} or later is needed`)

const reasoned = ({ manifest, security }: Sources): ReadonlyArray<string> => {
  const rows = tableOf(security, "Dependencies")
  const named = Object.keys(manifest.dependencies)
  return [
    ...named.filter((name) => !rows.get(name)?.[0]).map((name) => `${name} has no reason in the table of SECURITY.md`),
    ...[...rows.keys()]
      .filter((name) => !named.includes(name))
      .map((name) => `${name} has a reason in SECURITY.md and is no dependency`)
  ]
}

const scripts = ({ manifest, packages }: Sources): ReadonlyArray<string> =>
  Object.entries(packages)
    .filter(([path, { hasInstallScript }]) => hasInstallScript === true && !(nameOf(path) in manifest.allowScripts))
    .map(([path]) => `${nameOf(path)} has an install script, and allowScripts in package.json does not decide on it`)

const documented = ({ manifest, security }: Sources): ReadonlyArray<string> => [
  ...["Reporting", "Supported versions", "Threat model", "Dependencies", "Running it"]
    .filter((heading) => !security.includes(`\n## ${heading}\n`))
    .map((heading) => `SECURITY.md has no heading "${heading}"`),
  ...(manifest.engines.node === `>=${floors["node"]}` ? [] : [`engines.node must be >=${floors["node"]}`])
]

/** Everything that is wrong, one sentence each. */
export const complaints = (sources: Sources): ReadonlyArray<string> =>
  [pins, inStep, licensed, aboveFloors, reasoned, scripts, documented].flatMap((rule) => rule(sources))

const text = (path: string): string => readFileSync(root + path, "utf8")

export const supplyChain: Step = {
  name: "supply chain",
  check: async () => {
    const { code, output } = await run("git", ["ls-files"])
    const found = complaints({
      manifest: JSON.parse(text("package.json")) as Manifest,
      packages: (JSON.parse(text("package-lock.json")) as { packages: Record<string, Package> }).packages,
      security: text("SECURITY.md"),
      // An unpacked archive has no git; what is there was committed.
      tracked: code === 0 ? output.split("\n") : ["package-lock.json"]
    })
    return found.length === 0 ? {} : { complaint: found.join("\n") }
  }
}

/** The bill of materials (CycloneDX) can be made and is not empty. */
export const bill: Step = {
  name: "bill of materials",
  check: async () => {
    const { code, output } = await run("npm", ["sbom", "--sbom-format", "cyclonedx", "--omit", "dev", "--silent"])
    if (code !== 0) return { complaint: output }
    const { components } = JSON.parse(output) as { components: ReadonlyArray<object> }
    return components.length > 0 ? { note: `${components.length} packages` } : { complaint: "npm sbom lists nothing" }
  }
}

interface Advisory {
  readonly url: string
  readonly title: string
  readonly severity: string
}

interface AuditReport {
  readonly vulnerabilities?: Readonly<Record<string, { readonly via: ReadonlyArray<Advisory | string> }>>
}

/** No known hole in what we ship, but those that tools/audit-triage.json lets pass, each with its reason. */
export const audit: Step = {
  name: "npm audit",
  check: async () => {
    const { output } = await run("npm", ["audit", "--omit=dev", "--json", "--silent"])
    const { vulnerabilities } = JSON.parse(output || "{}") as AuditReport
    if (vulnerabilities === undefined) return { note: "not told: the registry answers no audits from here" }
    const triage = JSON.parse(text("tools/audit-triage.json")) as Record<string, string>
    const open = Object.entries(vulnerabilities).flatMap(([name, { via }]) =>
      via
        .filter((advisory) => typeof advisory !== "string")
        .filter(({ url }) => !triage[url.slice(url.lastIndexOf("/") + 1)])
        .map(({ severity, title, url }) => `${name}: ${severity}, ${title}, ${url}`)
    )
    return open.length === 0 ? {} : { complaint: open.join("\n") }
  }
}

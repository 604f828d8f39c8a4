// Completes package-lock.json. A registry mirror may lack the packages that a dependency has for other systems; npm
// then leaves them out of the lock, and `npm ci` refuses its own lock. An entry with version, os and cpu is enough for
// `npm ci`, here and on those systems.
//
//   node tools/lock.ts           adds what is missing; run it after every change of a dependency
//   node tools/lock.ts --check   fails when something is missing
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

interface Entry {
  readonly version?: string
  readonly resolved?: string
  readonly link?: boolean
  readonly dev?: boolean
  readonly peer?: boolean
  readonly optional?: boolean
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

interface PackageLock {
  readonly packages: Readonly<Record<string, Entry>>
}

const file = fileURLToPath(new URL("../package-lock.json", import.meta.url))

const systems = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"]
const cpus: ReadonlyArray<readonly [RegExp, string]> = [
  [/^(arm64|aarch64)$/, "arm64"],
  [/^(arm|armv\d.*)$/, "arm"],
  [/^(x64|x86_64|amd64)$/, "x64"],
  [/^(ia32|i686)$/, "ia32"],
  [/^(loong64|mips64el|ppc64|ppc64le|riscv64|s390x|wasm32)$/, "$1"]
]

/** The platform that a package is for, read from its name: `@oxlint/binding-linux-x64-musl`. */
export const platformOf = (name: string): { os: string; cpu: string; libc: string | undefined } | undefined => {
  const words = name.split(/[-/]/).map((word) => (word === "windows" ? "win32" : word))
  const os = words.find((word) => systems.includes(word))
  const cpu = words.flatMap((word) => {
    const known = cpus.find(([pattern]) => pattern.test(word))
    return known === undefined ? [] : [word.replace(...known)]
  })[0]
  if (os === undefined || cpu === undefined) return undefined
  const libc =
    os !== "linux" ? undefined : words.includes("musl") ? "musl" : words.includes("gnu") ? "glibc" : undefined
  return { os, cpu, libc }
}

/** The entries that the lock lacks: optional packages of packages in it, by their path. */
export const missingEntries = (lock: PackageLock): Readonly<Record<string, object>> => {
  const missing: Record<string, object> = {}
  for (const parent of Object.values(lock.packages)) {
    for (const [name, range] of Object.entries(parent.optionalDependencies ?? {})) {
      const path = `node_modules/${name}`
      if (Object.keys(lock.packages).some((known) => known === path || known.endsWith(`/${path}`))) continue
      const platform = platformOf(name)
      if (platform === undefined) throw new Error(`${name}: its name does not tell its platform; add it by hand`)
      if (!/^\d/.test(range)) throw new Error(`${name}@${range}: not an exact version; add it by hand`)
      missing[path] = {
        version: range,
        cpu: [platform.cpu],
        ...(parent.dev === true ? { dev: true } : {}),
        ...(platform.libc === undefined ? {} : { libc: [platform.libc] }),
        optional: true,
        os: [platform.os],
        ...(parent.peer === true ? { peer: true } : {})
      }
    }
  }
  return missing
}

/** Entries that name the registry they came from: the lock must work with every mirror. */
export const resolvedEntries = (lock: PackageLock): ReadonlyArray<string> =>
  Object.entries(lock.packages)
    .filter(([, entry]) => entry.resolved !== undefined && entry.link !== true)
    .map(([path]) => path)

if (import.meta.main) {
  const lock = JSON.parse(readFileSync(file, "utf8")) as PackageLock
  const missing = missingEntries(lock)
  const resolved = resolvedEntries(lock)
  if (!process.argv.includes("--check")) {
    const packages = Object.entries<Entry>({ ...lock.packages, ...missing })
    for (const [, entry] of packages) Reflect.deleteProperty(entry, "resolved")
    const sorted = packages.toSorted(([a], [b]) => a.localeCompare(b, "en"))
    writeFileSync(file, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, undefined, 2)}\n`)
    console.log(`package-lock.json: ${Object.keys(missing).length} added, ${resolved.length} without a registry now`)
  } else {
    for (const path of Object.keys(missing)) console.error(`${path} is missing in package-lock.json`)
    for (const path of resolved) console.error(`${path} names a registry in package-lock.json`)
    if (Object.keys(missing).length + resolved.length > 0) {
      console.error("run `node tools/lock.ts` and commit package-lock.json")
      process.exitCode = 1
    }
  }
}

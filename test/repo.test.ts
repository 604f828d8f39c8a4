// The architecture, held: what a room consists of, what may load what, and what the sources must not do. Every
// exception is a row of a table here, with its reason; a row that is no longer needed fails too.
import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs"
import {
  cyclesOf,
  exportsOf,
  lineOf,
  loadedWith,
  nameOf,
  type Node,
  root,
  type Source,
  sources,
  walk
} from "./support/Sources.ts"

/** Folders of src that are no rooms: the command line, generated code, the reference services, named modules. */
const notRooms = ["cli", "gen", "services", "utils"]

const rooms = readdirSync(`${root}src`, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !notRooms.includes(entry.name))
  .map((entry) => entry.name)

/** Folders that are published without being rooms: named modules, without a service, a backend and a configuration. */
const modules = ["utils"]

const published = [...rooms, ...modules]

const src = sources("src/**/*.ts")
const ours = src.filter(({ path }) => !path.startsWith("src/gen/"))
const manifest = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as {
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly dependencies: Readonly<Record<string, string>>
}

const capital = (room: string): string => room[0]!.toUpperCase() + room.slice(1)

/** Fails with every complaint, one a line. */
const none = (complaints: ReadonlyArray<string>): void => assert.deepStrictEqual([...complaints], [])

/** Removes what a table allows; gives the rest, and the rows of the table that allowed nothing. */
const except = <F extends { readonly key: string; readonly text: string }>(
  found: ReadonlyArray<F>,
  allowed: Readonly<Record<string, string>>
): ReadonlyArray<string> => [
  ...found.filter(({ key }) => allowed[key] === undefined).map(({ text }) => text),
  ...Object.keys(allowed)
    .filter((key) => !found.some((one) => one.key === key))
    .map((key) => `the exception "${key}" is no longer needed`)
]

// ---------------------------------------------------------------------------------------------------------- the kit

/** Files of the kit that a room does without, and why. */
const withoutKit: Readonly<Record<string, string>> = {
  "src/grpc/GrpcLive.ts": "server and client are two layers: GrpcServerLive.ts and GrpcClientLive.ts",
  "src/health/HealthError.ts": "a report cannot fail"
}

const headings = [
  "What it does",
  "Example",
  "Layers",
  "Configuration",
  "Errors",
  "Promises and non-promises",
  "Running it"
]

describe("every room", () => {
  it("has the kit: README, index, contract, error, live backend, test", () => {
    const missing = rooms.flatMap((room) => {
      const name = capital(room)
      const kit = ["README.md", "index.ts", `${name}.ts`, `${name}Error.ts`, `${name}Live.ts`]
      return [...kit.map((file) => `src/${room}/${file}`), `test/${room}/${name}.test.ts`].filter(
        (path) => !existsSync(root + path)
      )
    })
    none(
      except(
        missing.map((path) => ({ key: path, text: `${path} is missing` })),
        withoutKit
      )
    )
  })

  it("has a contract suite where it has several backends", () => {
    none(
      rooms
        .filter((room) => globSync(`src/${room}/*Embedded.ts`, { cwd: root }).length > 0)
        .map((room) => `test/${room}/${capital(room)}Contract.ts`)
        .filter((path) => !existsSync(root + path))
    )
  })

  it("has a README with the seven headings, in order, and no others", () => {
    none(
      published
        .filter((room) => existsSync(`${root}src/${room}/README.md`))
        .filter((room) => {
          const text = readFileSync(`${root}src/${room}/README.md`, "utf8").replaceAll(/^```[^]*?^```/gm, "")
          return [...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading).join("|") !== headings.join("|")
        })
        .map((room) => `src/${room}/README.md: the headings are not ${headings.join(", ")}`)
    )
  })

  it("has files of up to 400 lines", () => {
    const found = ours
      .filter(({ text }) => text.split("\n").length > 401)
      .map(({ path, text }) => ({ key: path, text: `${path} has ${text.split("\n").length - 1} lines` }))
    none(found.map(({ text }) => text))
  })
})

// ------------------------------------------------------------------------------------------------------ what it loads

/**
 * Packages that a contract may load: none of them talks to a server. Nor do these modules of Node: http2 for its names,
 * net and os for addresses.
 */
const harmless = [
  /^effect\//,
  /^@bufbuild\/protobuf(\/|$)/,
  /^kysely(\/|$)/,
  /^node:(crypto|http2|module|net|os|path|url)$/
]

const loadsDriver = (path: string): ReadonlyArray<string> =>
  [...loadedWith(path, src)].filter((name) => !name.startsWith("src/") && !harmless.some((one) => one.test(name)))

/** The subpaths that a room exports, each with its file. */
const backendsOf = (room: string): ReadonlyArray<readonly [string, string]> => {
  const live = [`${capital(room)}Live.ts`, "live.ts"].find((name) => existsSync(`${root}src/${room}/${name}`))
  const embedded = `${capital(room)}Embedded.ts`
  // An Embedded that loads a driver must not come with the index.
  const apart = existsSync(`${root}src/${room}/${embedded}`) && loadsDriver(`src/${room}/${embedded}`).length > 0
  return [
    ["", "index.ts"],
    ...(live === undefined ? [] : ([["/live", live]] as const)),
    ...(apart ? ([["/embedded", embedded]] as const) : [])
  ]
}

describe("a contract", () => {
  it("loads no driver: nor do the index and the errors", () => {
    const contracts = published.flatMap((room) =>
      ["index", capital(room), `${capital(room)}Error`].map((file) => `src/${room}/${file}.ts`)
    )
    none(
      contracts
        .filter((path) => existsSync(root + path))
        .flatMap((path) => loadsDriver(path).map((name) => `${path} loads ${name}`))
    )
  })
})

describe("src", () => {
  it("has no import cycles", () => none(cyclesOf(src)))

  it("imports no barrel", () => {
    const barrels = new Set(["effect", "@effect/platform-node", "@effect/sql-pg", "@effect/opentelemetry"])
    none(
      ours.flatMap(({ path, imports }) =>
        imports
          .filter(({ file, from }) => barrels.has(from) || file?.endsWith("/index.ts") === true)
          .map(({ from }) => `${path} imports ${from}`)
      )
    )
  })

  it("keeps each room's backends and internals to the room, and to the roots that compose", () => {
    const roots = /^src\/(main|cli\/\w+|services\/\w+|services\/\w+\/main)\.ts$/
    const backend = /^src\/(\w+)\/(?:internal\/.*|live|\w+(?:Live|Embedded|Test))\.ts$/
    none(
      ours
        .filter(({ path }) => !roots.test(path))
        .flatMap(({ path, imports }) =>
          imports
            .filter(({ file }) => {
              const room = backend.exec(file ?? "")?.[1]
              return room !== undefined && !path.startsWith(`src/${room}/`)
            })
            .map(({ file }) => `${path} imports ${file}`)
        )
    )
  })
})

describe("package.json", () => {
  it("exports each room, its backends, and nothing else", () => {
    const expected = published.flatMap((room) =>
      backendsOf(room).map(([suffix, file]) => {
        const path = `${room}/${file.replace(/\.ts$/, "")}`
        const conditions = {
          "xdooria-source": `./src/${path}.ts`,
          types: `./dist/${path}.d.ts`,
          default: `./dist/${path}.js`
        }
        return [`./${room}${suffix}`, conditions] as const
      })
    )
    const all = Object.fromEntries<unknown>([...expected, ["./package.json", "./package.json"]])
    assert.deepStrictEqual(manifest.exports, all)
    // "default" last and "types" before it: a resolver takes the first condition that it knows.
    for (const conditions of Object.values(manifest.exports)) {
      if (typeof conditions === "object")
        assert.deepStrictEqual(Object.keys(conditions), ["xdooria-source", "types", "default"])
    }
  })
})

/** Dependencies that no source imports, and why they are there. */
const notImported: Readonly<Record<string, string>> = {
  kysely: "loaded by query.ts when it is first used, by require",
  redis: "a required peer of @effect/platform-node"
}

const packageOf = (name: string): string => name.split("/", name.startsWith("@") ? 2 : 1).join("/")

describe("the dependencies", () => {
  it("are what the sources import, no more and no less", () => {
    const imported = new Set(
      src.flatMap(({ imports }) =>
        imports
          .filter(({ file, from, typeOnly }) => file === undefined && !typeOnly && !from.startsWith("node:"))
          .map(({ from }) => packageOf(from))
      )
    )
    const named = Object.keys(manifest.dependencies)
    none([
      ...[...imported].filter((name) => !named.includes(name)).map((name) => `${name} is imported and no dependency`),
      ...except(
        named
          .filter((name) => !imported.has(name))
          .map((key) => ({ key, text: `${key} is a dependency and not imported` })),
        notImported
      )
    ])
  })
})

// --------------------------------------------------------------------------------------------------- forbidden calls

const forbiddenNames: Readonly<Record<string, string>> = {
  "Date.now": "Clock",
  "Math.random": "Random",
  "process.env": "the configuration",
  setTimeout: "Effect.sleep or Schedule",
  setInterval: "Schedule",
  eval: "nothing",
  "Effect.runPromise": "one runtime, in the root",
  "Effect.runPromiseExit": "one runtime, in the root",
  "Effect.runSync": "one runtime, in the root",
  "Effect.runFork": "one runtime, in the root"
}

const forbidden = (node: Node): string | undefined => {
  if (node.type === "AwaitExpression") return "await"
  if (node.type === "TryStatement") return "try"
  if (/Function/.test(node.type) && node["async"] === true) return "async"
  if (node.type === "NewExpression") {
    const name = nameOf(node["callee"])
    if (name === "Date" && (node["arguments"] as ReadonlyArray<Node>).length === 0) return "new Date()"
    if (name === "Function") return "new Function"
  }
  if (node.type === "MemberExpression") {
    const name = nameOf(node)
    if (name.startsWith("console.")) return "console"
    if (name in forbiddenNames) return name
    if (name.endsWith(".unsafe") && /sql/i.test(name)) return "sql.unsafe"
  }
  if (node.type === "CallExpression") {
    const name = nameOf(node["callee"])
    if (name in forbiddenNames && !name.includes(".")) return name
  }
  return undefined
}

const literal = (node: unknown): string | undefined => {
  const { type, value } = (node ?? {}) as { type?: string; value?: unknown }
  return type === "Literal" && typeof value === "string" ? value : undefined
}

/** Whether a call makes a file or a folder without a mode, or with one that has rights for others. */
const letsOthersIn = (call: Node): boolean => {
  const name = nameOf(call["callee"]).replace(/^\w*\./, "")
  if (!/^(writeFile|open|mkdir|createWriteStream|appendFile)(Sync)?$/.test(name)) return false
  const modes = [...walk(call)].filter(({ raw }) => String(raw).startsWith("0o")).map(({ value }) => Number(value))
  // What is only read needs no mode.
  const flags = literal((call["arguments"] as ReadonlyArray<Node>)[1])
  if (name.startsWith("open") && modes.length === 0) return /^[wa]/.test(flags ?? "r")
  return modes.length === 0 || modes.some((mode) => (mode & 0o007) !== 0)
}

/** Where a forbidden call is right, and why: `file call`. */
const allowedCalls: Readonly<Record<string, string>> = {
  "src/cli/Process.ts setTimeout": "the edge of the process: the grace holds also where no fiber runs any more",
  "src/config/ConfigLive.ts process.env": "the one source of environment values",
  "src/grpc/GrpcReflect.ts Date.now": "grpc-js compares a deadline with the system's clock",
  "src/grpc/internal/client/connection.ts Date.now": "grpc-js compares a deadline with the system's clock",
  "src/grpc/internal/native.ts try": "the edge to Node's streams, which throw what they refuse, for every message",
  "src/logger/internal/target.ts async": "the edge to Node's file handles, whose calls are promises",
  "src/logger/internal/target.ts await": "the edge to Node's file handles, whose calls are promises",
  "src/logger/internal/target.ts try": "the edge to Node's file handles: an error is a result here",
  "src/logger/internal/value.ts try": "reads the code of others (getters, toJSON), synchronously and for every field",
  "src/pg/internal/Server.ts process.env": "the server's process needs PATH",
  "src/pg/internal/query.ts sql.unsafe": "runs what kysely compiled: its parameters are bound"
}

describe("the sources", () => {
  it("take time, chance, configuration and control flow from Effect", () => {
    const found = ours.flatMap((source) =>
      [...walk(source.program)].flatMap((node) => {
        const call = forbidden(node)
        if (call === undefined) return []
        return [{ key: `${source.path} ${call}`, text: `${source.path}:${lineOf(source, node)} ${call}` }]
      })
    )
    none(except(found, allowedCalls))
  })

  it("write no file that others can read", () => {
    none(
      ours.flatMap((source) =>
        [...walk(source.program)]
          .filter((node) => node.type === "CallExpression" && letsOthersIn(node))
          .map((call) => `${source.path}:${lineOf(source, call)} gives no mode, or one that lets others in`)
      )
    )
  })

  it("document every public export", () => {
    none(
      ours
        .filter(({ path }) => published.some((room) => path.startsWith(`src/${room}/`)) && !path.includes("/internal/"))
        .flatMap((source) =>
          exportsOf(source)
            .filter(({ documented }) => !documented)
            .map(({ line, name }) => `${source.path}:${line} ${name} has no doc comment`)
        )
    )
  })
})

// ------------------------------------------------------------------------------------------------------------- names

interface Tagged {
  readonly path: string
  readonly line: number
  readonly className: string
  readonly id: string
  /** The `_tag`, of an error. */
  readonly tag: string | undefined
  /** Whether it is a room's reason, which stands in an error and is never an error by itself. */
  readonly isReason: boolean
}

const firstArgument = (call: Node | undefined): string | undefined =>
  literal((call?.["arguments"] as ReadonlyArray<Node> | undefined)?.[0])

/** The classes made by Context.Service and Schema.TaggedError (also Grpc's), with the id that they were given. */
const taggedIn = (source: Source): ReadonlyArray<Tagged> =>
  [...walk(source.program)].flatMap((node) => {
    const outer = node["superClass"] as Node | undefined
    if (node.type !== "ClassDeclaration" || outer?.type !== "CallExpression") return []
    const inner = outer["callee"] as Node
    const maker = nameOf(inner.type === "CallExpression" ? inner["callee"] : inner)
    const className = nameOf(node["id"])
    const at = { path: source.path, line: lineOf(source, node), className }
    if (/^Context\.Service$/.test(maker))
      return [{ ...at, id: firstArgument(outer) ?? "", tag: undefined, isReason: false }]
    if (/^Schema\.Tagged(Error|Class)$/.test(maker)) {
      const fields = (outer["arguments"] as ReadonlyArray<Node>)[1]
      const keys = ((fields?.["properties"] ?? []) as ReadonlyArray<Node>).map(({ key }) => nameOf(key))
      const isReason = !source.path.startsWith("src/services/") && !keys.includes("reason")
      return [{ ...at, id: firstArgument(inner) ?? "", tag: firstArgument(outer), isReason }]
    }
    return []
  })

/** The tags of Effect's own errors, read from its sources. */
const effectTags = (): ReadonlySet<string> => {
  const files = globSync("node_modules/{effect,@effect/sql-pg,@effect/platform-node}/src/**/*.ts", { cwd: root })
  const code = files.map((file) => readFileSync(root + file, "utf8").replaceAll(/^\s*\*.*$/gm, "")).join("\n")
  return new Set([...code.matchAll(/TaggedError(?:<[^>]*>\([^)]*\))?\(\s*"(\w+)"/g)].map(([, tag]) => tag!))
}

describe("names", () => {
  const tagged = ours.flatMap(taggedIn)

  it("are xdooria/<room>/<Name>, the class's own name", () => {
    none(
      tagged
        .filter(
          ({ className, id, path }) =>
            id !== `${path.replace(/^src\//, "xdooria/").replace(/\/(internal\/)?[^/]*$/, "")}/${className}`
        )
        .map(({ className, id, line, path }) => `${path}:${line} ${className} has the id "${id}"`)
    )
  })

  it("of references are xdooria/<room>/<Name>", () => {
    const ids = ours.flatMap((source) =>
      [...walk(source.program)]
        .filter((node) => node.type === "CallExpression" && /^Context\.Reference$/.test(nameOf(node["callee"])))
        .map((node) => ({ path: source.path, id: firstArgument(node) ?? "" }))
    )
    none(
      ids
        .filter(
          ({ id, path }) =>
            !new RegExp(`^xdooria/${path.split("/").slice(1, -1).join("/").replace("/internal", "")}/[A-Z]\\w*$`).test(
              id
            )
        )
        .map(({ id, path }) => `${path} makes a reference "${id}"`)
    )
  })

  it("of errors are unlike Effect's", () => {
    const effect = effectTags()
    assert.isTrue(effect.has("SqlError"))
    none(
      tagged
        .filter(({ isReason, tag }) => tag !== undefined && !isReason && effect.has(tag))
        .map(({ path, tag }) => `${path}: ${tag} is Effect's`)
    )
  })

  it("of ids are unique", () => {
    const ids = tagged.map(({ id }) => id)
    none(ids.filter((id, i) => ids.indexOf(id) !== i))
  })
})

// ------------------------------------------------------------------------------------------------------ configuration

describe("src/config/sections.ts", () => {
  it("lists every section that a room declares", async () => {
    const { sections } = (await import("../src/config/sections.ts")) as {
      readonly sections: ReadonlyArray<{ readonly key: string }>
    }
    const declared = ours
      .filter(({ path }) => !path.startsWith("src/services/"))
      .flatMap((source) =>
        [...walk(source.program)]
          .filter((node) => node.type === "CallExpression" && /^(Config\.)?section$/.test(nameOf(node["callee"])))
          .map((node) => ({ path: source.path, key: firstArgument(node) ?? "?" }))
      )
    assert.isAbove(declared.length, 3)
    none(
      declared
        .filter(({ key }) => !sections.some((section) => section.key === key))
        .map(({ key, path }) => `section "${key}" of ${path} is not listed`)
    )
  })
})

// --------------------------------------------------------------------------------------------------- the repository

describe("the repository", () => {
  it("names no machine and no registry", () => {
    const tracked = execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" }).trim().split("\n")
    const patterns = [
      /(^|[\s"'`(=])\/(work|root|home|Users)\/\w/m,
      /\/\/registry\.|\bregistry\.(npm|yarn)/,
      /\b(localhost|127\.0\.0\.1):4873\b/
    ]
    none(
      tracked
        .filter((path) => existsSync(root + path) && !/\.(png|ico|binpb)$/.test(path))
        .flatMap((path) => {
          const text = readFileSync(root + path, "utf8")
          return patterns
            .filter((pattern) => pattern.test(text))
            .map((pattern) => `${path} has ${pattern.exec(text)![0]}`)
        })
    )
  })
})

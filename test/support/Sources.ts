// The source files as syntax trees, for the tests that hold the architecture.
import { globSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { parseAst } from "vitest/node"

/** The folder of package.json, with a slash at its end. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url))

/** A node of a syntax tree (ESTree with TypeScript's nodes). */
export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

/** One import or re-export: `from` as written, `file` when it is one of ours, `typeOnly` when it is erased. */
export interface Import {
  readonly from: string
  readonly file: string | undefined
  readonly typeOnly: boolean
}

/** A parsed file; `path` from the root of the repository. */
export interface Source {
  readonly path: string
  readonly text: string
  readonly program: Node
  readonly imports: ReadonlyArray<Import>
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && typeof (value as Node).type === "string"

/** The nodes directly below a node. */
export const childrenOf = (node: Node): ReadonlyArray<Node> => Object.values(node).flat().filter(isNode)

/** A node and all nodes below it. */
export const walk = function* (node: Node): Generator<Node> {
  yield node
  for (const child of childrenOf(node)) yield* walk(child)
}

const importsOf = (path: string, program: Node): ReadonlyArray<Import> =>
  [...walk(program)].flatMap((node) => {
    if (!/^(Import|Export(Named|All))Declaration$|^ImportExpression$/.test(node.type)) return []
    const source = node["source"]
    if (!isNode(source) || typeof source["value"] !== "string") return []
    const from = source["value"]
    const file = from.startsWith(".") ? relative(root, join(root, dirname(path), from)) : undefined
    return [{ from, file, typeOnly: node["importKind"] === "type" || node["exportKind"] === "type" }]
  })

const parse = (path: string): Source => {
  const text = readFileSync(root + path, "utf8")
  const program = parseAst(text, { lang: "ts" }) as unknown as Node
  return { path, text, program, imports: importsOf(path, program) }
}

/** The files that a pattern names, parsed, in order. */
export const sources = (pattern: string): ReadonlyArray<Source> =>
  globSync(pattern, { cwd: root }).toSorted().map(parse)

/** The line, counted from 1, of a node. */
export const lineOf = (source: Source, node: Node): number => source.text.slice(0, node.start).split("\n").length

/** The name of what a node refers to: `a.b` for a member, `a` for an identifier, "" for anything else. */
export const nameOf = (node: unknown): string => {
  if (!isNode(node)) return ""
  if (node.type === "Identifier") return String(node["name"])
  if (node.type !== "MemberExpression") return ""
  const { object, property, computed } = node
  const key = computed !== true ? nameOf(property) : isNode(property) ? String(property["value"]) : ""
  return `${nameOf(object)}.${key}`
}

/** An exported declaration: its name, and whether a doc comment ends just before it. */
export interface Exported {
  readonly name: string
  readonly line: number
  readonly documented: boolean
}

/** What a file exports by `export const`, `function`, `class`, `interface`, `type`. Re-exports are not among them. */
export const exportsOf = (source: Source): ReadonlyArray<Exported> =>
  childrenOf(source.program).flatMap((node) => {
    const declaration = node["declaration"]
    if (node.type !== "ExportNamedDeclaration" || !isNode(declaration)) return []
    const declarators = declaration["declarations"] as ReadonlyArray<Node> | undefined
    const ids = (declarators ?? [declaration]).map(({ id }) => nameOf(id))
    const documented = /\*\/\s*$/.test(source.text.slice(0, node.start))
    return ids.map((name) => ({ name, line: lineOf(source, node), documented }))
  })

/** The cycles among files, each once, as `a -> b -> a`. Imports of types are erased and make none. */
export const cyclesOf = (all: ReadonlyArray<Source>): ReadonlyArray<string> => {
  const byPath = new Map(all.map((source) => [source.path, source]))
  const done = new Set<string>()
  const cycles: Array<string> = []
  const visit = (path: string, trail: ReadonlyArray<string>): void => {
    const seen = trail.indexOf(path)
    if (seen >= 0) return void cycles.push([...trail.slice(seen), path].join(" -> "))
    if (done.has(path)) return
    for (const { file, typeOnly } of byPath.get(path)?.imports ?? []) {
      if (file !== undefined && !typeOnly) visit(file, [...trail, path])
    }
    done.add(path)
  }
  for (const { path } of all) visit(path, [])
  return cycles
}

/** Every package and file that is loaded with a file, itself included: imports that are not erased, followed. */
export const loadedWith = (path: string, all: ReadonlyArray<Source>): ReadonlySet<string> => {
  const byPath = new Map(all.map((source) => [source.path, source]))
  const loaded = new Set<string>()
  const visit = (name: string): void => {
    if (loaded.has(name)) return
    loaded.add(name)
    for (const { file, from, typeOnly } of byPath.get(name)?.imports ?? []) if (!typeOnly) visit(file ?? from)
  }
  visit(path)
  return loaded
}

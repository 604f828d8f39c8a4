import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { type ConfigSection, ignoredKey } from "../Config.ts"

/** What a value is on the outside, in YAML or in a variable. */
export type Kind =
  | { readonly _tag: "text" | "number" | "boolean" | "other"; readonly type: string }
  | { readonly _tag: "choice"; readonly type: string; readonly choices: ReadonlyArray<string> }
  | { readonly _tag: "list"; readonly type: string; readonly item: Kind }

/** One key of a section. */
export interface Leaf {
  /** The name of the field in the code. */
  readonly field: string
  /** The name of the key in YAML. */
  readonly key: string
  /** `section.key` */
  readonly path: string
  /** The environment variable. */
  readonly variable: string
  readonly kind: Kind
  readonly secret: boolean
  readonly required: boolean
  /** The default, as YAML would have it. */
  readonly fallback: Option.Option<unknown>
  readonly description: string
  /** Why a value for it does nothing, when it does nothing. */
  readonly ignored: string | undefined
}

/** The keys of a section, in the order of its declaration. */
export const leavesOf = <A>(section: ConfigSection<A>): ReadonlyArray<Leaf> =>
  Object.entries(section.schema.fields).map(([field, schema]) => {
    const key = field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    const encoded = SchemaAST.toEncoded(schema.ast)
    const notes = { ...SchemaAST.resolve(schema.ast), ...schema.ast.context?.annotations }
    const fallback = fallbackOf(field, schema)
    return {
      field,
      key,
      path: `${section.key}.${key}`,
      variable: `XDOORIA_${section.key}_${key}`.toUpperCase(),
      kind: kindOf(encoded),
      secret: isSecret(schema.ast),
      required: !SchemaAST.isOptional(encoded),
      fallback,
      description: typeof notes.description === "string" ? notes.description : "",
      ignored: typeof notes[ignoredKey] === "string" ? notes[ignoredKey] : undefined
    }
  })

const fallbackOf = (field: string, schema: Schema.Constraint): Option.Option<unknown> => {
  const alone = Schema.Struct({ [field]: schema }) as unknown as Schema.Codec<object, Record<string, unknown>>
  return Schema.decodeOption(alone)({}).pipe(
    Option.flatMap(Schema.encodeOption(alone)),
    Option.flatMapNullishOr((encoded) => encoded[field])
  )
}

/** Whether a value of a schema is a secret, or holds one. */
const isSecret = (ast: SchemaAST.AST): boolean => {
  // Not SchemaAST.resolve, which knows the last check of a schema that has some.
  const representation = ast.annotations?.["representation"]
  return (
    (representation as { readonly id?: unknown } | undefined)?.id === "effect/schema/Redacted" ||
    partsOf(ast).some(isSecret)
  )
}

/** The schemas that a schema is made of, and those that it is decoded from. */
const partsOf = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> => {
  const sources = ast.encoding?.map((link) => link.to) ?? []
  if (SchemaAST.isArrays(ast)) return [...ast.elements, ...ast.rest, ...sources]
  if (SchemaAST.isUnion(ast)) return [...ast.types, ...sources]
  if (SchemaAST.isDeclaration(ast)) return [...ast.typeParameters, ...sources]
  return sources
}

/** The texts of a value: itself, or the items of a list. */
export const textsOf = (value: unknown): ReadonlyArray<string> =>
  Array.isArray(value) ? value.flatMap(textsOf) : typeof value === "string" ? [value] : []

/** The kind of the encoded side of a schema. */
export const kindOf = (ast: SchemaAST.AST): Kind => {
  const members = SchemaAST.isUnion(ast) ? ast.types.filter((member) => !SchemaAST.isUndefined(member)) : [ast]
  if (members.length === 1 && members[0] !== ast) return kindOf(members[0]!)
  const choices = members.flatMap((member) =>
    SchemaAST.isLiteral(member) && typeof member.literal === "string" ? [member.literal] : []
  )
  if (choices.length === members.length) return { _tag: "choice", choices, type: alternatives(choices) }
  if (SchemaAST.isString(ast)) return { _tag: "text", type: describe("a text", ast) }
  if (SchemaAST.isNumber(ast)) return { _tag: "number", type: describe("a number", ast) }
  if (SchemaAST.isBoolean(ast)) return { _tag: "boolean", type: describe("true or false", ast) }
  if (SchemaAST.isArrays(ast) && ast.rest.length === 1) {
    const item = kindOf(ast.rest[0]!)
    const least = ast.elements.length === 0 ? "" : `${ast.elements.length} or more, `
    return { _tag: "list", item, type: describe(`a list, ${least}each ${item.type}`, ast) }
  }
  return { _tag: "other", type: describe("another value", ast) }
}

const alternatives = (choices: ReadonlyArray<string>): string => {
  const quoted = choices.map((choice) => JSON.stringify(choice))
  return quoted.length === 1 ? quoted[0]! : `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`
}

interface CheckNotes {
  readonly expected?: unknown
  readonly representation?: { readonly id?: string; readonly payload?: Record<string, unknown> | null }
}

// Effect's own wording of a check fits any type; for these there is a shorter one.
const plain: Record<string, (bounds: Record<string, unknown>) => string> = {
  "effect/schema/isBetween": (bounds) => ` from ${bounds["minimum"]} to ${bounds["maximum"]}`,
  "effect/schema/isGreaterThanOrEqualTo": (bounds) => `, ${bounds["minimum"]} or more`,
  "effect/schema/isMinLength": (bounds) =>
    bounds["minLength"] === 1 ? ", not empty" : `, ${bounds["minLength"]} or more`
}

/** A type in words: those that its author gave to the last check, or the noun and what each check adds. */
const describe = (noun: string, ast: SchemaAST.AST): string => {
  const checks = (ast.checks ?? []).map((check) => (check.annotations ?? {}) as CheckNotes)
  let words = noun
  for (const { expected, representation } of checks) {
    const id = representation?.id ?? ""
    if (id === "effect/schema/isFinite") continue
    if (id === "effect/schema/isInt") words = "an integer"
    else if (id in plain && isGeneric(expected)) words += plain[id]!(representation?.payload ?? {})
    else if (typeof expected === "string") words = isGeneric(expected) ? `${words}, ${expected}` : expected
  }
  return words
}

const isGeneric = (expected: unknown): boolean =>
  typeof expected !== "string" || /^a (?:value|port number)/.test(expected)

const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i

/** A variable's text as a value of a kind; a text that does not fit stays one, for the schema to refuse. */
export const parseText = (text: string, kind: Kind): unknown => {
  const word = text.trim()
  switch (kind._tag) {
    case "number":
      return decimal.test(word) ? Number(word) : text
    case "boolean":
      return word === "true" ? true : word === "false" ? false : text
    case "choice":
      return word
    case "list":
      return text.split(",").map((part) => parseText(part.trim(), kind.item))
    default:
      return text
  }
}

/**
 * What stands where something else was meant, in words. A text is shown only when it resembles what was meant: any
 * other may be a secret in the wrong place.
 */
export const actualText = (value: unknown, kind: Kind, secret: boolean): string => {
  if (value === undefined) return "nothing"
  if (value === null) return "null"
  if (secret) return "<redacted>"
  if (Array.isArray(value)) return `a list of ${value.length}`
  switch (typeof value) {
    case "boolean":
      return String(value)
    case "number":
      return kind._tag === "number" ? String(value) : "a number"
    case "string":
      if (value === "" || resembles(value, kind)) return JSON.stringify(value)
      return value.length === 1 ? "a text of 1 character" : `a text of ${value.length} characters`
    default:
      return "a mapping"
  }
}

const resembles = (text: string, kind: Kind): boolean => {
  switch (kind._tag) {
    case "number":
      return text.length <= 24 && /^[+-]?[\d.,_]+[a-z]{0,4}$/i.test(text)
    case "boolean":
      return /^(?:yes|no|on|off|true|false|0|1)$/i.test(text)
    case "choice":
      return nearest(text, kind.choices) !== undefined
    default:
      return false
  }
}

const bare = (name: string): string => name.toLowerCase().replaceAll(/[_-]/g, "")

/** What to do about a value that is not of a kind. */
export const hintFor = (kind: Kind, value: unknown): string | undefined => {
  if (value === null) return "give it a value, or take the key away"
  switch (kind._tag) {
    case "text":
      return typeof value === "number" || typeof value === "boolean" ? "quote it" : undefined
    case "list":
      return typeof value === "string" ? "write it as a list: [a, b]" : undefined
    case "number":
      return typeof value === "string" && value !== "" ? "a plain number, without quotes or unit" : undefined
    case "choice": {
      const meant = typeof value === "string" ? nearest(value, kind.choices) : undefined
      return meant === undefined ? undefined : `did you mean ${meant}?`
    }
    default:
      return undefined
  }
}

/** The candidate that a word was probably meant to be. */
export const nearest = (word: string, candidates: Iterable<string>): string | undefined => {
  let best: string | undefined
  let least = Infinity
  for (const candidate of candidates) {
    const distance = bare(word) === bare(candidate) ? 0 : editDistance(word, candidate)
    if (distance < least) {
      least = distance
      best = candidate
    }
  }
  return least <= Math.max(1, Math.floor(Math.min(word.length, 40) / 3)) ? best : undefined
}

/** How many letters are inserted, removed, replaced or swapped with their neighbour. */
const editDistance = (a: string, b: string): number => {
  if (a.length > 2 * b.length + 2) return Infinity
  let before: Array<number> = []
  let last = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const next = [row]
    for (let column = 1; column <= b.length; column++) {
      const change = a[row - 1] === b[column - 1] ? 0 : 1
      let cost = Math.min(last[column]! + 1, next[column - 1]! + 1, last[column - 1]! + change)
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, before[column - 2]! + 1)
      }
      next.push(cost)
    }
    before = last
    last = next
  }
  return last[b.length]!
}

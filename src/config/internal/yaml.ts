import * as Yaml from "effect/encoding/Yaml"
import * as Result from "effect/Result"
import type { ConfigIssue } from "../ConfigError.ts"

/** A file's values, and the line that each of them is written on. */
export interface Document {
  readonly source: string
  readonly values: unknown
  /** The source with the line of a path; of the nearest parent where the path itself has no line of its own. */
  readonly sourceOf: (path: ReadonlyArray<string | number>) => string
}

type Complaint = Pick<ConfigIssue, "expected" | "actual" | "hint">

// More would be machine-made, and the parser's time grows with the square of both.
const maxLines = 10_000
const maxLength = 4096

// Enough to share values by hand; aliases of aliases multiply.
const maxAliases = 100

/** Reads one YAML document. What is wrong is told without a word of its values. */
export const parse = (text: string, source: string): Result.Result<Document, ConfigIssue> => {
  const lines = text.split(/\r\n?|\n/)
  const fail = (complaint: Complaint, line?: number): Result.Result<never, ConfigIssue> =>
    Result.fail({ source: line === undefined ? source : `${source}:${line}`, path: "", ...complaint })

  if (lines.length > maxLines) return fail({ expected: `${maxLines} lines at most`, actual: `${lines.length} lines` })
  const long = lines.findIndex((line) => line.length > maxLength)
  if (long >= 0) return fail({ expected: `lines of ${maxLength} characters at most`, actual: "a longer one" }, long + 1)
  const control = lines.findIndex((line) => controlCharacter.test(line))
  if (control >= 0) return fail({ expected: "text", actual: "a control character" }, control + 1)
  const aliases = text.match(alias)?.length ?? 0
  if (aliases > maxAliases) return fail({ expected: `${maxAliases} aliases at most`, actual: `${aliases} aliases` })

  const values = attempt(text)
  if (Result.isFailure(values)) return fail(explain(values.failure), lineOfFault(lines, values.failure))
  const lineOf = locate(lines)
  return Result.succeed({
    source,
    values: values.success,
    sourceOf: (path) => {
      for (let length = path.length; length > 0; length--) {
        const line = lineOf.get(path.slice(0, length).join("\n"))
        if (line !== undefined) return `${source}:${line}`
      }
      return source
    }
  })
}

// oxlint-disable-next-line no-control-regex -- what YAML does not allow, such as the zeros of a half-written block
const controlCharacter = /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/

const alias = /(?<=^|[\s[{,:-])\*[^\s,[\]{}]+/gm

// The parser throws: a SyntaxError, or a RangeError when the nesting exhausts the stack.
const attempt = (text: string): Result.Result<unknown, Error> =>
  Result.try({ try: () => Yaml.parse(text), catch: (cause) => cause as Error })

const lineInMessage = / at line (\d+)$/

/**
 * The line of a fault that the parser tells without one. It reads from the top, so that a fault on some line is the same
 * in every shorter text that still has this line: the shortest such text ends with it. A long text is not tried so often.
 */
const lineOfFault = (lines: ReadonlyArray<string>, fault: Error): number | undefined => {
  const told = lineInMessage.exec(fault.message)
  if (told !== null) return Number(told[1])
  if (lines.join("\n").length > 65_536) return undefined
  let low = 1
  let high = lines.length
  while (low < high) {
    const middle = (low + high) >> 1
    const shorter = attempt(lines.slice(0, middle).join("\n"))
    if (Result.isFailure(shorter) && shorter.failure.message === fault.message) high = middle
    else low = middle + 1
  }
  return low
}

// The parser's own words are not passed on: some quote the text, which may be a secret.
const complaints: ReadonlyArray<readonly [RegExp, Complaint]> = [
  [/^Duplicate key/, { expected: "each key once", actual: "a key twice" }],
  [/^Tabs/, { expected: "spaces before a key", actual: "a tab" }],
  [/^Multiple YAML documents/, { expected: "one document", actual: "a further one" }],
  [
    /^Unknown (?:YAML )?alias/,
    { expected: "an anchor before its alias", actual: "an unknown alias", hint: "quote a text that begins with *" }
  ],
  [/^Unterminated/, { expected: "a closing quote", actual: "the end", hint: "is it complete?" }],
  [/^Invalid colon/, { expected: "one key on a line", actual: "a second colon", hint: "quote a text with a colon" }],
  [/^Expected '/, { expected: "a comma or the closing bracket", actual: "something else", hint: "is it complete?" }],
  [/indentation/, { expected: "the indentation of its neighbours", actual: "another" }],
  [/call stack/, { expected: "a few levels", actual: "far too many" }]
]

const explain = (fault: Error): Complaint =>
  complaints.find(([pattern]) => pattern.test(fault.message))?.[1] ?? { expected: "YAML", actual: "something else" }

const entry = /^(?:"([^"]*)"\s*|'([^']*)'\s*|([^\s"'#][^:]*)):(?:\s|$)/

const dash = /^-(?:\s+|$)/

/**
 * The line of every key and list item, by its path joined with line breaks. Block style is all it knows: what stands in
 * braces has the line of its parent, and what looks like a key within a text is a path that nobody asks for.
 */
const locate = (lines: ReadonlyArray<string>): ReadonlyMap<string, number> => {
  const found = new Map<string, number>()
  const open: Array<{ indent: number; item: boolean; path: string; items: number }> = []
  const enter = (indent: number, name: string | undefined, line: number) => {
    const item = name === undefined
    while (open.length > 0) {
      const last = open[open.length - 1]!
      // A list may stand at the indentation of its key, but not a key at that of its list.
      if (last.indent < indent || (item && !last.item && last.indent === indent)) break
      open.pop()
    }
    const parent = open[open.length - 1]
    const step = name ?? String(parent === undefined ? 0 : parent.items++)
    const path = parent === undefined ? step : `${parent.path}\n${step}`
    found.set(path, line)
    open.push({ indent, item, path, items: 0 })
  }
  lines.forEach((line, index) => {
    let indent = line.search(/\S/)
    if (indent < 0) return
    let rest = line.slice(indent)
    for (let mark = dash.exec(rest); mark !== null; mark = dash.exec(rest)) {
      enter(indent, undefined, index + 1)
      indent += mark[0].length
      rest = rest.slice(mark[0].length)
    }
    const match = entry.exec(rest)
    if (match === null) return
    enter(indent, match[1] ?? match[2] ?? match[3]!.trimEnd(), index + 1)
  })
  return found
}

import * as Cause from "effect/Cause"
import type * as Logger from "effect/Logger"
import * as References from "effect/References"
import type { Format } from "../Logger.ts"
import { stackText } from "./stack.ts"
import {
  attempt,
  cutName,
  encodeFitting,
  encodeText,
  encodeValue,
  fit,
  isError,
  Names,
  quote,
  Room,
  textOf,
  unreadable
} from "./value.ts"

/** What a line says, before it has a form. Texts are raw, `fields` are as they were logged. */
interface Content {
  readonly level: string
  readonly time: string
  readonly caller: string | undefined
  readonly message: string
  readonly fields: Fields
  readonly traceId: string | undefined
  readonly spanId: string | undefined
  readonly error: string | undefined
  readonly stacktrace: string | undefined
}

type Fields = Readonly<Record<string, unknown>>

/** Turns what was logged into a line with its line break. Never throws. */
export type Encoder = (options: Logger.Options<unknown>) => string

/**
 * Makes the encoder of a format.
 *
 * - `service`: the service's name, on every line
 * - `color`: whether a terminal reads it; console format only
 */
export const makeEncoder = (service: string, format: Format, color: boolean): Encoder => {
  const contentOf = makeContentOf()
  const encode = format === "json" ? makeJson(service) : makeConsole(service, color)
  return (options) => encode(contentOf(options), new Room())
}

const makeContentOf = (): ((options: Logger.Options<unknown>) => Content) => {
  const timeOf = makeTimeOf()
  return ({ cause, date, fiber, logLevel, message }) => {
    const args: ReadonlyArray<unknown> = Array.isArray(message) ? message : [message]
    const annotations = fiber.getRef(References.CurrentLogAnnotations)
    const spans = fiber.getRef(References.CurrentLogSpans)
    const span = fiber.cache.span
    const failure = cause.reasons.length > 0 ? cause : errorIn(args)
    const simple = spans.length === 0 ? simpleFields(args, annotations) : undefined
    return {
      level: levels[logLevel] ?? "info",
      time: timeOf(date),
      caller: isSevere[logLevel] === true && !("caller" in annotations) ? callerOf(fiber.cache.stackFrame) : undefined,
      message: simple !== undefined ? (args[0] as string) : messageOf(args, failure !== undefined),
      fields: simple ?? fieldsOf(args, annotations, spans, date.getTime()),
      traceId: span?.traceId,
      spanId: span?.spanId,
      error: failure === undefined ? undefined : errorText(failure),
      stacktrace: failure === undefined ? undefined : attempt(() => stackText(failure), unreadable)
    }
  }
}

const levels: Readonly<Record<string, string>> = {
  Trace: "trace",
  Debug: "debug",
  Info: "info",
  Warn: "warn",
  Error: "error",
  Fatal: "fatal"
}

// The call site is looked up for these only: the text of a stack costs more than the rest of the line.
const isSevere: Readonly<Record<string, boolean>> = { Warn: true, Error: true, Fatal: true }

/** Many lines share a millisecond. */
const makeTimeOf = (): ((date: Date) => string) => {
  let last = Number.NaN
  let text = ""
  return (date) => {
    const now = date.getTime()
    if (now !== last) {
      last = now
      text = date.toISOString()
    }
    return text
  }
}

const location = /([^/\\(\s]+[/\\][^/\\]+\.[cm]?[jt]sx?):(\d+):\d+/

/** Where the innermost named effect was called: the stack of the line itself holds the runtime only. */
const callerOf = (frame: References.StackFrame | undefined): string | undefined => {
  const match = location.exec(frame?.stack() ?? "")
  return match === null ? undefined : `${match[1]}:${match[2]}`
}

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && attempt(() => isPlain(value), false)

/** What is no object of fields, as text; the error that has members of its own is not repeated. */
const messageOf = (args: ReadonlyArray<unknown>, hasFailure: boolean): string => {
  const room = new Room()
  let skipError = hasFailure
  const words: Array<string> = []
  for (const arg of args) {
    if (isFields(arg)) continue
    if (skipError && isError(arg)) {
      skipError = false
      continue
    }
    words.push(typeof arg === "string" ? arg : encodeValue(arg, room))
  }
  return words.join(" ")
}

/** What {@link fieldsOf} gives, of what most lines are: a text, and at most one object of fields. */
const simpleFields = (args: ReadonlyArray<unknown>, annotations: Fields): Fields | undefined => {
  const [message, fields] = args
  if (typeof message !== "string") return undefined
  if (args.length === 1) return annotations
  return args.length === 2 && isFields(fields) ? attempt(() => ({ ...annotations, ...fields }), undefined) : undefined
}

/** Annotations, then the objects that were logged, then the log spans in seconds; of one name the last counts. */
const fieldsOf = (
  args: ReadonlyArray<unknown>,
  annotations: Fields,
  spans: ReadonlyArray<readonly [label: string, timestamp: number]>,
  now: number
): Fields => {
  const fields: Record<string, unknown> = Object.assign(Object.create(null), annotations)
  for (const arg of args) {
    if (!isFields(arg)) continue
    for (const key of attempt(() => Object.keys(arg), [])) fields[key] = attempt(() => arg[key], unreadable)
  }
  for (const [label, start] of spans) fields[label] = (now - start) / 1000
  return fields
}

const errorIn = (args: ReadonlyArray<unknown>): Cause.Cause<unknown> | undefined => {
  const error = args.find(isError)
  return error === undefined ? undefined : Cause.die(error)
}

const errorText = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  if (!isError(error)) return textOf(error)
  return attempt(
    () => (error.message === "" ? textOf(error.name) : `${textOf(error.name)}: ${textOf(error.message)}`),
    unreadable
  )
}

/** Whether a line has a member of its own by this name. */
const isOwn = (name: string, content: Content): boolean => {
  switch (name) {
    case "level":
    case "time":
    case "msg":
    case "service":
      return true
    case "caller":
      return content.caller !== undefined
    case "trace_id":
    case "span_id":
      return content.traceId !== undefined
    case "error":
    case "stacktrace":
      return content.error !== undefined
    default:
      return false
  }
}

/** Writes a member whose name and value are JSON. */
type Write = (name: string, json: string) => string

/** The fields, each written; when the line has no room for more, the last tells how many are cut. */
const membersOf = (content: Content, room: Room, write: Write): string => {
  const { fields } = content
  const names = new Names(fields, (name) => isOwn(name, content))
  let text = ""
  const keys = Object.keys(fields)
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index]!
    const value = fields[key]
    if (value === undefined) continue
    if (room.left <= 0) {
      const left = keys.slice(index).filter((key) => fields[key] !== undefined).length
      return text + write(names.free(cutName, room), `"[${left} cut]"`)
    }
    text += write(names.of(key, room), encodeValue(value, room))
  }
  return text
}

const writeJson: Write = (name, json) => `,${name}:${json}`

const makeJson = (service: string) => {
  const serviceMember = `,"service":${quote(service)}`
  return (content: Content, room: Room): string => {
    let line = `{"level":"${content.level}","time":"${content.time}"`
    if (content.caller !== undefined) line += `,"caller":${quote(content.caller)}`
    line += `,"msg":${encodeText(content.message, room)}${serviceMember}`
    line += membersOf(content, room, writeJson)
    if (content.traceId !== undefined) {
      line += `,"trace_id":${quote(content.traceId)},"span_id":${quote(content.spanId!)}`
    }
    if (content.error !== undefined) {
      line += `,"error":${encodeText(content.error, room)},"stacktrace":${encodeText(content.stacktrace!, room)}`
    }
    return `${line}}\n`
  }
}

const colors: Readonly<Record<string, string>> = {
  trace: "\u001b[90m",
  debug: "\u001b[34m",
  info: "\u001b[32m",
  warn: "\u001b[33m",
  error: "\u001b[31m",
  fatal: "\u001b[35m"
}

const plainWord = /^[^\s"=\\]+$/

/** A JSON string as people write it: without quotes where it needs none. */
const bare = (json: string): string => {
  if (!json.startsWith(`"`)) return json
  const inner = json.slice(1, -1)
  return plainWord.test(inner) ? inner : json
}

const makeConsole = (service: string, color: boolean) => {
  const paint = (code: string, text: string): string => (color ? `${code}${text}\u001b[0m` : text)
  return (content: Content, room: Room): string => {
    const member = (key: string, json: string): string => ` ${paint("\u001b[2m", `${key}=`)}${bare(json)}`
    const level = paint(colors[content.level]!, content.level.toUpperCase().padEnd(5))
    // Escaped as in JSON, so that a message cannot forge a line.
    let line = `${content.time} ${level} ${encodeText(content.message, room).slice(1, -1).replaceAll(`\\"`, `"`)}`
    line += member("service", quote(service))
    if (content.caller !== undefined) line += member("caller", quote(content.caller))
    line += membersOf(content, room, (name, json) => member(bare(name), json))
    if (content.traceId !== undefined) line += member("trace_id", quote(content.traceId))
    if (content.error === undefined) return `${line}\n`
    line += member("error", encodeText(content.error, room))
    const frames = fit(content.stacktrace!, room).split("\n")
    const text = frames.map((frame) => `    ${encodeFitting(frame, room).slice(1, -1)}\n`).join("")
    return `${line}\n${text}`
  }
}

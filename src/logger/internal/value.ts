import * as Duration from "effect/Duration"
import * as Redactable from "effect/Redactable"
import * as Redacted from "effect/Redacted"

/** How long a text may be, in characters; the rest is cut. */
const maxText = 8192

/** How much all the values of a line may hold together, in characters. */
const maxLine = 32_768

const maxDepth = 8

// What JSON must escape, and what a terminal would obey: the control characters of C1, and DEL.
// oxlint-disable-next-line no-control-regex
const special = /[\u0000-\u001f"\\\u007f-\u009f\ud800-\udfff]/

// oxlint-disable-next-line no-control-regex
const escapedByUs = /[\u007f-\u009f]/g

const escape = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`

/** A text as a JSON string that also a terminal can be given. */
export const quote = (text: string): string =>
  special.test(text) ? JSON.stringify(text).replaceAll(escapedByUs, escape) : `"${text}"`

const cut = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length)}...[${text.length - length} characters cut]`

/** What is left of a line's room for values. One per line. */
export class Room {
  left = maxLine
}

const take = (room: Room, json: string): string => {
  room.left -= json.length
  return json
}

/** A text of a line, cut to its room. */
export const encodeText = (text: string, room: Room): string =>
  take(room, quote(cut(text, Math.min(maxText, Math.max(room.left, 0)))))

/**
 * Any value as JSON, bounded in depth and size, without cycles. Nothing throws: what fails to be read is told in its
 * place. `path` are the objects that this one is in.
 */
export const encodeValue = (value: unknown, room: Room, path: ReadonlyArray<object> = []): string => {
  switch (typeof value) {
    case "string":
      return encodeText(value, room)
    case "number":
      return take(room, Number.isFinite(value) ? String(value) : `"${value}"`)
    case "boolean":
      return take(room, String(value))
    case "bigint":
      return encodeText(String(value), room)
    case "symbol":
      return encodeText(String(value), room)
    case "function":
      return take(room, `"[function]"`)
    case "undefined":
      return take(room, "null")
    case "object":
      return value === null ? take(room, "null") : encodeObject(value, room, path)
  }
}

/** A text as it is, and any other value as JSON. */
export const textOf = (value: unknown): string => (typeof value === "string" ? value : encodeValue(value, new Room()))

/** Reads what is the code of others: a getter, a proxy, a toJSON, an error's message. A log line must survive it. */
export const attempt = <A>(read: () => A, otherwise: A): A => {
  try {
    return read()
  } catch {
    return otherwise
  }
}

/** Whether a value is an error; asking a proxy may throw. */
export const isError = (value: unknown): value is Error => attempt(() => value instanceof Error, false)

/** What stands for a value that throws when it is read. */
export const unreadable = "[unreadable]"

const encodeObject = (value: object, room: Room, path: ReadonlyArray<object>): string => {
  if (path.includes(value)) return take(room, `"[circular]"`)
  if (room.left <= 0 || path.length >= maxDepth) return take(room, `"[cut]"`)
  return attempt(() => encodeReadable(value, room, [...path, value]), undefined) ?? encodeText(unreadable, room)
}

const encodeReadable = (value: object, room: Room, path: ReadonlyArray<object>): string => {
  if (Redacted.isRedacted(value)) return take(room, `"<redacted>"`)
  if (Duration.isDuration(value)) return encodeValue(Duration.toSeconds(value), room)
  if (Array.isArray(value)) return encodeItems(value, room, path)
  if (value instanceof Error) return encodeError(value, room, path)
  if (value instanceof Date)
    return encodeText(Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString(), room)
  if (ArrayBuffer.isView(value)) return encodeText(`[${value.byteLength} bytes]`, room)
  if (value instanceof Map) return encodeItems([...fitting(value)], room, path)
  if (value instanceof Set) return encodeItems([...fitting(value)], room, path)
  if (Redactable.isRedactable(value)) return encodeValue(Redactable.redact(value), room, path)
  const toJson = (value as { readonly toJSON?: unknown }).toJSON
  if (typeof toJson === "function") return encodeValue(toJson.call(value), room, path)
  return encodeMembers(value, room, path)
}

/** The items that can fit into a line at all. */
const fitting = <A>(items: Iterable<A>): Iterable<A> => Iterator.from(items).take(maxLine)

const encodeItems = (items: ReadonlyArray<unknown>, room: Room, path: ReadonlyArray<object>): string => {
  let json = "["
  for (let index = 0; index < items.length; index++) {
    if (index > 0) json += ","
    if (room.left <= 0) return `${json}"[${items.length - index} cut]"]`
    json += encodeValue(items[index], room, path)
    room.left--
  }
  return `${json}]`
}

const encodeMembers = (value: object, room: Room, path: ReadonlyArray<object>): string => {
  let json = "{"
  for (const key of Object.keys(value)) {
    if (json.length > 1) json += ","
    if (room.left <= 0) return `${json}"...":"[cut]"}`
    const member = attempt(() => (value as Readonly<Record<string, unknown>>)[key], unreadable)
    json += `${encodeText(key, room)}:${encodeValue(member, room, path)}`
  }
  return `${json}}`
}

const encodeError = (error: Error, room: Room, path: ReadonlyArray<object>): string => {
  const json = `{"name":${encodeValue(error.name, room)},"message":${encodeValue(error.message, room)}`
  return error.cause === undefined ? `${json}}` : `${json},"cause":${encodeValue(error.cause, room, path)}}`
}

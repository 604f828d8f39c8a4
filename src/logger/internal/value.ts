import * as Duration from "effect/Duration"
import * as Redactable from "effect/Redactable"
import * as Redacted from "effect/Redacted"

/** How long a text may be, in characters; the rest is cut. */
const maxText = 8192

/** How much all the values of a line may hold together, in characters. */
const maxLine = 32_768

const maxDepth = 8

/** How many characters are around a list or an object, and around the name of a member. */
const separators = 2

/** The name of the member that tells how many are cut. */
export const cutName = "..."

// What JSON must escape, half a surrogate pair too, and the other control characters (DEL and C1), which a terminal would
// obey.
const special = /["\\\p{Cc}\p{Cs}]/u

// JSON has escaped the others.
const escapedByUs = /\p{Cc}/gu

const escape = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`

/** A text as a JSON string that also a terminal can be given. */
export const quote = (text: string): string =>
  special.test(text) ? JSON.stringify(text).replaceAll(escapedByUs, escape) : `"${text}"`

/** What is left of a line's room for values. One per line. */
export class Room {
  left = maxLine
}

const take = (room: Room, json: string): string => {
  room.left -= json.length
  return json
}

/** As much of a text as its line has room for, and a mark where it is cut. */
export const fit = (text: string, room: Room): string => {
  const length = Math.min(maxText, Math.max(room.left, 0))
  return text.length <= length ? text : `${text.slice(0, length)}...[${text.length - length} characters cut]`
}

/** A text of a line that was made to fit. */
export const encodeFitting = (text: string, room: Room): string => take(room, quote(text))

/** A text of a line, cut to its room. */
export const encodeText = (text: string, room: Room): string => encodeFitting(fit(text, room), room)

/** The names of an object's members as they are written: cut to the room, and none twice. */
export class Names {
  readonly #object: object
  readonly #isOwn: (name: string) => boolean
  #made: Array<string> | undefined

  /** `isOwn` tells the names of other members, which come beside those of the object. */
  constructor(object: object, isOwn: (name: string) => boolean = () => false) {
    this.#object = object
    this.#isOwn = isOwn
  }

  /** The name of a key of the object. */
  of(key: string, room: Room): string {
    room.left -= separators
    const text = fit(key, room)
    return text === key && !this.#isOwn(key) ? encodeFitting(key, room) : this.free(text, room)
  }

  /** A name that no key of the object and no name made before is: a `_` is added until it is so. */
  free(text: string, room: Room): string {
    let name = text
    const made = (this.#made ??= [])
    while (Object.hasOwn(this.#object, name) || made.includes(name)) name += "_"
    made.push(name)
    return encodeFitting(name, room)
  }
}

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
  room.left -= separators
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
  room.left -= separators
  const names = new Names(value)
  const keys = Object.keys(value)
  let json = "{"
  for (let index = 0; index < keys.length; index++) {
    if (index > 0) json += ","
    if (room.left <= 0) return `${json}${names.free(cutName, room)}:"[${keys.length - index} cut]"}`
    const key = keys[index]!
    const member = attempt(() => (value as Readonly<Record<string, unknown>>)[key], unreadable)
    json += `${names.of(key, room)}:${encodeValue(member, room, path)}`
  }
  return `${json}}`
}

const encodeError = (error: Error, room: Room, path: ReadonlyArray<object>): string => {
  const json = `{"name":${encodeValue(error.name, room)},"message":${encodeValue(error.message, room)}`
  return error.cause === undefined ? `${json}}` : `${json},"cause":${encodeValue(error.cause, room, path)}}`
}

// Descriptors as the .proto text that they were compiled from: what a caller needs to know, so without the options that
// only code generators read.
import {
  type DescEnum,
  type DescEnumValue,
  type DescField,
  type DescFile,
  type DescMessage,
  type DescMethod,
  type DescOneof,
  type DescService
} from "@bufbuild/protobuf"
import {
  Edition,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type SourceCodeInfo_Location
} from "@bufbuild/protobuf/wkt"
import { protoCamelCase } from "@bufbuild/protobuf/reflect"

/** What can be told. */
export type Described = DescService | DescMethod | DescMessage | DescEnum

type Type = DescMessage | DescEnum
type Lines = ReadonlyArray<string>

// --- which declarations

const outermost = (type: Type): Type => {
  let outer = type
  while (outer.parent !== undefined) outer = outer.parent
  return outer
}

const typesIn = (message: DescMessage): ReadonlyArray<Type> => [
  ...message.fields.flatMap((field) => [field.message, field.enum].filter((type) => type !== undefined)),
  ...message.nestedMessages.flatMap(typesIn)
]

const isWellKnown = ({ file }: Type): boolean => file.proto.package === "google.protobuf"

/** The types, those of their fields, and so on; all outermost. Those that every compiler knows only when asked for. */
const closure = (types: ReadonlyArray<Type>): ReadonlySet<Type> => {
  const found = new Set(types.map(outermost))
  for (const type of found) {
    if (type.kind === "enum") continue
    for (const next of typesIn(type)) if (!isWellKnown(next)) found.add(outermost(next))
  }
  return found
}

const typesOf = (methods: ReadonlyArray<DescMethod>): ReadonlyArray<Type> =>
  methods.flatMap(({ input, output }) => [input, output]).filter((type) => !isWellKnown(type))

// --- comments, which descriptors have by the numbers of the fields that lead to what they are about

type Comments = (path: ReadonlyArray<number>) => SourceCodeInfo_Location | undefined

const commentsOf = ({ proto }: DescFile): Comments => {
  const locations = new Map(proto.sourceCodeInfo?.location.map((location) => [location.path.join(), location]))
  return (path) => locations.get(path.join())
}

const commentLines = (text: string): Lines =>
  text === ""
    ? []
    : text
        .replace(/\n$/, "")
        .split("\n")
        .map((line) => `//${line}`.trimEnd())

/** A declaration with what is said before it, and behind its first line: there compilers look for it. */
const commented = (location: SourceCodeInfo_Location | undefined, [first, ...rest]: Lines): Lines => {
  const [trailing, ...more] = commentLines(location?.trailingComments ?? "")
  return [
    ...commentLines(location?.leadingComments ?? ""),
    trailing === undefined ? first! : `${first} ${trailing}`,
    ...(rest.length === 0 ? more : indented(more)),
    ...rest
  ]
}

// --- declarations

const indented = (lines: Lines): Lines => lines.map((line) => (line === "" ? line : `  ${line}`))

/** One after the other; what takes several lines stands apart. */
const spaced = (declarations: ReadonlyArray<Lines>): Lines =>
  declarations
    .filter((lines) => lines.length > 0)
    .flatMap((lines, index, all) =>
      index > 0 && Math.max(lines.length, all[index - 1]!.length) > 1 ? ["", ...lines] : lines
    )

const block = (head: string, declarations: ReadonlyArray<Lines>): Lines => {
  const lines = spaced(declarations)
  return lines.length === 0 ? [`${head} {}`] : [`${head} {`, ...indented(lines), "}"]
}

const scalars: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(FieldDescriptorProto_Type)
    .filter((entry): entry is [string, FieldDescriptorProto_Type] => typeof entry[1] === "number")
    .map(([name, number]) => [number, name.toLowerCase()])
)

/** A name as it is written in a file: without the package when it is that of the file. */
const nameIn = (file: DescFile, { typeName }: { readonly typeName: string }): string => {
  const prefix = `${file.proto.package}.`
  return prefix !== "." && typeName.startsWith(prefix) ? typeName.slice(prefix.length) : typeName
}

const bracketed = (options: ReadonlyArray<string>): string => (options.length === 0 ? "" : ` [${options.join(", ")}]`)

const typeName = (file: DescFile, field: DescField): string => {
  const value = (field.message ?? field.enum) as Type | undefined
  const single = value === undefined ? scalars[field.scalar ?? 0]! : nameIn(file, value)
  return field.fieldKind === "map" ? `map<${scalars[field.mapKey]!}, ${single}>` : single
}

const labelOf = (file: DescFile, { fieldKind, oneof, proto }: DescField): string => {
  if (fieldKind === "map" || oneof !== undefined) return ""
  if (fieldKind === "list") return "repeated "
  if (file.edition === Edition.EDITION_PROTO3) return proto.proto3Optional ? "optional " : ""
  if (file.edition !== Edition.EDITION_PROTO2) return ""
  return proto.label === FieldDescriptorProto_Label.REQUIRED ? "required " : "optional "
}

const defaultOf = ({ enum: type, proto, scalar }: DescField): ReadonlyArray<string> => {
  if (proto.defaultValue === "") return []
  const isText = type === undefined && scalar === (FieldDescriptorProto_Type.STRING as number)
  // Bytes are in the descriptor as they are in the text.
  const isBytes = type === undefined && scalar === (FieldDescriptorProto_Type.BYTES as number)
  const text = isText ? JSON.stringify(proto.defaultValue) : isBytes ? `"${proto.defaultValue}"` : proto.defaultValue
  return [`default = ${text}`]
}

const isGroup = ({ proto }: DescField): boolean => proto.type === FieldDescriptorProto_Type.GROUP

const fieldLines = (comments: Comments, path: ReadonlyArray<number>, field: DescField): Lines => {
  const { file } = field.parent
  const label = labelOf(file, field)
  if (isGroup(field)) {
    const { parent, proto } = field.message!
    const own = [...path.slice(0, -2), 3, parent!.proto.nestedType.indexOf(proto)]
    return block(`${label}group ${proto.name} = ${field.number}`, members(comments, own, field.message!))
  }
  const options = [
    ...defaultOf(field),
    ...(field.jsonName === protoCamelCase(field.name) ? [] : [`json_name = ${JSON.stringify(field.jsonName)}`]),
    ...(field.deprecated ? ["deprecated = true"] : [])
  ]
  return [`${label}${typeName(file, field)} ${field.name} = ${field.number}${bracketed(options)};`]
}

/** Of a message: its last number is not in it. Of an enum: its last number is. */
const ranges = (word: string, all: ReadonlyArray<{ start: number; end: number }>, last: number): Lines =>
  all.map(({ start, end }) => {
    const to = end - last
    return `${word} ${start}${to === start ? "" : ` to ${to >= 0x1fffffff ? "max" : to}`};`
  })

const reservedNames = (names: ReadonlyArray<string>): Lines =>
  names.length === 0 ? [] : [`reserved ${names.map((name) => JSON.stringify(name)).join(", ")};`]

const deprecated = (is: boolean): Lines => (is ? ["option deprecated = true;"] : [])

const enumLines = (comments: Comments, path: ReadonlyArray<number>, type: DescEnum): Lines => {
  const { deprecated: old, name, proto, values } = type
  const settings = [
    ...deprecated(old),
    ...(proto.options?.allowAlias === true ? ["option allow_alias = true;"] : []),
    ...ranges("reserved", proto.reservedRange, 0),
    ...reservedNames(proto.reservedName)
  ]
  const value = ({ deprecated: old, name, number }: DescEnumValue, index: number) =>
    commented(comments([...path, 2, index]), [`${name} = ${number}${bracketed(old ? ["deprecated = true"] : [])};`])
  return block(`enum ${name}`, [settings, ...values.map(value)])
}

/** What is between the braces of a message. */
const members = (comments: Comments, path: ReadonlyArray<number>, message: DescMessage): ReadonlyArray<Lines> => {
  const { nestedEnums, nestedMessages, proto } = message
  const settings = [
    ...deprecated(message.deprecated),
    ...ranges("reserved", proto.reservedRange, 1),
    ...reservedNames(proto.reservedName),
    ...ranges("extensions", proto.extensionRange, 1)
  ]
  const groups = new Set(message.fields.filter(isGroup).map((field) => field.message))
  const nested = nestedMessages.filter((type) => !groups.has(type))
  const field = (field: DescField) => {
    const own = [...path, 2, proto.field.indexOf(field.proto)]
    return commented(comments(own), fieldLines(comments, own, field))
  }
  const oneof = ({ fields, name, proto: own }: DescOneof) =>
    commented(comments([...path, 8, proto.oneofDecl.indexOf(own)]), block(`oneof ${name}`, fields.map(field)))
  return [
    settings,
    ...nestedEnums.map((type) => typeLines(comments, [...path, 4, proto.enumType.indexOf(type.proto)], type)),
    ...nested.map((type) => typeLines(comments, [...path, 3, proto.nestedType.indexOf(type.proto)], type)),
    ...message.members.map((member) => (member.kind === "field" ? field(member) : oneof(member)))
  ]
}

const typeLines = (comments: Comments, path: ReadonlyArray<number>, type: Type): Lines =>
  commented(
    comments(path),
    type.kind === "enum"
      ? enumLines(comments, path, type)
      : block(`message ${type.name}`, members(comments, path, type))
  )

const idempotency = ["", "NO_SIDE_EFFECTS", "IDEMPOTENT"]

const methodLines = (comments: Comments, path: ReadonlyArray<number>, method: DescMethod): Lines => {
  const { input, name, output, parent, proto } = method
  const part = (type: DescMessage, stream: boolean) => `(${stream ? "stream " : ""}${nameIn(parent.file, type)})`
  const head = `rpc ${name}${part(input, proto.clientStreaming)} returns ${part(output, proto.serverStreaming)}`
  const level = idempotency[method.idempotency] ?? ""
  const options = [...deprecated(method.deprecated), ...(level === "" ? [] : [`option idempotency_level = ${level};`])]
  return commented(comments(path), options.length === 0 ? [`${head};`] : block(head, [options]))
}

const serviceLines = (comments: Comments, service: DescService, methods: ReadonlyArray<DescMethod>): Lines => {
  const { deprecated: old, file, name, proto } = service
  const path = [6, file.proto.service.indexOf(proto)]
  const lines = methods.map((method) => methodLines(comments, [...path, 2, proto.method.indexOf(method.proto)], method))
  return commented(comments(path), block(`service ${name}`, [deprecated(old), ...lines]))
}

// --- files

const head = ({ edition, proto }: DescFile): Lines => {
  const syntax =
    edition === Edition.EDITION_PROTO2 || edition === Edition.EDITION_PROTO3
      ? `syntax = "${edition === Edition.EDITION_PROTO2 ? "proto2" : "proto3"}";`
      : `edition = "${Edition[edition].replace("EDITION_", "")}";`
  return [
    `// ${proto.name}`,
    syntax,
    ...(proto.package === "" ? [] : [`package ${proto.package};`]),
    ...proto.dependency.map((name) => `import ${JSON.stringify(name)};`)
  ]
}

const fileText = (file: DescFile, types: ReadonlySet<Type>, service: Lines, comments: Comments): string => {
  const declared = [
    service,
    ...file.messages.map((type, index) => (types.has(type) ? typeLines(comments, [4, index], type) : [])),
    ...file.enums.map((type, index) => (types.has(type) ? typeLines(comments, [5, index], type) : []))
  ]
  return [head(file), ...declared]
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join("\n"))
    .join("\n\n")
}

/**
 * A service with its methods, one method in its service, a message or an enum; and all the messages and enums that it
 * needs, but for those of google.protobuf. Each file has a part of its own, headed by its name.
 */
export const text = (described: Described): string => {
  const service = described.kind === "service" ? described : described.kind === "rpc" ? described.parent : undefined
  const methods = described.kind === "service" ? described.methods : described.kind === "rpc" ? [described] : []
  const types = closure(described.kind === "message" || described.kind === "enum" ? [described] : typesOf(methods))
  const first = service?.file ?? (described as Type).file
  const files = new Set([first, ...[...types].map(({ file }) => file)])
  return [...files]
    .map((file) => {
      const comments = commentsOf(file)
      const lines = service?.file === file ? serviceLines(comments, service, methods) : []
      return fileText(file, types, lines, comments)
    })
    .join("\n\n")
}

import {
  create,
  createFileRegistry,
  type DescMethod,
  fromBinary,
  fromJsonString,
  type JsonValue,
  type Registry,
  toBinary,
  toJson
} from "@bufbuild/protobuf"
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import * as grpc from "@grpc/grpc-js"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Code, codes } from "./GrpcError.ts"
import * as Deadline from "./internal/deadline.ts"
import * as Details from "./internal/details.ts"
import * as Reflection from "./internal/reflectionMessages.ts"

/**
 * A call by name.
 *
 * - `address`: of a server that speaks plain text, such as `127.0.0.1:50051`
 * - `method`: such as `game.GameService/GetPlayer`; a leading `/` is allowed
 * - `request`: a JSON object. Names as in the .proto or in camel case; 64-bit numbers as numbers or strings, enums by
 *   name or number, bytes in base64. Empty for a request without fields
 * - `deadline`: for everything together, the reflection included; none beyond 24 days
 * - `metadata`: sent with the call, lower-case names
 */
export interface ReflectCall {
  readonly address: string
  readonly method: string
  readonly request: string
  readonly deadline: Duration.Input
  readonly metadata?: Readonly<Record<string, string>>
}

// Cc: also what starts an escape sequence of a terminal. The others change the direction of text.
const unprintable = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu

/** A text of another as a terminal may show it, on one line: what controls the terminal is written as `\u001b`. */
export const printable = (text: string): string =>
  text.replace(unprintable, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

/**
 * A call by name that failed. Its message is {@link printable}, whatever the server sent.
 *
 * - `code`: of gRPC; INVALID_ARGUMENT also for a request that does not fit the method, UNIMPLEMENTED also for a method
 *   or a reflection that the server does not have
 * - `details`: the text that came with it, or what was wrong with the request
 * - `error`: the error that the server declared, when it is one of ours
 */
export class ReflectError extends Schema.TaggedError<ReflectError>("xdooria/grpc/ReflectError")("ReflectError", {
  code: Code,
  details: Schema.String,
  error: Schema.optionalKey(Schema.Struct({ tag: Schema.String, fields: Schema.JsonObject }))
}) {
  override get message(): string {
    const text = this.error === undefined ? this.details : `${this.error.tag} ${JSON.stringify(this.error.fields)}`
    return `${this.code} ${printable(text)}`
  }
}

const decodeFields = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.JsonObject))

const toError = ({ code, details, metadata }: grpc.StatusObject): ReflectError => {
  const { error } = Details.decode(metadata.get(Details.detailsKey), code)
  const fields = Option.map(decodeFields(error?.json ?? ""), ({ _tag, ...fields }) => fields)
  return new ReflectError({
    code: codes[code] ?? "UNKNOWN",
    details,
    ...(error === undefined ? {} : { error: { tag: error.tag, fields: Option.getOrElse(fields, () => ({})) } })
  })
}

const identity = (bytes: Buffer): Buffer => bytes

/** Sends one message on a stream of its own and takes the first that comes back. */
const exchange = (
  client: grpc.Client,
  path: string,
  message: Buffer,
  deadline: number
): Effect.Effect<Buffer, ReflectError> =>
  Effect.callback((resume) => {
    const stream = client.makeBidiStreamRequest(path, identity, identity, { deadline })
    stream.on("data", (bytes: Buffer) => {
      resume(Effect.succeed(bytes))
      stream.cancel()
    })
    stream.on("error", (error: grpc.ServiceError) => resume(Effect.fail(toError(error))))
    stream.on("end", () =>
      resume(Effect.fail(new ReflectError({ code: "UNKNOWN", details: "reflection said nothing" })))
    )
    stream.end(message)
    return Effect.sync(() => stream.cancel())
  })

type Ask = (request: Reflection.Request) => Effect.Effect<ReadonlyArray<FileDescriptorProto>, ReflectError>

const asker =
  (client: grpc.Client, deadline: number, version: "v1" | "v1alpha"): Ask =>
  (request) =>
    exchange(
      client,
      `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
      Reflection.encodeRequest(request),
      deadline
    ).pipe(
      Effect.flatMap((bytes) =>
        Effect.try({
          try: () => Reflection.decodeResponse(bytes),
          catch: () => new ReflectError({ code: "INTERNAL", details: "the answer of reflection does not decode" })
        })
      ),
      Effect.flatMap((response) =>
        response.error === undefined
          ? Effect.succeed(response.files.map((file) => fromBinary(FileDescriptorProtoSchema, file)))
          : Effect.fail(
              new ReflectError({ code: codes[response.error.code] ?? "UNKNOWN", details: response.error.message })
            )
      )
    )

/** A service's file and all that it imports, imports first. */
const filesOf = Effect.fnUntraced(function* (ask: Ask, service: string) {
  const known = new Map<string, FileDescriptorProto>()
  let missing: ReadonlyArray<Reflection.Request> = [{ symbol: service }]
  while (missing.length > 0) {
    const answers = yield* Effect.forEach(missing, ask)
    for (const file of answers.flat()) known.set(file.name, file)
    const imports = new Set([...known.values()].flatMap((file) => file.dependency))
    missing = [...imports].filter((name) => !known.has(name)).map((file) => ({ file }))
  }
  const sorted = new Set<FileDescriptorProto>()
  const visited = new Set<string>()
  const visit = (file: FileDescriptorProto): void => {
    if (visited.has(file.name)) return
    visited.add(file.name)
    for (const name of file.dependency) visit(known.get(name)!)
    sorted.add(file)
  }
  for (const file of known.values()) visit(file)
  return [...sorted]
})

const without = (details: string) => new ReflectError({ code: "UNIMPLEMENTED", details })

/** Asks the server what a method takes and gives. */
const describe = Effect.fnUntraced(function* (client: grpc.Client, deadline: number, service: string, name: string) {
  const files = yield* filesOf(asker(client, deadline, "v1"), service).pipe(
    Effect.catchIf(
      ({ code }) => code === "UNIMPLEMENTED",
      () => filesOf(asker(client, deadline, "v1alpha"), service)
    ),
    Effect.mapError((error) => {
      if (error.code === "NOT_FOUND") return without(`the server has no service ${service}`)
      return error.code === "UNIMPLEMENTED" ? without("the server offers no reflection, or not in prod") : error
    })
  )
  const registry = yield* Effect.try({
    try: () => createFileRegistry(create(FileDescriptorSetSchema, { file: files })),
    catch: () => new ReflectError({ code: "INTERNAL", details: "what reflection tells of the service is invalid" })
  })
  const method = registry.getService(service)?.methods.find((method) => method.name === name)
  if (method === undefined) return yield* without(`${service} has no method ${name}`)
  if (method.methodKind !== "unary")
    return yield* without(`${service}/${name} has streams, which cannot be called by name`)
  return { registry, method }
})

const encode = (method: DescMethod, json: string, registry: Registry): Effect.Effect<Buffer, ReflectError> =>
  Effect.try({
    try: () => Buffer.from(toBinary(method.input, fromJsonString(method.input, json.trim() || "{}", { registry }))),
    catch: (error) => new ReflectError({ code: "INVALID_ARGUMENT", details: (error as Error).message })
  })

const decode = (method: DescMethod, bytes: Buffer, registry: Registry): Effect.Effect<Schema.Json, ReflectError> =>
  Effect.try({
    try: (): JsonValue =>
      toJson(method.output, fromBinary(method.output, bytes), {
        registry,
        useProtoFieldName: true,
        alwaysEmitImplicit: true
      }),
    catch: () => new ReflectError({ code: "INTERNAL", details: "the response does not decode" })
  })

const unary = (
  client: grpc.Client,
  path: string,
  message: Buffer,
  metadata: grpc.Metadata,
  deadline: number
): Effect.Effect<Buffer, ReflectError> =>
  Effect.callback((resume) => {
    const call = client.makeUnaryRequest<Buffer, Buffer>(
      path,
      identity,
      identity,
      message,
      metadata,
      { deadline },
      (error, response) => resume(error === null ? Effect.succeed(response!) : Effect.fail(toError(error)))
    )
    return Effect.sync(() => call.cancel())
  })

const open = (address: string): Effect.Effect<grpc.Client, ReflectError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      // A proxy of the environment would get what is plain text.
      try: () => new grpc.Client(address, grpc.credentials.createInsecure(), { "grpc.enable_http_proxy": 0 }),
      catch: () => new ReflectError({ code: "INVALID_ARGUMENT", details: `${address} is no address` })
    }),
    (client) => Effect.sync(() => client.close())
  )

const metadataOf = (entries: Readonly<Record<string, string>>): Effect.Effect<grpc.Metadata, ReflectError> =>
  Effect.try({
    try: () => {
      const metadata = new grpc.Metadata()
      for (const key in entries) metadata.set(key, entries[key]!)
      return metadata
    },
    catch: () =>
      new ReflectError({ code: "INVALID_ARGUMENT", details: "the metadata has names or values that cannot be sent" })
  })

/**
 * Calls a unary method that this program knows nothing of: its types come from the server's reflection. Gives the
 * response as JSON, with names as in the .proto, 64-bit numbers as strings, and fields that are not set with their
 * defaults.
 */
export const call = (options: ReflectCall): Effect.Effect<Schema.Json, ReflectError> =>
  Effect.gen(function* () {
    const match = /^\/?([\w.]+)\/(\w+)$/.exec(options.method)
    if (match === null) {
      const details = `${options.method} is no method: write it as package.Service/Method`
      return yield* new ReflectError({ code: "INVALID_ARGUMENT", details })
    }
    const [, service, name] = match as unknown as [string, string, string]
    const metadata = yield* metadataOf(options.metadata ?? {})
    const client = yield* open(options.address)
    const deadline = Deadline.after(Date.now(), Duration.fromInputUnsafe(options.deadline))
    const { method, registry } = yield* describe(client, deadline, service, name)
    const message = yield* encode(method, options.request, registry)
    return yield* decode(method, yield* unary(client, `/${service}/${name}`, message, metadata, deadline), registry)
  }).pipe(Effect.scoped)

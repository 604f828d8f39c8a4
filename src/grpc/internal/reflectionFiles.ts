// What a server tells of itself: its services, and the files that define a symbol. The server may be anybody's, so that
// nothing that it says is believed to be true, whole or finite.
import { create, createFileRegistry, fromBinary, type FileRegistry } from "@bufbuild/protobuf"
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { codes } from "../GrpcError.ts"
import { absent, nonsense, ReflectError } from "./reflectionError.ts"
import { type Exchange, responses } from "./reflectionExchange.ts"
import * as Messages from "./reflectionMessages.ts"

/** Of one symbol: far more than services have, and little memory. */
const maxFiles = 1000
const maxBytes = 32 << 20

/** How many questions are asked at once: a server may be far away, and answer with one file at a time. */
const atOnce = { concurrency: 8 } as const

/** How the server is asked. */
export type Source = Omit<Exchange<never, never>, "path" | "requests">

type Ask = (request: Messages.Request) => Effect.Effect<Messages.Answer, ReflectError>

const fromAnswer = ({ code, message }: Messages.Refusal): ReflectError =>
  new ReflectError({ code: codes[code] ?? "UNKNOWN", details: message })

const asker =
  (source: Source, version: "v1" | "v1alpha"): Ask =>
  (request) =>
    responses({
      ...source,
      path: `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
      requests: Stream.succeed(Messages.encodeRequest(request))
    }).pipe(
      Stream.runHead,
      Effect.flatMap((answer) => Effect.mapError(Effect.fromOption(answer), () => nonsense("reflection said nothing"))),
      Effect.flatMap((bytes) =>
        Effect.try({
          try: () => Messages.decodeResponse(bytes),
          catch: () => nonsense("the answer of reflection does not decode")
        })
      ),
      Effect.flatMap((response) => Effect.mapError(Effect.fromResult(response), fromAnswer))
    )

/** Asks over v1, over v1alpha where there is no v1. */
const asking = <A>(source: Source, questions: (ask: Ask) => Effect.Effect<A, ReflectError>) =>
  questions(asker(source, "v1")).pipe(
    Effect.catchIf(
      ({ code }) => code === "UNIMPLEMENTED",
      () => questions(asker(source, "v1alpha"))
    ),
    Effect.mapError((error) =>
      error.code === "UNIMPLEMENTED"
        ? absent("the server offers no reflection; one of ours offers none in prod")
        : error
    )
  )

const isNotFound = ({ code }: ReflectError): boolean => code === "NOT_FOUND"

const parse = (file: Uint8Array): Effect.Effect<FileDescriptorProto, ReflectError> =>
  Effect.try({
    try: () => fromBinary(FileDescriptorProtoSchema, file),
    catch: () => nonsense("reflection gives a file that does not decode")
  })

/** The file of a symbol and all that it imports. */
const filesOf = Effect.fnUntraced(function* (ask: Ask, symbol: string) {
  const known = new Map<string, FileDescriptorProto>()
  const imports = new Set<string>()
  let size = 0
  const learn = Effect.fnUntraced(function* (request: Messages.Request) {
    const { files } = yield* ask(request)
    for (const bytes of files) {
      size += bytes.length
      const file = yield* parse(bytes)
      known.set(file.name, file)
      for (const name of file.dependency) imports.add(name)
      if (size > maxBytes || known.size > maxFiles || imports.size > maxFiles) {
        return yield* nonsense(`reflection gives too much for ${symbol}`)
      }
    }
  })
  yield* learn({ symbol })
  // Each import is asked for once, in whatever circle they are.
  for (;;) {
    const missing = [...imports].filter((name) => !known.has(name))
    yield* Effect.forEach(missing, (file) => Effect.catchIf(learn({ file }), isNotFound, () => Effect.void), atOnce)
    const lost = missing.find((name) => !known.has(name))
    if (lost !== undefined) return yield* nonsense(`reflection does not give ${lost}, which ${symbol} needs`)
    if (missing.length === 0) break
  }
  return [...known.values()]
})

/** Imports first. In a circle, which no compiler accepts, a file comes before one that it imports. */
const sorted = (files: ReadonlyArray<FileDescriptorProto>): Array<FileDescriptorProto> => {
  const byName = new Map(files.map((file) => [file.name, file]))
  const result = new Set<FileDescriptorProto>()
  const visited = new Set<FileDescriptorProto>()
  const visit = (file: FileDescriptorProto): void => {
    if (visited.has(file)) return
    visited.add(file)
    for (const name of file.dependency) visit(byName.get(name)!)
    result.add(file)
  }
  for (const file of files) visit(file)
  return [...result]
}

const serviceNames = (ask: Ask) => Effect.map(ask("services"), ({ services }) => [...new Set(services)].toSorted())

/** Names what there is instead, if the server tells. */
const unknown = (source: Source, kind: string, symbol: string): Effect.Effect<never, ReflectError> =>
  asking(source, serviceNames).pipe(
    Effect.orElseSucceed(() => []),
    Effect.flatMap((names) => {
      const list = names.length === 0 ? "" : `; its services are ${names.slice(0, 20).join(", ")}`
      return Effect.fail(absent(`the server has no ${kind} ${symbol}${list}`))
    })
  )

/**
 * All that is needed to understand a symbol, such as the full name of a service.
 *
 * - `kind`: what the symbol was taken for, for people
 */
export const lookup = (source: Source, kind: string, symbol: string): Effect.Effect<FileRegistry, ReflectError> =>
  asking(source, (ask) => filesOf(ask, symbol)).pipe(
    Effect.catchIf(isNotFound, () => unknown(source, kind, symbol)),
    Effect.flatMap((files) =>
      Effect.try({
        try: () => createFileRegistry(create(FileDescriptorSetSchema, { file: sorted(files) })),
        catch: () => nonsense(`what reflection tells of ${symbol} is invalid`)
      })
    )
  )

/** A method, and which sides of it are streams. */
export interface Method {
  readonly name: string
  readonly requestStream: boolean
  readonly responseStream: boolean
}

/** A service; without methods when the server lists it and cannot tell more of it. */
export interface Service {
  readonly name: string
  readonly methods: ReadonlyArray<Method>
}

const methodsOf = (ask: Ask, service: string): Effect.Effect<ReadonlyArray<Method>, ReflectError> =>
  ask({ symbol: service }).pipe(
    Effect.flatMap(({ files }) => Effect.forEach(files.slice(0, maxFiles), parse)),
    Effect.map((files) =>
      files
        .flatMap((file) =>
          file.service.filter(({ name }) => [file.package, name].filter((part) => part !== "").join(".") === service)
        )
        .flatMap(({ method }) =>
          method.map(({ name, clientStreaming, serverStreaming }) => ({
            name,
            requestStream: clientStreaming,
            responseStream: serverStreaming
          }))
        )
    ),
    Effect.catchIf(isNotFound, () => Effect.succeed([]))
  )

/** The services that the server lists, by name. */
export const services = (source: Source): Effect.Effect<ReadonlyArray<Service>, ReflectError> =>
  asking(source, (ask) =>
    Effect.flatMap(serviceNames(ask), (names) =>
      Effect.forEach(
        names.slice(0, maxFiles),
        (name) => Effect.map(methodsOf(ask, name), (methods) => ({ name, methods })),
        atOnce
      )
    )
  )

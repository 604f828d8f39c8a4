// A bare server of grpc-js with methods of all four kinds and a reflection of the test's choice, honest or not: what
// calling by name meets that is not ours.
import { createFileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf"
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  type FileDescriptorSet,
  FileDescriptorSetSchema
} from "@bufbuild/protobuf/wkt"
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire"
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { GrpcReflect } from "xdooria/grpc/live"

/** Bytes for bytes: HTTP/2 knows no kinds of calls. */
export type Wire = grpc.ServerDuplexStream<Buffer, Buffer>
export type Method = (call: Wire) => void

/** What a client asks of reflection. */
export type Question = { readonly symbol: string } | { readonly file: string } | "services"

/** Answers a question, with the bytes of a ServerReflectionResponse; undefined: never. */
export type Reflection = (question: Question) => Buffer | undefined

const identity = (bytes: Buffer) => bytes

const bytesMethod = (path: string) => ({
  path,
  requestStream: true,
  responseStream: true,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity
})

const questionOf = (request: Buffer): Question => {
  const reader = new BinaryReader(request)
  const [field] = reader.tag()
  const text = reader.string()
  return field === 7 ? "services" : field === 3 ? { file: text } : { symbol: text }
}

const answering =
  (reflection: Reflection): Method =>
  (call) => {
    call.on("data", (request: Buffer) => {
      const answer = reflection(questionOf(request))
      if (answer === undefined) return
      call.write(answer)
      call.end()
    })
  }

/** A served server. */
export interface Served {
  readonly address: string
  readonly server: grpc.Server
}

/** Serves these methods, by path, on loopback and as long as the scope. */
export const serve = (
  methods: Readonly<Record<string, Method>>,
  {
    credentials = grpc.ServerCredentials.createInsecure(),
    reflection,
    version = "v1"
  }: {
    readonly credentials?: grpc.ServerCredentials
    readonly reflection?: Reflection
    readonly version?: "v1" | "v1alpha"
  } = {}
): Effect.Effect<Served, never, Scope.Scope> => {
  const all: Record<string, Method> = { ...methods }
  if (reflection !== undefined) {
    all[`/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`] = answering(reflection)
  }
  return Effect.acquireRelease(
    Effect.callback<Served>((resume) => {
      const server = new grpc.Server()
      for (const path in all) server.addService({ it: bytesMethod(path) }, { it: all[path]! })
      server.bindAsync("127.0.0.1:0", credentials, (_, port) =>
        resume(Effect.succeed({ server, address: `127.0.0.1:${port}` }))
      )
    }),
    ({ server }) => Effect.sync(() => server.forceShutdown())
  )
}

/** A ServerReflectionResponse with these files. */
export const filesAnswer = (files: ReadonlyArray<FileDescriptorProto | Uint8Array>): Buffer => {
  const writer = new BinaryWriter().tag(4, 2).fork()
  for (const file of files)
    writer.tag(1, 2).bytes(file instanceof Uint8Array ? file : toBinary(FileDescriptorProtoSchema, file))
  return Buffer.from(writer.join().finish())
}

/** One with the names of services. */
export const servicesAnswer = (names: ReadonlyArray<string>): Buffer => {
  const writer = new BinaryWriter().tag(6, 2).fork()
  for (const name of names) writer.tag(1, 2).fork().tag(1, 2).string(name).join()
  return Buffer.from(writer.join().finish())
}

/** One with an error. */
export const errorAnswer = (code: number, message: string): Buffer =>
  Buffer.from(new BinaryWriter().tag(7, 2).fork().tag(1, 0).int32(code).tag(2, 2).string(message).join().finish())

/** Answers truly, one file at a time, as a server may that leaves the imports to be asked for. */
export const honest = (set: FileDescriptorSet): Reflection => {
  const types = [...createFileRegistry(set)]
  const services = types.filter(({ kind }) => kind === "service").map(({ typeName }) => typeName)
  return (question) => {
    if (question === "services") return servicesAnswer(services)
    const file =
      "file" in question
        ? set.file.find(({ name }) => name === question.file)
        : types.find(({ typeName }) => typeName === question.symbol)?.file.proto
    return file === undefined ? errorAnswer(5, "not found") : filesAnswer([file])
  }
}

const buf = fileURLToPath(new URL("../../node_modules/.bin/buf", import.meta.url))

/** Compiles the .proto files of a folder, with comments. */
export const compile = (folder: string): FileDescriptorSet => {
  const scratch = mkdtempSync(join(tmpdir(), "xdooria-protos-"))
  try {
    const out = join(scratch, "set.binpb")
    execFileSync(buf, ["build", folder, "-o", out], { stdio: ["ignore", "ignore", "inherit"] })
    return fromBinary(FileDescriptorSetSchema, readFileSync(out))
  } finally {
    rmSync(scratch, { recursive: true })
  }
}

/** The files of test/grpc/protos. */
export const kinds = compile(fileURLToPath(new URL("protos", import.meta.url)))

const registry = createFileRegistry(kinds)
/** The message of kinds.proto that all methods take and give. */
export const Item = registry.getMessage("kinds.Item")!

/** Of a message on the wire, the name and the count. */
export const itemOf = (bytes: Uint8Array): { readonly name: string; readonly count: bigint } => {
  const item = fromBinary(Item, bytes) as unknown as { readonly name: string; readonly count: bigint }
  return { name: item.name, count: item.count }
}

/** A message with a name and a count. */
export const item = (name: string, count: bigint): Buffer =>
  Buffer.from(new BinaryWriter().tag(1, 2).string(name).tag(2, 0).int64(count).finish())

/** Calls by name with all requests at once, and gives all responses. */
export const callAll = ({
  request,
  ...options
}: GrpcReflect.ReflectServer & { readonly method: string; readonly request: string }): Effect.Effect<
  ReadonlyArray<Schema.Json>,
  GrpcReflect.ReflectError
> =>
  GrpcReflect.call({ ...options, requests: Stream.succeed(request) }).pipe(
    Effect.flatMap(({ responses }) => Stream.runCollect(responses)),
    Effect.scoped
  )

/** Calls by name what answers once. */
export const callOne = (options: Parameters<typeof callAll>[0]): Effect.Effect<Schema.Json, GrpcReflect.ReflectError> =>
  Effect.map(callAll(options), ([response]) => response!)

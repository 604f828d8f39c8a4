import {
  type DescMethod,
  type FileRegistry,
  fromBinary,
  fromJsonString,
  type JsonValue,
  toBinary,
  toJson
} from "@bufbuild/protobuf"
import * as grpc from "@grpc/grpc-js"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { GrpcConfig } from "./Grpc.ts"
import * as Connection from "./internal/client/connection.ts"
import { absent, invalid, nonsense, printable, type ReflectError } from "./internal/reflectionError.ts"
import { responses } from "./internal/reflectionExchange.ts"
import * as Files from "./internal/reflectionFiles.ts"
import { type Described, text } from "./internal/reflectionText.ts"
import * as Tls from "./internal/tls.ts"
import type { Entries } from "./internal/transport.ts"

export { printable, ReflectError } from "./internal/reflectionError.ts"

/**
 * How to trust a server, and to be trusted: PEM files, read once. TLS 1.2 or later, and the server's certificate must be
 * for the host of its address.
 *
 * - `ca`: who vouches for the server; those that Node knows when not given
 * - `identity`: the certificate that is shown to the server, with those that lead to its root, and its key
 */
export interface ReflectTls {
  readonly ca?: string
  readonly identity?: { readonly certificate: string; readonly key: string }
}

/**
 * A server with reflection, v1 or v1alpha.
 *
 * - `address`: such as `127.0.0.1:50051`
 * - `tls`: plain text when not given
 * - `metadata`: sent with everything, reflection included; a name that ends with `-bin` has a value in base64
 * - `deadline`: for everything together; none beyond 24 days. When not given, 5 s for the reflection, and for a call
 *   with one request and one response; none for a call with a stream
 */
export interface ReflectServer {
  readonly address: string
  readonly tls?: ReflectTls
  readonly metadata?: ReadonlyArray<readonly [name: string, value: string]>
  readonly deadline?: Duration.Input
}

/**
 * A call by name.
 *
 * - `method`: such as `game.GameService/GetPlayer`; a leading `/` is allowed
 * - `requests`: text, in parts. For a method with one request a JSON object, or nothing for one without fields; for a
 *   method with a stream of requests one object on each line, sent as they come. Names as in the .proto or in camel
 *   case; 64-bit numbers as numbers or strings, enums by name or number, bytes in base64
 */
export interface ReflectCall<E = never, R = never> extends ReflectServer {
  readonly method: string
  readonly requests: Stream.Stream<string, E, R>
}

/**
 * What a method answers with.
 *
 * - `stream`: whether it may answer more than once
 * - `responses`: one, or as they come. Made by the call, that starts when this is run, and is cancelled when it is
 *   interrupted; run it once. As JSON with names as in the .proto, 64-bit numbers as strings, and fields that are not set
 *   with their defaults
 */
export interface ReflectAnswer<E = never, R = never> {
  readonly stream: boolean
  readonly responses: Stream.Stream<Schema.Json, ReflectError | E, R>
}

/**
 * A service that a server lists.
 *
 * - `methods`: empty when the server cannot tell them
 */
export interface ReflectService {
  readonly name: string
  readonly methods: ReadonlyArray<{
    readonly name: string
    readonly requestStream: boolean
    readonly responseStream: boolean
  }>
}

const entriesOf = (entries: ReflectServer["metadata"] = []): Effect.Effect<Entries, ReflectError> =>
  Effect.try({
    try: () => {
      const checked = new grpc.Metadata()
      return entries.map(([name, text]) => {
        const value = name.toLowerCase().endsWith("-bin") ? Buffer.from(text, "base64") : text
        checked.add(name, value)
        return [name, value] as const
      })
    },
    catch: () => invalid("the metadata has names or values that cannot be sent")
  })

const settings = Schema.decodeSync(GrpcConfig.schema)({})

/** In the words of {@link ReflectTls}: no configuration is read here. */
const names: Tls.Names = { ca: "ca", cert: "certificate", key: "key" }

const credentialsOf = (tls: ReflectTls | undefined): Effect.Effect<Tls.MakeCredentials, ReflectError, Scope.Scope> =>
  Tls.client(
    {
      tls: tls === undefined ? "disable" : tls.identity === undefined ? "server" : "mutual",
      tlsCaFile: tls?.ca ?? "",
      tlsCertFile: tls?.identity?.certificate ?? "",
      tlsKeyFile: tls?.identity?.key ?? "",
      tlsReload: Duration.infinity
    },
    names
  ).pipe(Effect.mapError(({ message }) => invalid(message)))

/** A connection of its own, open as long as the scope. */
const open = Effect.fnUntraced(function* ({ address, deadline = "5 seconds", tls, ...server }: ReflectServer) {
  const metadata = yield* entriesOf(server.metadata)
  const makeCredentials = yield* credentialsOf(tls)
  const connection = yield* Effect.acquireRelease(
    Effect.try({
      try: () => Connection.open(settings, makeCredentials, { address, authority: address, keepalive: false }),
      catch: () => invalid(`${address} is no address`)
    }),
    (connection) => Effect.sync(() => connection.close())
  )
  return {
    connection,
    metadata,
    deadline: Date.now() + Duration.toMillis(deadline),
    // In place of the driver's text, which is of many lines.
    reason: () => {
      const failure = connection.tlsFailure?.()
      return failure === undefined ? undefined : `TLS failed: ${failure}`
    }
  }
})

const pathOf = /^\/?(\w+(?:\.\w+)*)\/(\w+)$/

const methodOf = (registry: FileRegistry, service: string, name: string): Effect.Effect<DescMethod, ReflectError> => {
  const methods = registry.getService(service)?.methods
  if (methods === undefined) return Effect.fail(absent(`the server has no service ${service}`))
  const method = methods.find((method) => method.name === name)
  const names = methods.map(({ name }) => name).join(", ")
  return method === undefined
    ? Effect.fail(absent(`${service} has no method ${name}; it has ${names}`))
    : Effect.succeed(method)
}

const encode =
  (method: DescMethod, registry: FileRegistry) =>
  (json: string, where = ""): Effect.Effect<Buffer, ReflectError> =>
    Effect.try({
      try: () => Buffer.from(toBinary(method.input, fromJsonString(method.input, json, { registry }))),
      catch: (error) => invalid(`${where}${(error as Error).message}`)
    })

const decode =
  (method: DescMethod, registry: FileRegistry) =>
  (bytes: Buffer): Effect.Effect<Schema.Json, ReflectError> =>
    Effect.try({
      try: (): JsonValue =>
        toJson(method.output, fromBinary(method.output, bytes), {
          registry,
          useProtoFieldName: true,
          alwaysEmitImplicit: true
        }),
      catch: () => nonsense("the response does not decode")
    })

const encodeLines = <E, R>(
  one: ReturnType<typeof encode>,
  requests: Stream.Stream<string, E, R>
): Stream.Stream<Buffer, ReflectError | E, R> =>
  requests.pipe(
    Stream.splitLines,
    Stream.zipWithIndex,
    Stream.filter(([line]) => line.trim() !== ""),
    Stream.mapEffect(([line, index]) => one(line, `line ${index + 1}: `))
  )

/** A method with one response has exactly one, when it ends well. */
const single = <E, R>(all: Stream.Stream<Buffer, ReflectError | E, R>): Stream.Stream<Buffer, ReflectError | E, R> =>
  Stream.fromEffect(
    Effect.flatMap(Stream.runCollect(Stream.take(all, 2)), ([first, second]) =>
      first === undefined || second !== undefined
        ? Effect.fail(nonsense(`the server gave ${first === undefined ? "no response" : "more than one response"}`))
        : Effect.succeed(first)
    )
  )

/**
 * Calls a method of any kind that this program knows nothing of: its types come from the server's reflection. Fails when
 * the method cannot be called; the responses fail as the call does, and with what the requests fail with.
 */
export const call = <E = never, R = never>(
  options: ReflectCall<E, R>
): Effect.Effect<ReflectAnswer<E, R>, ReflectError, Scope.Scope> =>
  Effect.gen(function* () {
    const match = pathOf.exec(options.method)
    if (match === null) return yield* invalid(`${options.method} is no method: write it as package.Service/Method`)
    const [, service, name] = match as unknown as [string, string, string]
    const source = yield* open(options)
    const registry = yield* Files.lookup(source, "service", service)
    const method = yield* methodOf(registry, service, name)
    const { clientStreaming, serverStreaming } = method.proto
    const isEndless = options.deadline === undefined && (clientStreaming || serverStreaming)
    const exchange = <E, R>(requests: Stream.Stream<Buffer, E, R>) =>
      responses({
        ...source,
        path: `/${service}/${name}`,
        deadline: isEndless ? Infinity : source.deadline,
        requests
      })
    const one = encode(method, registry)
    const all = clientStreaming
      ? exchange(encodeLines(one, options.requests))
      : // Encoded before the call is there: a server is not to see one without its request.
        Stream.mkString(options.requests).pipe(
          Effect.flatMap((text) => one(text.trim() || "{}")),
          Effect.map((request) => exchange(Stream.succeed(request))),
          Stream.unwrap
        )
    return {
      stream: serverStreaming,
      responses: Stream.mapEffect(serverStreaming ? all : single(all), decode(method, registry))
    }
  })

/** The services of a server, by name, and their methods. */
export const list = (server: ReflectServer): Effect.Effect<ReadonlyArray<ReflectService>, ReflectError> =>
  Effect.scoped(Effect.flatMap(open(server), Files.services))

const find = (registry: FileRegistry, name: string): Effect.Effect<Described, ReflectError> => {
  const [, service, method] = pathOf.exec(name) ?? []
  if (service !== undefined) return methodOf(registry, service, method!)
  const described = registry.get(name)
  return described === undefined || described.kind === "extension"
    ? Effect.fail(absent(`the server has no service, message or enum ${name}`))
    : Effect.succeed(described)
}

/**
 * Tells of a service, a method, a message or an enum as .proto text, with the messages and enums that it needs, but for
 * those of google.protobuf; with comments where the server has them. {@link printable}, line by line.
 *
 * - `name`: such as `game.GameService`, `game.GameService/GetPlayer` or `game.Player`; a leading `/` is allowed
 */
export const describe = (options: ReflectServer & { readonly name: string }): Effect.Effect<string, ReflectError> =>
  Effect.gen(function* () {
    const name = options.name.replace(/^\//, "")
    if (!/^\w+(\.\w+)*(\/\w+)?$/.test(name))
      return yield* invalid(`${name} is no name: write package.Service, package.Service/Method or package.Message`)
    const [symbol] = name.split("/")
    const kind = symbol === name ? "service, message or enum" : "service"
    const registry = yield* Files.lookup(yield* open(options), kind, symbol!)
    const described = yield* find(registry, name)
    const lines = yield* Effect.try({
      try: () => text(described).split("\n"),
      // Such as messages in messages, deeper than the stack.
      catch: () => nonsense(`what reflection tells of ${name} is invalid`)
    })
    return lines.map(printable).join("\n")
  }).pipe(Effect.scoped)

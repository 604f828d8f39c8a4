import type { Server } from "@grpc/grpc-js"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { AnyApi, Handlers, HandlersOf, Use } from "./Api.ts"
import type { GrpcError } from "./GrpcError.ts"

/** A service with the functions that serve it, as a server takes it. */
export interface Service {
  readonly api: AnyApi
  readonly handlers: HandlersOf<AnyApi>
  readonly middleware: ReadonlyArray<Use<never>>
}

/**
 * How services are served.
 *
 * - `descriptors`: the FileDescriptorSet of their .proto files in base64 (src/gen/descriptors.ts), for reflection, which
 *   is on when it is given and the environment is not prod
 * - `health`: by the full name of a service, the components of room health that it stands on; all when it is not there
 */
export interface ServeOptions {
  readonly descriptors?: string
  readonly health?: Readonly<Record<string, ReadonlyArray<string>>>
}

type Argument = Handlers<unknown, unknown> | ServeOptions

type ErrorOf<A> = A extends Handlers<infer E, unknown> ? E : never

type ServicesOf<A> = A extends Handlers<unknown, infer R> ? R : never

// What they fail with and need is put back into the type of `serve`.
const isHandlers = (argument: Argument): argument is Handlers<never, never> => "build" in argument

/** A gRPC server on one address. Provided by GrpcServerLive. */
export class GrpcServer extends Context.Service<
  GrpcServer,
  {
    /**
     * Serves, from now until the scope closes: then health says NOT_SERVING, the drain delay passes, no further call is
     * accepted, accepted ones end, standing streams end with UNAVAILABLE. Once in the life of a server. The handlers run
     * on the context of the caller.
     */
    readonly serve: (
      services: ReadonlyArray<Service>,
      options: ServeOptions
    ) => Effect.Effect<void, GrpcError, Scope.Scope>
    /** Where it listens, as `host:port`. Fails with NotServing before `serve` and after its scope. */
    readonly address: Effect.Effect<string, GrpcError>
    /**
     * The server of @grpc/grpc-js, for what this room does not offer; GrpcEmbedded has none. What is done with it is
     * outside our promises.
     */
    readonly native: Server | undefined
  }
>()("xdooria/grpc/GrpcServer") {
  /**
   * Builds the handlers of one or more services, then serves them on the {@link GrpcServer}. On the way down it drains
   * first, then closes what the handlers acquired.
   *
   * Fails with AddressInUse, CannotListen, InsecureTransport or InvalidService, and as building the handlers does.
   */
  static readonly serve = <const Arguments extends ReadonlyArray<Argument>>(
    ...args: Arguments
  ): Layer.Layer<never, GrpcError | ErrorOf<Arguments[number]>, GrpcServer | ServicesOf<Arguments[number]>> =>
    Layer.effectDiscard(
      Effect.gen(function* () {
        const services = yield* Effect.forEach(args.filter(isHandlers), ({ api, build, middleware }) =>
          Effect.map(build, (handlers): Service => ({ api, handlers, middleware }))
        )
        const options: ServeOptions = Object.assign({}, ...args.filter((argument) => !isHandlers(argument)))
        const server = yield* GrpcServer
        yield* server.serve(services, options)
      }) as Effect.Effect<void, GrpcError | ErrorOf<Arguments[number]>, GrpcServer | ServicesOf<Arguments[number]>>
    )
}

import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { AnyApi, Client, ClientOptions } from "./Api.ts"
import type { GrpcError } from "./GrpcError.ts"

/** Calls gRPC servers. Provided by GrpcClientLive; used through `Grpc.client`. */
export class GrpcClient extends Context.Service<
  GrpcClient,
  {
    /** A client of a service, on a channel that clients of the same target share and that closes with their scopes. */
    readonly make: (api: AnyApi, options: ClientOptions) => Effect.Effect<Client<AnyApi>, GrpcError, Scope.Scope>
  }
>()("xdooria/grpc/GrpcClient") {}

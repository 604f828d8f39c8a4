import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type { AnyApi, Client, ClientOptions } from "./Api.ts"
import { GrpcClient } from "./GrpcClient.ts"
import type { GrpcError } from "./GrpcError.ts"

export * from "./Api.ts"

const Bytes = (least: number, most: number) =>
  Schema.Int.check(Schema.isBetween({ minimum: least, maximum: most })).pipe(
    Schema.annotate({ expected: `a whole number of bytes, ${least} to ${most}` })
  )

/**
 * Section `grpc`; the address is that of section `server`.
 *
 * - `allowInsecure`: lets the server speak plain text anywhere; without it only outside prod and on a loopback address
 * - `drainDelay`: how long a stopping server goes on as before, so that those who watch its health see it leave
 * - `grace`: how long it then waits for accepted calls, at most; what is left is cut
 * - `maxDeadline`: a call ends with DEADLINE_EXCEEDED after that, whatever its caller allows
 * - `deadline`: of a client's call that names none
 * - `maxMessageSize`: of a message in either direction
 * - `maxMetadataSize`: of the metadata of a call, each entry counted with 32 bytes more, as HTTP/2 does
 * - `maxConcurrentStreams`: calls at once on one connection; a client keeps further ones back
 * - `maxConnectionAge`: a connection is replaced after that, give or take a tenth; 0 for never
 * - `maxConnectionAgeGrace`: how long calls may go on then; what is left is cut
 * - `target`: the address that `Grpc.client` calls when it is given none, such as `127.0.0.1:50051`
 */
export const GrpcConfig = Config.section("grpc", {
  allowInsecure: Schema.Boolean.pipe(Config.withDefault(false)),
  drainDelay: Config.Seconds.pipe(Config.withDefault(0.5)),
  grace: Config.Seconds.pipe(Config.withDefault(6)),
  maxDeadline: Config.Seconds.pipe(Config.withDefault(30)),
  deadline: Config.Seconds.pipe(Config.withDefault(10)),
  maxMessageSize: Bytes(1, 0x7fffffff).pipe(Config.withDefault(4 * 1024 * 1024)),
  maxMetadataSize: Bytes(256, 65_536).pipe(Config.withDefault(8 * 1024)),
  maxConcurrentStreams: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 0x7fffffff })).pipe(
    Config.withDefault(1000)
  ),
  maxConnectionAge: Config.Seconds.pipe(Config.withDefault(1800)),
  maxConnectionAgeGrace: Config.Seconds.pipe(Config.withDefault(60)),
  target: Schema.String.pipe(Config.withDefault(""))
})

/**
 * A client of a service, on a channel that all clients of the same target share and that closes with the last of their
 * scopes. It connects with the first call, and again after every loss.
 *
 * An interrupted call is cancelled at the server. Fails with InvalidTarget when there is no address to call.
 */
export const client = <A extends AnyApi>(
  api: A,
  options: ClientOptions = {}
): Effect.Effect<Client<A>, GrpcError, GrpcClient | Scope.Scope> =>
  Effect.flatMap(Effect.service(GrpcClient), (client) => client.make(api, options) as never)

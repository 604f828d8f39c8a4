import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type { AnyApi, Client, ClientOptions } from "./Api.ts"
import { GrpcClient } from "./GrpcClient.ts"
import type { GrpcError } from "./GrpcError.ts"

export * from "./Api.ts"

const day = 86_400

/** A length of time in seconds within bounds; a timer of Node cannot be set further ahead than 24 days. */
const Seconds = (least: number, most: number) =>
  Config.Seconds.check(
    Schema.makeFilter(
      (time) => Duration.between(time, { minimum: Duration.seconds(least), maximum: Duration.seconds(most) }),
      {
        expected: `a number of seconds, ${least} to ${most}`
      }
    )
  )

const Whole = (least: number, most: number) => Schema.Int.check(Schema.isBetween({ minimum: least, maximum: most }))

/** Section `grpc`; where the server listens is in section `server`. Its keys are in the room's README. */
export const GrpcConfig = Config.section(
  "grpc",
  {
    allowInsecure: Schema.Boolean.pipe(
      Config.withDefault(false),
      Schema.annotate({
        description: "Speak plain text on any address; when false only outside prod and on a loopback address"
      })
    ),
    drainDelay: Seconds(0, 60).pipe(
      Config.withDefault(0.5),
      Schema.annotateKey({
        description:
          "How long a stopping server, already unhealthy, still takes calls, so that clients see it leave, in seconds"
      })
    ),
    grace: Seconds(0, 3600).pipe(
      Config.withDefault(6),
      Schema.annotateKey({ description: "How long it then waits for accepted calls before it cuts them, in seconds" })
    ),
    maxDeadline: Seconds(0.001, day).pipe(
      Config.withDefault(30),
      Schema.annotateKey({ description: "After that a call ends, whatever its caller allows, in seconds" })
    ),
    maxMessageSize: Whole(1, 0x7fffffff).pipe(
      Config.withDefault(4 * 1024 * 1024),
      Schema.annotate({ description: "Largest message in either direction, in bytes" })
    ),
    maxMetadataSize: Whole(256, 65_536).pipe(
      Config.withDefault(8 * 1024),
      Schema.annotate({ description: "Most metadata of a call, in bytes; HTTP/2 counts 32 more for every entry" })
    ),
    maxConcurrentStreams: Whole(1, 0x7fffffff).pipe(
      Config.withDefault(1000),
      Schema.annotate({ description: "Calls at once on one connection; clients keep further ones back" })
    ),
    maxConnectionAge: Seconds(0, 24 * day).pipe(
      Config.withDefault(1800),
      Schema.annotateKey({
        description: "A connection is replaced after that, give or take a tenth, in seconds; 0 for never"
      })
    ),
    maxConnectionAgeGrace: Seconds(0, 24 * day).pipe(
      Config.withDefault(60),
      Schema.annotateKey({ description: "How long calls on a replaced connection may go on, in seconds" })
    ),
    target: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({
        description: "Address that a client calls when its program names none, such as 127.0.0.1:50051"
      })
    ),
    deadline: Seconds(0.001, day).pipe(
      Config.withDefault(10),
      Schema.annotateKey({
        description: "How long a call of a client may take when its program does not say, in seconds"
      })
    )
  },
  ({ allowInsecure }, env) =>
    env === "prod" && !allowInsecure
      ? [
          {
            field: "allowInsecure",
            expected: "true in prod, where gRPC speaks plain text",
            hint: "set it if the network around the service is trusted"
          }
        ]
      : []
)

/** The values of section `grpc`. */
export type GrpcSettings = (typeof GrpcConfig)["schema"]["Type"]

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

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type { AnyApi, Client, ClientOptions } from "./Api.ts"
import { GrpcClient } from "./GrpcClient.ts"
import type { GrpcError } from "./GrpcError.ts"
import { isNetwork } from "./internal/peer.ts"

export * from "./Api.ts"
export { Call, Deadline, type Metadata, type Peer } from "./Call.ts"
export { forward, type ForwardServices } from "./Forward.ts"
export { middleware, type Middleware, type Served } from "./Middleware.ts"
export { type Endpoint, endpoints, type Resolver } from "./Resolver.ts"

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
    rateLimit: Whole(0, 1_000_000).pipe(
      Config.withDefault(100),
      Schema.annotate({
        description: "Calls that one principal may make in a second, to each instance or, with Redis, in all; 0 for any"
      })
    ),
    concurrencyLimit: Whole(1, 1_000_000).pipe(
      Config.withDefault(1000),
      Schema.annotate({
        description: "Most calls that handlers run at once; under overload fewer, as many as they can bear"
      })
    ),
    trustedProxies: Schema.Array(
      Schema.String.check(Schema.makeFilter(isNetwork, { expected: "an IP address, or a network such as 10.0.0.0/8" }))
    ).pipe(
      Config.withDefault([]),
      Schema.annotate({
        description:
          "Addresses and networks of servers that pass calls on, whose x-forwarded-for is believed: the gateways"
      })
    ),
    tls: Schema.Literals(["disable", "server", "mutual"]).pipe(
      Config.withDefault("disable"),
      Schema.annotate({
        description: "Plain text, servers that prove who they are, or clients too"
      })
    ),
    tlsCertFile: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({ description: "PEM file with our certificate and its chain" })
    ),
    tlsKeyFile: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({ description: "PEM file with the key of our certificate" })
    ),
    tlsCaFile: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({
        description: "PEM file with the authorities of our peers; those of Node when empty"
      })
    ),
    tlsReload: Seconds(1, day).pipe(
      Config.withDefault(30),
      Schema.annotateKey({ description: "How often the files are looked at for newer ones, in seconds" })
    ),
    target: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({
        description: "Addresses that a client calls when its program names none, such as 127.0.0.1:50051, by commas"
      })
    ),
    balancing: Schema.Literals(["round_robin", "pick_first", "least_outstanding", "consistent_hash"]).pipe(
      Config.withDefault("round_robin"),
      Schema.annotate({ description: "How a client spreads its calls, when its program does not say" })
    ),
    deadline: Seconds(0.001, day).pipe(
      Config.withDefault(10),
      Schema.annotateKey({
        description: "How long a call of a client may take when its program does not say, in seconds"
      })
    ),
    attemptTimeout: Seconds(0.001, day).pipe(
      Config.withDefault(0.5),
      Schema.annotateKey({
        description: "How long one try of an idempotent method may take when there is time for another, in seconds"
      })
    ),
    maxAttempts: Whole(1, 10).pipe(
      Config.withDefault(4),
      Schema.annotate({ description: "How often a call is tried in all, where that is safe" })
    ),
    retryBudget: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })).pipe(
      Config.withDefault(0.1),
      Schema.annotate({ description: "Tries beyond the first, as a share of the calls of a client" })
    ),
    waitForReady: Schema.Boolean.pipe(
      Config.withDefault(false),
      Schema.annotate({ description: "Wait for a server until the deadline when none is there" })
    ),
    keepaliveTime: Seconds(1, 3600).pipe(
      Config.withDefault(5),
      Schema.annotateKey({
        description: "How often a client pings a server that allows it, in seconds"
      })
    ),
    keepaliveTimeout: Seconds(0.1, 3600).pipe(
      Config.withDefault(2),
      Schema.annotateKey({ description: "How long it waits for the answer before it gives the server up, in seconds" })
    ),
    breakerFailures: Whole(0, 1000).pipe(
      Config.withDefault(20),
      Schema.annotate({
        description: "After so many failures in a row a client leaves its target alone for a while; 0 for never"
      })
    ),
    breakerOpen: Seconds(0.001, 3600).pipe(
      Config.withDefault(1),
      Schema.annotateKey({ description: "How long it leaves it alone, in seconds; longer when it fails again" })
    )
  },
  ({ allowInsecure, tls, tlsCaFile, tlsCertFile, tlsKeyFile }, env) => [
    ...(env === "prod" && tls === "disable" && !allowInsecure
      ? [
          {
            field: "allowInsecure" as const,
            expected: "true in prod, where gRPC speaks plain text",
            hint: "set tls, or allow it if the network around the service is trusted"
          }
        ]
      : []),
    // With tls of servers only, a process that only calls needs neither; a server looks by itself.
    ...(tls === "mutual" && (tlsCertFile === "" || tlsKeyFile === "")
      ? [
          {
            field: tlsCertFile === "" ? ("tlsCertFile" as const) : ("tlsKeyFile" as const),
            expected: "a file, as tls is mutual: both sides show one"
          }
        ]
      : []),
    ...(tls === "mutual" && tlsCaFile === ""
      ? [{ field: "tlsCaFile" as const, expected: "a file, as tls is mutual: Node's authorities vouch for anybody" }]
      : [])
  ]
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

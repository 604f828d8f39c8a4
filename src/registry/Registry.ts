import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import type { AnyApi, Client, ClientOptions, PublicMethods } from "../grpc/Api.ts"
import * as Grpc from "../grpc/Grpc.ts"
import type { GrpcClient } from "../grpc/GrpcClient.ts"
import type { GrpcError } from "../grpc/GrpcError.ts"
import { GrpcServer } from "../grpc/GrpcServer.ts"
import type { Endpoint, Resolver } from "../grpc/Resolver.ts"
import { advertised, isDialable } from "./internal/address.ts"
import type { RegistryError } from "./RegistryError.ts"

/** Section `etcd`: the members of the store, and how they are talked to. */
export const EtcdConfig = Config.section(
  "etcd",
  {
    endpoints: Schema.NonEmptyArray(Config.Address).pipe(
      Config.withDefault(["127.0.0.1:2379"]),
      Schema.annotate({ description: "Addresses of the members" })
    ),
    dialTimeout: Config.Seconds.pipe(
      Config.withDefault(5),
      Schema.annotateKey({ description: "How long a start without any member goes on trying, in seconds" })
    ),
    requestTimeout: Config.Seconds.pipe(
      Config.withDefault(2),
      Schema.annotateKey({
        description:
          "How long one request to a member may take, connecting included; then the next member is asked, in seconds"
      })
    ),
    username: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({ description: "Name of the user, where etcd asks for one; nobody when empty" })
    ),
    password: Config.Secret.pipe(Config.withDefault(""), Schema.annotate({ description: "Password of the user" })),
    tls: Schema.Literals(["disable", "server", "mutual"]).pipe(
      Config.withDefault("disable"),
      Schema.annotate({ description: "Plain text, members that prove who they are, or we too" })
    ),
    tlsCaFile: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({ description: "PEM file with the authorities of the members; those of Node when empty" })
    ),
    tlsCertFile: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({ description: "PEM file with our certificate and its chain" })
    ),
    tlsKeyFile: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({ description: "PEM file with the key of our certificate" })
    )
  },
  ({ dialTimeout, password, requestTimeout, tls, tlsCertFile, tlsKeyFile }, env) => [
    ...(env === "prod" && tls === "disable" && Redacted.value(password) !== ""
      ? [{ field: "tls" as const, expected: "server or mutual in prod, as the password would go in plain text" }]
      : []),
    ...(["dialTimeout", "requestTimeout"] as const)
      .filter((field) => {
        const seconds = Duration.toSeconds({ dialTimeout, requestTimeout }[field])
        return seconds < 0.05 || seconds > 60
      })
      .map((field) => ({ field, expected: "0.05 to 60 seconds" })),
    ...(tls === "mutual" && (tlsCertFile === "" || tlsKeyFile === "")
      ? [
          {
            field: tlsCertFile === "" ? ("tlsCertFile" as const) : ("tlsKeyFile" as const),
            expected: "a file, as tls is mutual: both sides show one"
          }
        ]
      : [])
  ]
)

/** The values of {@link EtcdConfig}. */
export type EtcdSettings = typeof EtcdConfig.schema.Type

const InstanceText = Schema.String.check(
  Schema.makeFilter((text) => /^[A-Za-z0-9._-]{1,128}=/.test(text) && isDialable(text.slice(text.indexOf("=") + 1)), {
    expected: "an instance as name=host:port"
  })
)

/** Section `registry`: how this process is found, and how it finds others. */
export const RegistryConfig = Config.section(
  "registry",
  {
    ttl: Config.Seconds.pipe(
      Config.withDefault(10),
      Schema.annotateKey({ description: "How long an entry outlives a process that died, in whole seconds, 2 to 3600" })
    ),
    advertise: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({
        description:
          "Where others reach this process, host or host:port; found out when empty: the bound address, or that of the first network interface"
      })
    ),
    required: Schema.Boolean.pipe(
      Config.withDefault(true),
      Schema.annotate({
        description: "Whether a start without etcd fails; when false it serves unregistered, and goes on trying"
      })
    ),
    weight: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 })).pipe(
      Config.withDefault(1),
      Schema.annotate({ description: "Shares of the calls that this instance takes, 1 to 100" })
    ),
    zone: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({ description: "Where this instance runs, told to others as metadata" })
    ),
    version: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({ description: "What this instance runs, told to others as metadata" })
    ),
    resync: Config.Seconds.pipe(
      Config.withDefault(60),
      Schema.annotateKey({
        description: "How often the whole list is read again beside the changes, in seconds, 1 to 60"
      })
    ),
    panicThreshold: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })).pipe(
      Config.withDefault(0.5),
      Schema.annotate({
        description:
          "When more than this share of 3 or more instances vanishes at once, they are still called for another ttl; 1 for never"
      })
    ),
    instances: Schema.Array(InstanceText).pipe(
      Config.withDefault([]),
      Schema.annotate({
        description: "The instances of RegistryStatic, each as `name=host:port`, such as game-service=10.0.0.5:50051"
      })
    )
  },
  ({ resync, ttl }) => [
    ...(Number.isInteger(Duration.toSeconds(ttl)) && Duration.toSeconds(ttl) >= 2 && Duration.toSeconds(ttl) <= 3600
      ? []
      : [{ field: "ttl" as const, expected: "2 to 3600 whole seconds" }]),
    ...(Duration.toSeconds(resync) >= 1 && Duration.toSeconds(resync) <= 60
      ? []
      : [{ field: "resync" as const, expected: "1 to 60 seconds" }])
  ]
)

/** The values of {@link RegistryConfig}. */
export type RegistrySettings = typeof RegistryConfig.schema.Type

/**
 * An instance of a service.
 *
 * - `name`: of the service, as in the key of etcd: 1 to 128 letters, digits, `.`, `_` and `-`
 * - `address`: `host:port` that others can dial: a name of at most 253 letters, digits, `-` and `.`, an IPv4 address, or
 *   an IPv6 address in brackets, never that of all interfaces (0.0.0.0 or [::], in any spelling); port 1 to 65535
 * - `metadata`: what it says of itself, at most 63 entries and 8 KB in all; `weight`, `zone`, `version` and `keepalive`
 *   are known to our clients, see {@link Endpoint}
 */
export interface Instance {
  readonly name: string
  readonly address: string
  readonly metadata?: Readonly<Record<string, string>>
}

/**
 * How a registration is.
 *
 * - `Registered`: others find it; `revision` is that of its entry
 * - `Invisible`: it serves and nobody new finds it: the store does not answer, or its entry is gone and is being put
 *   again; `since` in milliseconds of the epoch
 * - `Lost`: another process has registered the same address, and keeps it; it is registered again when that one leaves
 * - `Paused`: it was taken out by {@link Registration.pause}
 */
export type RegistrationState =
  | { readonly _tag: "Registered"; readonly revision: bigint }
  | { readonly _tag: "Invisible"; readonly since: number; readonly detail: string }
  | { readonly _tag: "Lost"; readonly detail: string }
  | { readonly _tag: "Paused" }

/** An instance that is registered, until the scope that it was registered in ends. */
export interface Registration {
  readonly instance: Instance
  readonly state: Effect.Effect<RegistrationState>
  /** The state now and after every change. */
  readonly changes: Stream.Stream<RegistrationState>
  /** Takes the instance out, for Go readers too, and keeps it out until {@link resume}: calls on their way go on. */
  readonly pause: Effect.Effect<void, RegistryError>
  /** Puts it back. Without effect when it is not paused. */
  readonly resume: Effect.Effect<void, RegistryError>
}

/**
 * What is known of the instances of a service.
 *
 * - `revision`: that of the store which the list agrees with; it never goes back
 * - `endpoints`: sorted by address; the values that cannot be read are left out
 * - `isStale`: the store does not answer, and this is what was known last
 * - `confirmedAt`: when the list was last known to agree with the store, in milliseconds of the epoch: its age
 * - `skipped`: how many entries were left out
 * - `held`: how many endpoints of the list are gone and are kept by `registry.panic_threshold`
 */
export interface Endpoints {
  readonly name: string
  readonly revision: bigint
  readonly endpoints: ReadonlyArray<Endpoint>
  readonly isStale: boolean
  readonly confirmedAt: number
  readonly skipped: number
  readonly held: number
}

/** Where the instances of all services are, shared by all processes. */
export class Registry extends Context.Service<
  Registry,
  {
    /**
     * Registers an instance for as long as the scope lasts: an entry on a lease of its own, kept alive, and put again for
     * ever after any loss. Its state is also a component of health, `registry`, and a metric. With the scope the entry is
     * deleted, before anything that was acquired earlier is released; where the store does not answer it ends with the
     * lease.
     *
     * Waits until the instance is registered; where `registry.required` is false it does not wait for a store that is
     * away. Fails with `InvalidInstance`, `InvalidName`, `Unavailable`, `Refused` or `Closed`.
     */
    readonly register: (instance: Instance) => Effect.Effect<Registration, RegistryError, Scope.Scope>
    /**
     * The instances of a service as the store has them now. Fails with `InvalidName`, `Unavailable`, `Refused` or
     * `Closed`.
     */
    readonly discover: (name: string) => Effect.Effect<Endpoints, RegistryError>
    /**
     * The instances of a service, now and after every change of them or of `isStale`, for ever. All watchers of a name
     * share one view, which lives as long as one of them and a little longer. It waits for the first list while the store
     * is away. The stream ends when the room closes. Fails with `InvalidName`.
     */
    readonly watch: (name: string) => Stream.Stream<Endpoints, RegistryError>
    /** What a client calls: the endpoints of {@link watch}, one Resolver for each name. A wrong name has none. */
    readonly resolver: (name: string) => Resolver
  }
>()("xdooria/registry/Registry") {
  /**
   * Registers the {@link GrpcServer} of this process, with the metadata of section `registry` and `keepalive`, which our
   * servers allow. To be provided with the layer that serves, so that it is registered after that listens and gone
   * before that drains:
   *
   * ```ts
   * Registry.layerSelf("game-service").pipe(Layer.provideMerge(GrpcServer.serve(GameHandlers)))
   * ```
   *
   * - `metadata`: added to it
   *
   * Fails as {@link register}, and with NotServing when nothing serves.
   */
  static readonly layerSelf = (
    name: string,
    metadata: Readonly<Record<string, string>> = {}
  ): Layer.Layer<never, RegistryError | GrpcError | InvalidConfig, Registry | GrpcServer> =>
    Layer.effectDiscard(
      Effect.gen(function* () {
        const settings = yield* Config.get(RegistryConfig)
        const server = yield* GrpcServer
        const registry = yield* Registry
        const address = advertised(yield* server.address, settings.advertise)
        const own = { weight: String(settings.weight), zone: settings.zone, version: settings.version }
        const told = Object.entries({ keepalive: "true", ...own, ...metadata }).filter(([, value]) => value !== "")
        yield* registry.register({ name, address, metadata: Object.fromEntries(told) })
      })
    )

  /**
   * A client of a service that calls its live instances, wherever they are. As `Grpc.client`, but for the target, which is
   * the `service` of the api.
   */
  static readonly client = <A extends AnyApi>(
    api: A,
    options: Omit<ClientOptions, "target"> = {}
  ): Effect.Effect<Client<A>, GrpcError, Registry | GrpcClient | Scope.Scope> =>
    Effect.flatMap(Registry, (registry) => Grpc.client(api, { ...options, target: registry.resolver(api.service) }))

  /**
   * Serves a service by passing its calls on to its live instances, wherever they are. As `Grpc.forward`, but for the
   * target, which is the `service` of the api.
   */
  static readonly forward = <A extends AnyApi>(
    api: A,
    options: Omit<ClientOptions, "target"> = {}
  ): Grpc.Handlers<
    GrpcError,
    Registry | Grpc.ForwardServices<A>,
    keyof A["definition"] & string,
    PublicMethods<A>
  > => ({
    ...Grpc.forward(api, options),
    build: Effect.flatMap(
      Registry,
      (registry) => Grpc.forward(api, { ...options, target: registry.resolver(api.service) }).build
    )
  })
}

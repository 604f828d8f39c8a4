import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Stream from "effect/Stream"
import { type ConfigIssue, InvalidConfig, Rejected } from "./ConfigError.ts"

/** The environments that a service runs in. */
export const Environment = Schema.Literals(["dev", "test", "prod"])

/** See {@link Environment}. */
export type Environment = typeof Environment.Type

/** The schema of a section: a struct without requirements, decoded from a YAML mapping. */
export type SectionSchema<A> = Schema.Codec<A, unknown> & { readonly fields: Schema.Struct.Fields }

/**
 * What a section's own check finds wrong: the field, what it should be, and what to do. The value itself is added by
 * the loader, so that a secret stays one.
 */
export interface SectionFault<Field extends string = string> {
  readonly field: Field
  readonly expected: string
  readonly hint?: string
}

/**
 * What one room, or a service of yours, reads: the key of its YAML section, its schema, and the rules between its
 * fields. Make one with {@link section}.
 */
export interface ConfigSection<A> {
  readonly key: string
  readonly schema: SectionSchema<A>
  check(values: A, env: Environment): ReadonlyArray<SectionFault>
}

/**
 * Declares a section. Field names are camelCase here and snake_case on the outside: `maxConns` is `max_conns` in YAML
 * and `XDOORIA_DATABASE_MAX_CONNS` in the environment. A field is a text, a number, a boolean, a choice of literals or
 * a list of these; its `description` annotation is its line in config/README.md.
 *
 * - `key`: the name of the YAML mapping, lower case letters, digits and `_`
 * - `fields`: as for `Schema.Struct`; a field with a default is optional on the outside, any other must be given
 * - `check`: rules between fields, and what `prod` does not allow; it runs when every field by itself is right
 */
export const section = <const Fields extends Schema.Struct.Fields>(
  key: string,
  fields: Fields,
  check: (
    values: Schema.Struct<Fields>["Type"],
    env: Environment
  ) => ReadonlyArray<SectionFault<Extract<keyof Fields, string>>> = () => []
): ConfigSection<Schema.Struct<Fields>["Type"]> => ({
  key,
  schema: Schema.Struct(fields) as unknown as SectionSchema<Schema.Struct<Fields>["Type"]>,
  check
})

/** A field's default, in the form that YAML would have: `Schema.Port.pipe(Config.withDefault(50051))`. */
export const withDefault =
  <S extends Schema.Constraint>(value: S["Encoded"]) =>
  (schema: S): Schema.withDecodingDefaultKey<S> =>
    Schema.withDecodingDefaultKey<S>(Effect.succeed(value))(schema)

/** The annotation that {@link ignored} sets. */
export const ignoredKey = "xdooria/config/ignored"

/** A field that is accepted and not used: a value for it is a warning that says `why`. */
export const ignored =
  (why: string) =>
  <S extends Schema.Top>(schema: S): S["Rebuild"] =>
    Schema.annotateKey<S>({ [ignoredKey]: why })(schema)

/** A port to connect to, 1 to 65535. A port to listen on is `Schema.Port`, where 0 takes a free one. */
export const Port = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65535 }))

/** `host:port`, with a port from 1 to 65535; an IPv6 address stands in brackets. */
export const Address = Schema.String.check(
  Schema.makeFilter((address) => isAddress(address), { expected: "an address as host:port" })
)

const isAddress = (address: string): boolean => {
  const match = /^(?:[^\s:/@[\]]+|\[[\da-f:.]+\]):(\d{1,5})$/i.exec(address)
  return match !== null && Number(match[1]) >= 1 && Number(match[1]) <= 65535
}

/** A length of time, given as a number of seconds, 0 or more; fractions are allowed. The plan's unit. */
export const Seconds = Schema.Finite.check(
  Schema.makeFilter((seconds) => seconds >= 0, { expected: "a number of seconds, 0 or more" })
).pipe(
  Schema.decodeTo(Schema.Duration, {
    decode: SchemaGetter.transform((seconds: number) => Duration.seconds(seconds)),
    encode: SchemaGetter.transform((duration: Duration.Duration) => Duration.toSeconds(duration))
  })
)

/** A secret: a string outside, `Redacted` from here on, so that no log, error or dump shows it. */
export const Secret = Schema.RedactedFromValue(Schema.String)

/**
 * Section `server`, what the process is.
 *
 * - `name`: the service's name in the registry, in logs and in metrics
 * - `host`: the address that servers of this process bind to
 * - `port`: the gRPC port; 0 takes a free one
 * - `env`: must be the environment that the process was started for
 */
export const ServerConfig = section("server", {
  name: Schema.NonEmptyString.pipe(
    withDefault("xdooria"),
    Schema.annotate({ description: "Name of the service in the registry, in logs and in metrics" })
  ),
  host: Schema.NonEmptyString.pipe(
    withDefault("127.0.0.1"),
    Schema.annotate({ description: "Address that the servers of this process bind to" })
  ),
  port: Schema.Port.pipe(
    withDefault(50051),
    Schema.annotate({ description: "Port of the gRPC server; 0 takes a free one" })
  ),
  env: Environment.pipe(
    withDefault("dev"),
    Schema.annotate({ description: "The environment; when given, it must be the one that the process is started for" })
  )
})

/** The configuration in force, as the rooms see it. Provided by ConfigLive or ConfigTest. */
export interface CurrentConfig {
  /** The name of the service that the configuration was read for. */
  readonly service: string
  readonly env: Environment
  /** The decoded values of a section. */
  readonly get: <A>(section: ConfigSection<A>) => Effect.Effect<A, InvalidConfig>
  /** The decoded values of a section, now and after every change of them. */
  readonly changes: <A>(section: ConfigSection<A>) => Stream.Stream<A, InvalidConfig>
  /**
   * Where the value at a dotted path, such as `database.max_conns`, came from: `default`, a file with its line, or
   * `env NAME`. None for a path that no section has.
   */
  readonly sourceOf: (path: string) => Option.Option<string>
  /** What was accepted but will not do what its writer hopes: ignored keys, unknown variables. LoggerLive logs them. */
  readonly warnings: ReadonlyArray<ConfigIssue>
}

const defaultsOf = <A>(section: ConfigSection<A>): Effect.Effect<A, InvalidConfig> =>
  Schema.decodeEffect(section.schema)({}).pipe(
    Effect.mapError(
      (error) =>
        new InvalidConfig({
          reason: new Rejected({
            issues: [{ source: "default", path: section.key, expected: error.message, actual: "nothing" }]
          })
        })
    )
  )

/**
 * The configuration of the running fiber. Without ConfigLive or ConfigTest every section has its defaults, which is
 * what a unit test of a room wants.
 */
export const Current = Context.Reference<CurrentConfig>("xdooria/config/Current", {
  defaultValue: () => ({
    service: "xdooria",
    env: "dev",
    get: defaultsOf,
    changes: (section) => Stream.fromEffect(defaultsOf(section)),
    sourceOf: () => Option.some("default"),
    warnings: []
  })
})

/** Reads a section. Fails with InvalidConfig when a required value is missing and no ConfigLive was provided. */
export const get = <A>(section: ConfigSection<A>): Effect.Effect<A, InvalidConfig> =>
  Effect.flatMap(Effect.service(Current), (current) => current.get(section))

/** A section's values now and after every change, each decoded and different from the one before. */
export const changes = <A>(section: ConfigSection<A>): Stream.Stream<A, InvalidConfig> =>
  Stream.unwrap(Effect.map(Effect.service(Current), (current) => current.changes(section)))

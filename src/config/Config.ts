import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Stream from "effect/Stream"
import { InvalidConfig, Rejected } from "./ConfigError.ts"

/** The environments that a service runs in. */
export const Environment = Schema.Literals(["dev", "test", "prod"])

/** See {@link Environment}. */
export type Environment = typeof Environment.Type

/** The schema of a section: a struct without requirements, decoded from a YAML mapping. */
export type SectionSchema<A> = Schema.Codec<A, unknown> & { readonly fields: Schema.Struct.Fields }

/**
 * What one room, or a service of yours, reads: the key of its YAML section and the schema of it. Make one with
 * {@link section}.
 */
export interface ConfigSection<A> {
  readonly key: string
  readonly schema: SectionSchema<A>
}

/**
 * Declares a section. Field names are camelCase here and snake_case on the outside: `maxConns` is `max_conns` in YAML
 * and `XDOORIA_DATABASE_MAX_CONNS` in the environment.
 *
 * - `key`: the name of the YAML mapping, lower case letters, digits and `_`
 * - `fields`: as for `Schema.Struct`; a field with a default is optional on the outside, any other must be given
 */
export const section = <const Fields extends Schema.Struct.Fields>(
  key: string,
  fields: Fields
): ConfigSection<Schema.Struct<Fields>["Type"]> => ({
  key,
  schema: Schema.Struct(fields) as unknown as SectionSchema<Schema.Struct<Fields>["Type"]>
})

/** A field's default, in the form that YAML would have: `Schema.Port.pipe(Config.withDefault(50051))`. */
export const withDefault =
  <S extends Schema.Constraint>(value: S["Encoded"]) =>
  (schema: S): Schema.withDecodingDefaultKey<S> =>
    Schema.withDecodingDefaultKey<S>(Effect.succeed(value))(schema)

/** A length of time, given as a number of seconds, 0 or more; fractions are allowed. The plan's unit. */
export const Seconds = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)).pipe(
  Schema.annotate({ expected: "a number of seconds, 0 or more" }),
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
  name: Schema.NonEmptyString.pipe(withDefault("xdooria")),
  host: Schema.NonEmptyString.pipe(withDefault("127.0.0.1")),
  port: Schema.Port.pipe(withDefault(50051)),
  env: Environment.pipe(withDefault("dev"))
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
  /** Where the value at a dotted path came from: `default`, a file, or `env NAME`. */
  readonly sourceOf: (path: string) => Option.Option<string>
}

const defaultsOf = <A>(section: ConfigSection<A>): Effect.Effect<A, InvalidConfig> =>
  Schema.decodeUnknownEffect(section.schema)({}).pipe(
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
    sourceOf: () => Option.some("default")
  })
})

/** Reads a section. Fails with InvalidConfig when a required value is missing and no ConfigLive was provided. */
export const get = <A>(section: ConfigSection<A>): Effect.Effect<A, InvalidConfig> =>
  Effect.flatMap(Effect.service(Current), (current) => current.get(section))

/** A section's values now and after every change, each decoded and different from the one before. */
export const changes = <A>(section: ConfigSection<A>): Stream.Stream<A, InvalidConfig> =>
  Stream.unwrap(Effect.map(Effect.service(Current), (current) => current.changes(section)))

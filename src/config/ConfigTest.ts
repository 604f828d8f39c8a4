import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ConfigSection, CurrentConfig, Environment } from "./Config.ts"
import type { InvalidConfig } from "./ConfigError.ts"
import { contextOf, decodeDocument, envOf, makeCurrent } from "./internal/current.ts"
import type { Document } from "./internal/yaml.ts"

/** Values as YAML would have them: sections by their key, and in each the values by their snake_case key. */
export type ConfigValues = Readonly<Record<string, Readonly<Record<string, unknown>>>>

/**
 * - `service`: the name of the service; `test`
 * - `env`: the environment; what `server.env` says, else `test`
 * - `sections`: those of the service, beside the rooms'
 * - `environment`: the variables; none, and never those of the process
 */
export interface ConfigTestOptions {
  readonly service?: string
  readonly env?: Environment
  readonly sections?: ReadonlyArray<ConfigSection<unknown>>
  readonly environment?: Readonly<Record<string, string | undefined>>
}

const load = (values: ConfigValues, options: ConfigTestOptions) => {
  const document: Document = { source: "values", values, sourceOf: () => "values" }
  const env = options.env ?? envOf(document) ?? "test"
  const environment = options.environment ?? {}
  const service = options.service ?? "test"
  return Effect.map(
    decodeDocument(document, { ...options, service, environment, env, envSource: "default" }),
    (decoded) => ({ current: makeCurrent(service, env, decoded), decoded })
  )
}

/** The configuration that {@link ConfigTest} provides. Fails with `Rejected` as ConfigLive does. */
export const makeTest = (
  values: ConfigValues,
  options: ConfigTestOptions = {}
): Effect.Effect<CurrentConfig, InvalidConfig> => Effect.map(load(values, options), ({ current }) => current)

/**
 * A configuration from values, for tests: `ConfigTest({ database: { max_conns: 2 } })`. It is decoded as ConfigLive
 * decodes a file, with the same rules and errors.
 */
export const ConfigTest = (values: ConfigValues, options: ConfigTestOptions = {}): Layer.Layer<never, InvalidConfig> =>
  Layer.effectContext(Effect.map(load(values, options), ({ current, decoded }) => contextOf(current, decoded)))

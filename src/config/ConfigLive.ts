import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { basename, join } from "node:path"
import { type ConfigSection, type CurrentConfig, Environment } from "./Config.ts"
import { type ConfigIssue, InvalidConfig, Rejected } from "./ConfigError.ts"
import { unknownServices } from "./internal/decode.ts"
import { contextOf, decodeDocument, envOf, makeCurrent } from "./internal/current.ts"
import { readText } from "./internal/file.ts"
import { actualText, hintFor, kindOf } from "./internal/leaf.ts"
import { type Document, parse } from "./internal/yaml.ts"

/**
 * Where a configuration is read from.
 *
 * - `env`: the environment; without it `XDOORIA_ENV`, without that `dev`
 * - `directory`: has `<env>/<service>.yaml`; `config` in the current folder, so that a program finds its own
 *   configuration there and never one that was installed with a package
 * - `file`: this file instead
 * - `sections`: those of the service, beside the rooms'
 * - `environment`: the variables; those of the process
 */
export interface ConfigOptions {
  readonly env?: Environment
  readonly directory?: string
  readonly file?: string
  readonly sections?: ReadonlyArray<ConfigSection<unknown>>
  readonly environment?: Readonly<Record<string, string | undefined>>
}

/**
 * Reads the configuration of a service, once: the sections' defaults, under the YAML file, under the variables
 * `XDOORIA_<SECTION>_<KEY>`, under those of this service alone, `XDOORIA_<SERVICE>__<SECTION>_<KEY>`. An empty variable is
 * none; a list is written with commas.
 *
 * Fails with `Unreadable` when the file is absent, is no regular file, is over 1 MB or is not UTF-8, and with
 * `Rejected`, which lists every fault of every section, when it is not YAML, has a key that no section has, or a value
 * that its section does not take, be it only in this environment.
 */
export const makeLive = (service: string, options: ConfigOptions = {}): Effect.Effect<CurrentConfig, InvalidConfig> =>
  Effect.map(load(service, options), ({ current }) => current)

/**
 * The configuration of a service, for {@link Config.get} and, as the same merged values, for Effect's `Config`. See
 * {@link makeLive} for its sources and errors.
 *
 * Call it once, in the composition root: layers are shared by reference, so a second call reads a second time.
 */
export const ConfigLive = (service: string, options: ConfigOptions = {}): Layer.Layer<never, InvalidConfig> =>
  Layer.effectContext(Effect.map(load(service, options), ({ current, decoded }) => contextOf(current, decoded)))

/**
 * Reads one file as the service would that is started with it, for `xdooria config check`. Without `env` the
 * environment is what the file says in `server.env`, else `dev`. Fails as {@link makeLive} does.
 */
export const checkFile = (
  file: string,
  options: Omit<ConfigOptions, "file" | "directory"> = {}
): Effect.Effect<CurrentConfig, InvalidConfig> =>
  Effect.gen(function* () {
    const document = yield* readDocument(file)
    const env = options.env ?? envOf(document) ?? "dev"
    const environment = options.environment ?? processEnvironment()
    const service = basename(file, ".yaml")
    const decoded = yield* decodeDocument(document, { ...options, service, environment, env, envSource: "the program" })
    return makeCurrent(service, env, decoded)
  })

/**
 * What is wrong with the variables of single services, for a program that runs several: `XDOORIA_GAEM__SERVER_PORT` is read
 * by none of them. These are warnings, since services of other programs may share the environment.
 *
 * - `services`: the names of all that the program knows
 * - `environment`: the variables; those of the process
 */
export const checkServices = (
  services: ReadonlyArray<string>,
  environment: Readonly<Record<string, string | undefined>> = processEnvironment()
): ReadonlyArray<ConfigIssue> => unknownServices(services, environment)

/** The one place where the variables of the process are read. */
const processEnvironment = (): Readonly<Record<string, string | undefined>> => process.env

const load = Effect.fnUntraced(function* (service: string, options: ConfigOptions) {
  const environment = options.environment ?? processEnvironment()
  const { env, envSource } = yield* chooseEnv(options.env, environment["XDOORIA_ENV"])
  const document = yield* readDocument(options.file ?? join(options.directory ?? "config", env, `${service}.yaml`))
  const decoded = yield* decodeDocument(document, { ...options, service, environment, env, envSource })
  return { current: makeCurrent(service, env, decoded), decoded }
})

const chooseEnv = (given: Environment | undefined, variable: string | undefined) => {
  if (given !== undefined) return Effect.succeed({ env: given, envSource: "the program" })
  if (variable === undefined || variable === "") return Effect.succeed({ env: "dev" as const, envSource: "default" })
  const env = Environment.literals.find((literal) => literal === variable)
  if (env !== undefined) return Effect.succeed({ env, envSource: "env XDOORIA_ENV" })
  const kind = kindOf(Environment.ast)
  const hint = hintFor(kind, variable)
  const issue = {
    source: "env XDOORIA_ENV",
    path: "server.env",
    expected: kind.type,
    actual: actualText(variable, kind, false)
  }
  return rejected([hint === undefined ? issue : { ...issue, hint }])
}

const rejected = (issues: ReadonlyArray<ConfigIssue>): Effect.Effect<never, InvalidConfig> =>
  Effect.fail(new InvalidConfig({ reason: new Rejected({ issues }) }))

const absentHint = "create it, start in the folder that has config/, or choose another environment by XDOORIA_ENV"

const readDocument = (file: string): Effect.Effect<Document, InvalidConfig> =>
  Effect.flatMap(readText(file, absentHint), (text) => {
    const document = parse(text, file)
    return Result.isSuccess(document) ? Effect.succeed(document.success) : rejected([document.failure])
  })

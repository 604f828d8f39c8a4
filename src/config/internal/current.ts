import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Result from "effect/Result"
import { type ConfigSection, Current, type CurrentConfig, Environment } from "../Config.ts"
import { InvalidConfig, Rejected } from "../ConfigError.ts"
import { sections as roomSections } from "../sections.ts"
import { decode, type Decoded, type Sources } from "./decode.ts"
import type { Document } from "./yaml.ts"

/** Decodes a document under the variables, with the rooms' sections and those of the service. */
export const decodeDocument = (
  document: Document,
  options: Omit<Sources, "document" | "sections"> & { readonly sections?: ReadonlyArray<ConfigSection<unknown>> }
): Effect.Effect<Decoded, InvalidConfig> => {
  const decoded = decode({ ...options, document, sections: [...roomSections, ...(options.sections ?? [])] })
  return Result.isSuccess(decoded)
    ? Effect.succeed(decoded.success)
    : Effect.fail(new InvalidConfig({ reason: decoded.failure }))
}

/** The environment that a document says it is for. */
export const envOf = ({ values }: Document): Environment | undefined => {
  const given = (values as { readonly server?: { readonly env?: unknown } } | null)?.server?.env
  return Environment.literals.find((env) => env === given)
}

/** A decoded configuration as the rooms see it. */
export const makeCurrent = (service: string, env: Environment, decoded: Decoded): CurrentConfig => {
  const get = <A>(section: ConfigSection<A>): Effect.Effect<A, InvalidConfig> =>
    decoded.values.has(section) ? Effect.succeed(decoded.values.get(section) as A) : Effect.fail(unlisted(section.key))
  return {
    service,
    env,
    get,
    // Stays open: a value that arrives later is a further element.
    changes: (section) => Stream.concat(Stream.fromEffect(get(section)), Stream.never),
    sourceOf: (path) => Option.fromUndefinedOr(decoded.sources.get(path)),
    warnings: decoded.warnings
  }
}

/** The references that a configuration provides: ours, and Effect's ConfigProvider over the merged tree. */
export const contextOf = (current: CurrentConfig, decoded: Decoded): Context.Context<never> =>
  Context.make(Current, current).pipe(
    Context.add(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(decoded.tree, { preserveEmptyStrings: true }))
  )

const unlisted = (key: string): InvalidConfig =>
  new InvalidConfig({
    reason: new Rejected({
      issues: [
        {
          source: "code",
          path: key,
          expected: "a section that the configuration was read with",
          actual: "another one",
          hint: "give it in options.sections where the configuration is read"
        }
      ]
    })
  })

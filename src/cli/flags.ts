import * as Flag from "effect/cli/Flag"
import * as EffectConfig from "effect/Config"
import * as Schema from "effect/Schema"
import { Environment } from "../config/Config.ts"
import { type ServiceName, serviceNames } from "../services/services.ts"

/** Which configuration: `config/<env>/`. */
export const env = Flag.Literals("env", Environment.literals).pipe(
  Flag.withDescription("Which configuration to read: config/<env>/<service>.yaml"),
  Flag.withFallbackConfig(EffectConfig.schema(Environment, "XDOORIA_ENV")),
  Flag.withDefault<Environment>("dev")
)

const ServiceList = Schema.String.pipe(
  Schema.check(
    Schema.makeFilter((text) => text.split(",").every((name) => serviceNames.some((known) => known === name)), {
      expected: `names from ${serviceNames.join(", ")}, separated by commas`
    })
  )
)

/** Which services, each once, in the order of their start. */
export const services = Flag.String("services").pipe(
  Flag.withDescription(`Which services, separated by commas: ${serviceNames.join(", ")}`),
  Flag.withSchema(ServiceList),
  Flag.map((text): ReadonlyArray<ServiceName> => serviceNames.filter((name) => text.split(",").includes(name))),
  Flag.withDefault(serviceNames)
)

import * as Flag from "effect/cli/Flag"
import * as EffectConfig from "effect/Config"
import { Environment } from "../config/Config.ts"
import { type ServiceName, serviceNames } from "../services/services.ts"

/** The service that players call, for all others. */
export const gateway: ServiceName = "gateway"

/** Where `npm start` serves, and so where a call goes that names no address. */
export const devAddress = "127.0.0.1:50051"

/** Which configuration: `config/<env>/`. */
export const env = Flag.Literals("env", Environment.literals).pipe(
  Flag.withDescription(
    "Which configuration to read: config/<env>/<service>.yaml; XDOORIA_ENV, else dev, when not given"
  ),
  Flag.withFallbackConfig(EffectConfig.schema(Environment, "XDOORIA_ENV")),
  Flag.withDefault<Environment>("dev")
)

const isService = (name: string): boolean => serviceNames.some((known) => known === name)

/** Which services, each once, in the order of their start. */
export const services = Flag.String("services").pipe(
  Flag.withDescription(`Which services, separated by commas; all when not given: ${serviceNames.join(", ")}`),
  Flag.filter(
    (text) => text.split(",").every(isService),
    (text) => `${text.split(",").find((name) => !isService(name))} is none of the services: ${serviceNames.join(", ")}`
  ),
  Flag.map((text): ReadonlyArray<ServiceName> => serviceNames.filter((name) => text.split(",").includes(name))),
  Flag.withDefault(serviceNames)
)

import * as Effect from "effect/Effect"
import type { Instance } from "../Registry.ts"
import { InvalidInstance, InvalidName, RegistryError } from "../RegistryError.ts"
import { isDialable } from "./address.ts"
import { instanceKey, mostMetadata } from "./codec.ts"

/** How large the metadata of an instance may be in all, in bytes of UTF-8. */
const mostBytes = 8 * 1024

const isName = (name: string): boolean => /^[A-Za-z0-9._-]{1,128}$/.test(name)

/** Fails unless a text can be the name of a service, or of an election: one segment of a path. */
export const checkName = (name: string): Effect.Effect<void, RegistryError> =>
  isName(name)
    ? Effect.void
    : Effect.fail(
        new RegistryError({
          reason: new InvalidName({ problem: "it is not 1 to 128 letters, digits, '.', '_' or '-'" })
        })
      )

const problemOf = ({ address, metadata = {} }: Instance): string | undefined => {
  if (!isDialable(address)) return "its address is no host:port that others can dial"
  const members = Object.entries(metadata)
  const texts = members.flat()
  if (members.length >= mostMetadata) return `its metadata has ${mostMetadata} entries or more`
  if (instanceKey in metadata) return `the registry itself gives "${instanceKey}" in its metadata`
  if (texts.some((text) => !text.isWellFormed())) return "its metadata is not well formed text"
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0) > mostBytes
    ? `its metadata has more than ${mostBytes} bytes`
    : undefined
}

/** Fails unless others can make use of an instance. */
export const checkInstance = (instance: Instance): Effect.Effect<void, RegistryError> =>
  Effect.flatMap(checkName(instance.name), () => {
    const problem = problemOf(instance)
    return problem === undefined
      ? Effect.void
      : Effect.fail(new RegistryError({ reason: new InvalidInstance({ problem }) }))
  })

import * as Effect from "effect/Effect"
import { constants, open } from "node:fs/promises"
import type { ConnectionOptions } from "node:tls"
import { InvalidConfig, Unreadable } from "../config/ConfigError.ts"

/** All authorities that a system knows are a fourth of that. */
const maxBytes = 1024 * 1024

/**
 * Reads a PEM file. Never waits for a writer: a pipe or a device is refused, not read.
 *
 * - `key`: what the file is called in the configuration
 * - `content`: what should be in it, such as `certificates`
 *
 * Fails when it cannot be read, is no regular file, or is larger than 1 MB.
 */
export const readPem = (path: string, key: string, content: string): Effect.Effect<Buffer, InvalidConfig> => {
  const unreadable = (actual: string) =>
    new InvalidConfig({
      reason: new Unreadable({
        source: path,
        expected: `a PEM file with ${content}, 1 MB at most (${key})`,
        actual
      })
    })
  const attempt = <A>(run: () => Promise<A>) =>
    Effect.tryPromise({
      try: run,
      catch: (error) => unreadable((error as NodeJS.ErrnoException).code ?? "an error")
    })
  const opened = Effect.acquireRelease(
    attempt(() => open(path, constants.O_RDONLY | constants.O_NONBLOCK)),
    (handle) =>
      Effect.ignore(
        Effect.timeout(
          attempt(() => handle.close()),
          "1 second"
        )
      )
  )
  return Effect.scoped(
    Effect.gen(function* () {
      const handle = yield* opened
      const stat = yield* attempt(() => handle.stat())
      if (!stat.isFile()) return yield* unreadable("no regular file")
      if (stat.size > maxBytes) return yield* unreadable(`${stat.size} bytes`)
      return yield* attempt(() => handle.readFile())
    })
  )
}

const none: Effect.Effect<undefined> = Effect.as(Effect.void, undefined)

/**
 * What a client of Node's tls module is told; undefined without TLS.
 *
 * - `tls`: no TLS, TLS with any certificate, or TLS with a certificate for the host
 * - `tlsCaFile`: PEM file with the authorities for verify-full; empty for those of Node
 * - `key`: what the file is called in the configuration
 *
 * Fails when the file of authorities cannot be read.
 */
export const tlsOf = (
  { tls, tlsCaFile }: { readonly tls: "disable" | "require" | "verify-full"; readonly tlsCaFile: string },
  key: string
): Effect.Effect<ConnectionOptions | undefined, InvalidConfig> => {
  if (tls === "disable") return none
  if (tls === "require") return Effect.succeed({ rejectUnauthorized: false })
  return tlsCaFile === "" ? Effect.succeed({}) : Effect.map(readPem(tlsCaFile, key, "certificates"), (ca) => ({ ca }))
}

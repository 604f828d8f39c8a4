import * as Effect from "effect/Effect"
import { constants, open } from "node:fs/promises"
import { InvalidConfig, Unreadable } from "../ConfigError.ts"

// A configuration is written by hand.
const maxBytes = 1024 * 1024

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  ENOTDIR: "no such file",
  EACCES: "no permission",
  EPERM: "no permission",
  ELOOP: "a loop of symbolic links",
  EISDIR: "a directory",
  ENXIO: "a socket or device",
  ENAMETOOLONG: "a name that is too long"
}

const expected = "a file of YAML, 1 MB at most"

/** Reads a regular file of text. Never waits for a writer: a pipe is refused, not read. */
export const readText = (path: string, absentHint: string): Effect.Effect<string, InvalidConfig> => {
  const unreadable = (actual: string, hint?: string) =>
    new InvalidConfig({
      reason: new Unreadable({ source: path, expected, actual, ...(hint === undefined ? {} : { hint }) })
    })
  // The edge of node:fs, whose failures are told apart by their code.
  const attempt = <A>(run: () => Promise<A>) =>
    Effect.tryPromise({
      try: run,
      catch: (cause) => {
        const code = (cause as NodeJS.ErrnoException).code ?? "an unknown failure"
        return unreadable(reasons[code] ?? code, code === "ENOENT" || code === "ENOTDIR" ? absentHint : undefined)
      }
    })
  return Effect.scoped(
    Effect.gen(function* () {
      const handle = yield* Effect.acquireRelease(
        attempt(() => open(path, constants.O_RDONLY | constants.O_NONBLOCK)),
        (handle) =>
          Effect.ignore(
            Effect.timeout(
              attempt(() => handle.close()),
              "1 second"
            )
          )
      )
      const stat = yield* attempt(() => handle.stat())
      if (stat.isDirectory()) return yield* unreadable("a directory")
      if (!stat.isFile()) return yield* unreadable("no regular file")
      // By what is read, not by what stat says: a file may grow, and those of /proc say 0.
      const buffer = Buffer.alloc(maxBytes + 1)
      let length = 0
      for (let read = 1; read > 0 && length < buffer.length; length += read) {
        const { bytesRead } = yield* attempt(() => handle.read(buffer, length, buffer.length - length, length))
        read = bytesRead
      }
      if (length > maxBytes) return yield* unreadable(`more than ${maxBytes} bytes`)
      return yield* Effect.try({
        try: () => new TextDecoder("utf-8", { fatal: true }).decode(buffer.subarray(0, length)),
        catch: () => unreadable("bytes that are not UTF-8", "save it as UTF-8")
      })
    })
  )
}

import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { constants, type FileHandle, mkdir, open, stat } from "node:fs/promises"
import { dirname } from "node:path"
import { LoggerError, Unwritable } from "../LoggerError.ts"
import type { Outcome, Target } from "./sink.ts"

// The edge of node:fs: promises, and failures told apart by their code.

const codeOf = (cause: unknown): string => (cause as NodeJS.ErrnoException).code ?? "an unknown failure"

const ignore = (): void => undefined

/**
 * A standard stream. Without a listener its error, such as EPIPE when the reader is gone, would end the process; the
 * one listener stays, for an error may come late. Not a write to the descriptor: while the reader sleeps it would hold a
 * thread, and the process could not end.
 */
export const stream = (out: NodeJS.WriteStream): Target => {
  if (!out.listeners("error").includes(ignore)) out.on("error", ignore)
  return {
    write: (_, lines) =>
      new Promise((resolve) => {
        out.write(lines, (error) => resolve(error ? { written: 0, code: codeOf(error) } : { written: lines.length }))
      })
  }
}

// A pipe without a reader would make open wait.
const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK

const openLog = async (path: string): Promise<FileHandle> => {
  await mkdir(dirname(path), { recursive: true, mode: 0o750 })
  const handle = await open(path, flags, 0o640)
  if ((await handle.stat()).isFile()) return handle
  await handle.close()
  throw Object.assign(new Error(), { code: "no regular file" })
}

/** A file, made with its folder, and made again when it was moved or removed. */
export const file = (path: string): Effect.Effect<Target, LoggerError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.tryPromise({
        try: async () => new LogFile(path, await openLog(path)),
        catch: (cause) => new LoggerError({ reason: new Unwritable({ path, code: codeOf(cause) }) })
      }),
      (log) =>
        Effect.ignore(
          Effect.timeout(
            Effect.promise(() => log.close()),
            "2 seconds"
          )
        )
    ),
    (log): Target => log
  )

class LogFile implements Target {
  readonly #path: string
  #handle: FileHandle

  constructor(path: string, handle: FileHandle) {
    this.#path = path
    this.#handle = handle
  }

  async write(rest: Buffer, lines: Buffer): Promise<Outcome> {
    const isNew = await this.#follow()
    if (typeof isNew === "string") return { written: 0, code: isNew }
    const start = isNew ? rest.length : 0
    const bytes = Buffer.concat([rest, lines]).subarray(start)
    let written = start
    try {
      while (written < start + bytes.length) {
        written += (await this.#handle.write(bytes.subarray(written - start))).bytesWritten
      }
      return { written }
    } catch (cause) {
      return { written, code: codeOf(cause) }
    }
  }

  /** Makes sure that the handle is what the path names; tells whether it is another file now, or why there is none. */
  async #follow(): Promise<boolean | string> {
    try {
      const [named, held] = await Promise.all([stat(this.#path).catch(() => undefined), this.#handle.stat()])
      if (named?.ino === held.ino && named.dev === held.dev) return false
      const next = await openLog(this.#path)
      await this.#handle.close()
      this.#handle = next
      return true
    } catch (cause) {
      return codeOf(cause)
    }
  }

  async close(): Promise<void> {
    await this.#handle.close().catch(() => undefined)
  }
}

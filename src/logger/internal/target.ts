import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { write as writeCallback } from "node:fs"
import { constants, type FileHandle, mkdir, open, stat } from "node:fs/promises"
import { dirname } from "node:path"
import { promisify } from "node:util"
import { LoggerError, Unwritable } from "../LoggerError.ts"
import type { Outcome, Target } from "./sink.ts"

// The edge of node:fs: promises, and failures told apart by their code.

const writeDescriptor = promisify(writeCallback)

const codeOf = (cause: unknown): string => (cause as NodeJS.ErrnoException).code ?? "an unknown failure"

/** Writes all bytes, in as many steps as the system wants. */
const writeAll = async (
  bytes: Buffer,
  step: (bytes: Buffer) => Promise<{ readonly bytesWritten: number }>
): Promise<Outcome> => {
  let written = 0
  try {
    while (written < bytes.length) written += (await step(bytes.subarray(written))).bytesWritten
    return { written }
  } catch (cause) {
    return { written, code: codeOf(cause) }
  }
}

/**
 * A descriptor of the process, such as 1 for stdout. Not `process.stdout`, which blocks the process while the reader of
 * a pipe sleeps, and ends it when the reader is gone.
 */
export const descriptor = (fd: number): Target => ({
  write: (rest, lines) => writeAll(Buffer.concat([rest, lines]), (bytes) => writeDescriptor(fd, bytes))
})

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
    const outcome = await writeAll(bytes, (bytes) => this.#handle.write(bytes))
    return { ...outcome, written: outcome.written + start }
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

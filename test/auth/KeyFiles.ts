// Keys in files.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { KeyObject } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** A key as a file has it. */
export const pemOf = (key: KeyObject): string =>
  key.export({ format: "pem", type: key.type === "private" ? "pkcs8" : "spki" }).toString()

/** Writes files, keys among them, that are gone after the test; gives their paths. */
export const keyFiles = <Name extends string>(
  contents: Readonly<Record<Name, KeyObject | string>>
): Effect.Effect<Readonly<Record<Name, string>>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "xdooria-keys-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
    ),
    (folder) => {
      const paths = Object.entries<KeyObject | string>(contents).map(([name, content]) => {
        writeFileSync(join(folder, name), typeof content === "string" ? content : pemOf(content))
        return [name, join(folder, name)] as const
      })
      return Object.fromEntries(paths) as Record<Name, string>
    }
  )

import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { ConfigIssue, InvalidConfig, Unreadable } from "xdooria/config"

/** A folder that is gone with the scope. */
export const temporaryFolder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "xdooria-config-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** A file with this content that is gone with the scope. */
export const temporaryFile = (content: string | Uint8Array): Effect.Effect<string, never, Scope.Scope> =>
  Effect.map(temporaryFolder, (folder) => {
    const file = join(folder, "game.yaml")
    writeFileSync(file, content)
    return file
  })

/** The issues that a configuration was rejected for. */
export const rejected = <A, R>(
  config: Effect.Effect<A, InvalidConfig, R>
): Effect.Effect<ReadonlyArray<ConfigIssue>, never, R> =>
  Effect.flip(config).pipe(
    Effect.orDie,
    Effect.flatMap(({ reason }) => (reason._tag === "Rejected" ? Effect.succeed(reason.issues) : Effect.die(reason)))
  )

/** Why a configuration could not be read. */
export const unreadable = <A, R>(config: Effect.Effect<A, InvalidConfig, R>): Effect.Effect<Unreadable, never, R> =>
  Effect.flip(config).pipe(
    Effect.orDie,
    Effect.flatMap(({ reason }) => (reason._tag === "Unreadable" ? Effect.succeed(reason) : Effect.die(reason)))
  )

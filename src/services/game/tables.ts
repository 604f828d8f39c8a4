import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Schema from "effect/Schema"
import { fileURLToPath } from "node:url"
import { InvalidConfig, Rejected, Unreadable } from "../../config/ConfigError.ts"

/**
 * Reads a table of config/tables.
 *
 * - `name`: of the file, without `.json`
 * - `rows`: what it must hold
 *
 * Fails with InvalidConfig when it cannot be read or its rows make no sense.
 */
export const readTable = Effect.fnUntraced(function* <A>(name: string, rows: Schema.ConstraintCodec<A, unknown>) {
  const file = fileURLToPath(new URL(`../../../config/tables/${name}.json`, import.meta.url))
  const fs = yield* FileSystem.FileSystem
  const text = yield* fs.readFileString(file).pipe(
    Effect.mapError(
      (error) =>
        new InvalidConfig({
          reason: new Unreadable({ source: file, expected: "a readable JSON file", actual: error.reason._tag })
        })
    )
  )
  return yield* Schema.decodeEffect(Schema.fromJsonString(rows))(text).pipe(
    Effect.mapError(
      (error) =>
        new InvalidConfig({
          reason: new Rejected({
            issues: [{ source: file, path: "", expected: error.message, actual: "other rows" }]
          })
        })
    )
  )
})

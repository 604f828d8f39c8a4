import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { fileURLToPath } from "node:url"
import { InvalidConfig, Rejected, Unreadable } from "../../config/ConfigError.ts"

/** The rows of a table: level 1 costs nothing, each further level is one more and costs more in all. */
export const LevelRows = Schema.NonEmptyArray(
  Schema.Struct({ level: Schema.Int, exp: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)) })
).check(
  Schema.makeFilter(
    (rows) =>
      rows.every((row, index) => {
        const previous = rows[index - 1]
        return row.level === index + 1 && (previous === undefined ? row.exp === 0 : row.exp > previous.exp)
      }),
    { expected: "levels 1, 2, 3, ... whose exp starts at 0 and rises" }
  )
)

/** How much experience makes which level. */
export class Levels extends Context.Service<
  Levels,
  {
    /** The level of a player with this much experience in all; the highest of the table beyond its end. */
    readonly of: (exp: bigint) => number
  }
>()("xdooria/services/game/Levels") {
  /** Makes the levels from decoded rows. */
  static readonly fromRows = (rows: typeof LevelRows.Type): Levels["Service"] => {
    const thresholds = rows.map((row) => BigInt(row.exp))
    return {
      of: (exp) => {
        const above = thresholds.findIndex((threshold) => threshold > exp)
        return above === -1 ? thresholds.length : above
      }
    }
  }
}

const file = fileURLToPath(new URL("../../../config/tables/levels.json", import.meta.url))

/** Reads `config/tables/levels.json`. Fails with InvalidConfig when it cannot be read or its rows make no sense. */
export const LevelsLive: Layer.Layer<Levels, InvalidConfig, FileSystem.FileSystem> = Layer.effect(
  Levels,
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const text = yield* fs.readFileString(file).pipe(
      Effect.mapError(
        (error) =>
          new InvalidConfig({
            reason: new Unreadable({ source: file, expected: "a readable JSON file", actual: error.reason._tag })
          })
      )
    )
    const rows = yield* Schema.decodeEffect(Schema.fromJsonString(LevelRows))(text).pipe(
      Effect.mapError(
        (error) =>
          new InvalidConfig({
            reason: new Rejected({
              issues: [{ source: file, path: "", expected: error.message, actual: "other rows" }]
            })
          })
      )
    )
    return Levels.fromRows(rows)
  })
)

import * as Context from "effect/Context"
import * as BigDecimal from "effect/BigDecimal"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { InvalidConfig } from "../../config/ConfigError.ts"
import { type Amount, currencies } from "./Money.ts"
import { readTable } from "./tables.ts"

const { gold } = currencies

/** The rows of a table: level 1 costs and gives nothing, each further level is one more and costs more in all. */
export const LevelRows = Schema.NonEmptyArray(
  Schema.Struct({
    level: Schema.Int,
    exp: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
    gold: gold.Amount
  })
).check(
  Schema.makeFilter(
    (rows) =>
      rows.every((row, index) => {
        const previous = rows[index - 1]
        if (row.level !== index + 1 || BigDecimal.isNegative(row.gold)) return false
        return previous === undefined ? row.exp === 0 && BigDecimal.isZero(row.gold) : row.exp > previous.exp
      }),
    { expected: "levels 1, 2, 3, ... whose exp starts at 0 and rises, and whose gold starts at 0" }
  )
)

/** How much experience makes which level, and what a level brings. */
export class Levels extends Context.Service<
  Levels,
  {
    /** The level of a player with this much experience in all; the highest of the table beyond its end. */
    readonly of: (exp: bigint) => number
    /** The gold that the levels after one bring, up to another with that one. */
    readonly goldOf: (from: number, to: number) => Amount
  }
>()("xdooria/services/game/Levels") {
  /** Makes the levels from decoded rows. */
  static readonly fromRows = (rows: typeof LevelRows.Type): Levels["Service"] => {
    const thresholds = rows.map((row) => BigInt(row.exp))
    return {
      of: (exp) => {
        const above = thresholds.findIndex((threshold) => threshold > exp)
        return above === -1 ? thresholds.length : above
      },
      goldOf: (from, to) =>
        rows.slice(from, to).reduce((sum, row) => Result.getOrThrow(gold.add(sum, row.gold)), gold.zero)
    }
  }
}

/** Reads `config/tables/levels.json`. Fails with InvalidConfig when it cannot be read or its rows make no sense. */
export const LevelsLive: Layer.Layer<Levels, InvalidConfig, FileSystem.FileSystem> = Layer.effect(
  Levels,
  Effect.map(readTable("levels", LevelRows), Levels.fromRows)
)

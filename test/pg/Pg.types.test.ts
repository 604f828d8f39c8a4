import { describe, expectTypeOf, it } from "@effect/vitest"
import type * as PgClient from "@effect/sql-pg/PgClient"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Generated } from "kysely"
import type { InvalidConfig } from "xdooria/config"
import { Pg, type PgError } from "xdooria/pg"
import { layerEmbedded, PgEmbedded } from "xdooria/pg/embedded"
import { layerLive, PgLive } from "xdooria/pg/live"

declare const failsWithMine: Effect.Effect<number, SqlError | "mine", string>
declare const classified: Effect.Effect<number, PgError | "mine">
declare const cannotFail: Effect.Effect<number>

describe("Pg.run", () => {
  it("replaces SqlError by PgError and keeps the rest", () => {
    expectTypeOf(Pg.run(failsWithMine)).toEqualTypeOf<Effect.Effect<number, PgError | "mine", string>>()
  })
})

describe("Pg.transaction", () => {
  it("asks for SqlClient and fails with PgError and the effect's own errors", () => {
    expectTypeOf(Pg.transaction(failsWithMine)).toEqualTypeOf<
      Effect.Effect<number, PgError | "mine", string | SqlClient.SqlClient>
    >()
    expectTypeOf(Pg.transaction(classified)).toEqualTypeOf<
      Effect.Effect<number, PgError | "mine", SqlClient.SqlClient>
    >()
    expectTypeOf(Pg.transaction(cannotFail)).toEqualTypeOf<Effect.Effect<number, PgError, SqlClient.SqlClient>>()
  })
})

interface Tables {
  readonly players: { readonly id: Generated<number>; readonly name: string; readonly exp: bigint }
}

describe("Pg.query", () => {
  const db = Pg.builder<Tables>()

  it("has the rows that the columns make", () => {
    const rows = Pg.query(db.selectFrom("players").select(["id", "exp"]))
    expectTypeOf<Effect.Success<typeof rows>>().toEqualTypeOf<Array<{ id: number; exp: bigint }>>()
    expectTypeOf<Effect.Error<typeof rows>>().toEqualTypeOf<PgError>()
    expectTypeOf<Effect.Services<typeof rows>>().toEqualTypeOf<SqlClient.SqlClient>()
  })

  it("does not compile with a column or a value that the table does not have", () => {
    // @ts-expect-error there is no such column
    db.selectFrom("players").select("level")
    // @ts-expect-error a name is text
    db.insertInto("players").values({ name: 5, exp: 1n })
  })
})

describe("PgLive and PgEmbedded", () => {
  type Provided = Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, PgError | InvalidConfig>

  it("provide the same", () => {
    expectTypeOf(PgLive).toEqualTypeOf<Provided>()
    expectTypeOf(PgEmbedded).toEqualTypeOf<Provided>()
    expectTypeOf(layerLive({ host: "db" })).toEqualTypeOf<Provided>()
    expectTypeOf(layerEmbedded({ maxConns: 2 })).toEqualTypeOf<Provided>()
  })

  it("do not let an embedded server be put somewhere", () => {
    // @ts-expect-error it is where it is
    layerEmbedded({ host: "db" })
  })
})

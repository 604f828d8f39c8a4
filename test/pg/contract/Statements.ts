import { assert } from "@effect/vitest"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import * as SqlSchema from "effect/sql/SqlSchema"
import * as Stream from "effect/Stream"
import { Pg } from "xdooria/pg"
import { eventually, isInterrupted, type Part, reasonOf, sessionsThatAre, table, tagOf } from "./Contract.ts"

/** What one statement promises. */
export const statements: Part = (it) => {
  it.effect("brings values back as they were sent", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const pg = yield* PgClient.PgClient
      const values = {
        big: -(2n ** 63n),
        exact: "1234567890123456789.0001",
        at: new Date("2024-02-29T23:59:59.999Z"),
        text: "日本 \u{1F600} '\"\\%_",
        bytes: new Uint8Array([0, 1, 255]),
        safe: 2 ** 53 - 1,
        half: 4503599627370495.5,
        none: null
      }
      const rows = yield* sql`SELECT ${values.big}::int8 AS big, ${values.exact}::numeric AS exact,
        ${values.at}::timestamp AS at, ${values.text}::text AS text, ${values.bytes}::bytea AS bytes,
        ${values.safe}::float8 AS safe, ${values.half}::float8 AS half, ${values.none}::int AS none, ${pg.json({ a: [1, null, "x"] })} AS json, ${[1, 2]}::int[] AS list`
      assert.deepStrictEqual(rows, [{ ...values, json: { a: [1, null, "x"] }, list: [1, 2] }])
    })
  )

  it.effect("never takes a parameter for SQL, and quotes identifiers", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const name = yield* table("id int PRIMARY KEY, name text")
      const evil = "'; DROP TABLE x; --"
      yield* sql`INSERT INTO ${sql(name)} ${sql.insert({ id: 1, name: evil })}`
      assert.deepStrictEqual(yield* sql`SELECT name FROM ${sql(name)} WHERE name = ${evil}`, [{ name: evil }])
      assert.deepStrictEqual(yield* sql`SELECT 1 AS ${sql('a" FROM pg_roles --')}`, [{ 'a" FROM pg_roles --': 1 }])
      assert.deepStrictEqual(yield* sql`SELECT id FROM ${sql(name)} WHERE ${sql.in("id", [])}`, [])
    })
  )

  it.effect("works with what Effect builds on SqlClient", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      assert.strictEqual(sql.driver, "pg")
      const double = SqlSchema.findOne({
        Request: Schema.Int,
        Result: Schema.Struct({ twice: Schema.Int }),
        execute: (n) => sql`SELECT ${n}::int * 2 AS twice`
      })
      assert.deepStrictEqual(yield* double(21), { twice: 42 })
      assert.deepStrictEqual(yield* sql`SELECT 1 AS one`.values, [[1]])
      assert.deepStrictEqual(yield* sql`SELECT 1 AS one`.unprepared, [{ one: 1 }])
      assert.deepStrictEqual(yield* sql`SELECT 1 AS one`.valuesUnprepared, [[1]])
      assert.deepStrictEqual(yield* sql`SELECT 1 AS one`.withoutTransform, [{ one: 1 }])
    })
  )

  const cyclic: Array<unknown> = []
  cyclic.push(cyclic)
  const fail = () => {
    throw new Error("canary8f2")
  }
  const refused: ReadonlyArray<readonly [string, unknown]> = [
    ["a list that contains itself", cyclic],
    ["a date that throws", Object.assign(new Date(0), { getTime: fail })],
    ["a list that throws", [1, Object.assign(new Date(0), { getTime: fail })]],
    ["a number that is no safe integer", 2 ** 53],
    ["a number that is no safe integer in a list", [-(2 ** 60)]],
    ["undefined", undefined],
    ["NUL", "a\0b"],
    ["a lone surrogate", "a\ud800"],
    ["NaN", Number.NaN],
    ["Infinity", Number.NEGATIVE_INFINITY],
    ["an int8 that is too large", 2n ** 63n],
    ["an int8 that is too small", -(2n ** 63n) - 1n],
    ["an invalid date", new Date(Number.NaN)],
    ["NUL in a list", ["a", "\0"]]
  ]
  for (const [what, value] of refused) {
    it.effect(`refuses ${what} before anything is sent`, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const name = yield* table("id int")
        const reason = yield* reasonOf(sql`INSERT INTO ${sql(name)} SELECT 1 WHERE ${"x"}::text <> ${value}::text`)
        assert.include({ ...reason }, { _tag: "InvalidInput", parameter: 2 })
        const stream = sql`SELECT ${value}::text`.stream
        assert.strictEqual(yield* tagOf(Stream.runDrain(stream)), "InvalidInput")
        assert.deepStrictEqual(yield* sql`SELECT * FROM ${sql(name)}`, [])
      })
    )
  }

  it.effect("refuses values that the protocol has no form for", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const tooMany = sql.unsafe(
        "SELECT 1",
        Array.from({ length: 70_000 }, () => 1)
      )
      for (const statement of [tooMany, sql`SELECT ${Symbol("x")}`, sql`SELECT ${{}}`, sql`SELECT ${[[1]]}`]) {
        assert.strictEqual(yield* tagOf(statement), "InvalidInput")
      }
    })
  )

  it.effect("classifies what the server refuses, and says nothing of the values", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const pg = yield* PgClient.PgClient
      const secret = "canary8f2"
      const name = yield* table("id int PRIMARY KEY, short varchar(4), money numeric(6,2), at timestamptz")
      const into = (column: string, value: unknown) =>
        sql`INSERT INTO ${sql(name)} ${sql.insert({ id: 1, [column]: value })}`
      const cases: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]> = [
        ["StringTooLong", into("short", secret)],
        ["NumericOverflow", into("money", "10000.00")],
        ["NumericOverflow", sql`SELECT ${2n ** 40n}::int`],
        ["InvalidInput", into("at", secret)],
        ["InvalidInput", sql`SELECT ${secret}::int`],
        ["InvalidInput", into("at", "294277-01-01")],
        ["InvalidInput", sql`SELECT ${pg.json({ a: "\0" })}::jsonb`],
        ["InvalidInput", sql`SELECT ${`"\\u0000${secret}"`}::jsonb`],
        ["InvalidInput", sql`SELECT 1 / ${0}::int`],
        ["Syntax", sql`SELECT ${sql(secret)} FROM ${sql(name)}`],
        ["Syntax", sql`SELEC 1`],
        ["Syntax", sql`SELECT 1; SELECT 2`]
      ]
      for (const [tag, statement] of cases) {
        const reason = yield* reasonOf(statement)
        assert.strictEqual(reason._tag, tag)
        assert.notInclude(JSON.stringify(reason) + reason.message + String(reason.stack), secret)
      }
    })
  )

  it.effect("names the constraint that a row breaks", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const parent = yield* table("id int PRIMARY KEY")
      const name = yield* table(`
        id int CONSTRAINT one UNIQUE, n int NOT NULL CONSTRAINT positive CHECK (n > 0),
        parent int CONSTRAINT known REFERENCES ${parent}, span int4range, CONSTRAINT apart EXCLUDE USING gist (span WITH &&)`)
      const add = (row: object) => sql`INSERT INTO ${sql(name)} ${sql.insert({ n: 1, ...row })}`
      yield* add({ id: 1, span: "[1,5)" })
      const broken = {
        one: [add({ id: 1 }), { _tag: "UniqueViolation", constraint: "one" }],
        positive: [add({ n: -1 }), { _tag: "ConstraintViolation", kind: "check", constraint: "positive" }],
        notNull: [add({ n: null }), { _tag: "ConstraintViolation", kind: "notNull", constraint: "n" }],
        known: [add({ parent: 9 }), { _tag: "ConstraintViolation", kind: "foreignKey", constraint: "known" }],
        apart: [add({ span: "[4,9)" }), { _tag: "ConstraintViolation", kind: "exclusion", constraint: "apart" }]
      } as const
      for (const [statement, expected] of Object.values(broken)) {
        assert.include({ ...(yield* reasonOf(statement)) }, expected)
      }
    })
  )

  it.effect("ends a statement at the server when its fiber is interrupted", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const fiber = yield* Effect.forkChild(sql`SELECT pg_sleep(4)`)
      yield* eventually(sessionsThatAre("active"), (n) => n === 1)
      yield* Fiber.interrupt(fiber)
      yield* eventually(sessionsThatAre("active"), (n) => n === 0)
      assert.isTrue(isInterrupted(yield* Fiber.await(fiber)))
    })
  )

  it.effect("streams rows, and leaves nothing running when it is ended early", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const rows = sql<{ n: number }>`SELECT n FROM generate_series(1, ${20_000}) AS n`.stream
      assert.strictEqual(yield* Stream.runCount(rows), 20_000)
      const first = yield* Stream.runCollect(
        Stream.take(
          sql<{ n: number }>`
        SELECT n, repeat('x', 1000) FROM generate_series(1, 1000000) AS n`.stream,
          2
        )
      )
      assert.deepStrictEqual(
        Array.from(first, ({ n }) => n),
        [1, 2]
      )
      yield* eventually(sessionsThatAre("active"), (n) => n === 0)
    })
  )

  it.effect("delivers notifications, those of a transaction when it commits", () =>
    Effect.gen(function* () {
      const pg = yield* PgClient.PgClient
      const heard = yield* pg.listen("news")
      yield* Pg.transaction(Effect.andThen(pg.notify("news", "rolled back"), Effect.fail("no"))).pipe(Effect.ignore)
      yield* Pg.transaction(pg.notify("news", "committed"))
      yield* pg.notify("news", "alone")
      assert.strictEqual((yield* Queue.take(heard)).payload, "committed")
      assert.strictEqual((yield* Queue.take(heard)).payload, "alone")
    })
  )

  it.effect("runs what kysely builds, with its types", () =>
    Effect.gen(function* () {
      const name = yield* table("id int PRIMARY KEY, name text NOT NULL, n int8")
      const db = Pg.builder<Record<string, { id: number; name: string; n: bigint | null }>>()
      const ann = { id: 1, name: "ann", n: 2n ** 60n }
      const inserted = yield* Pg.query(db.insertInto(name).values([ann, { id: 2, name: "bob", n: null }]))
      assert.deepStrictEqual(
        inserted.map((result) => result.numInsertedOrUpdatedRows),
        [2n]
      )
      const updated = yield* Pg.query(db.updateTable(name).set({ name: "cid" }).where("id", "=", 2))
      assert.deepStrictEqual(
        updated.map((result) => result.numUpdatedRows),
        [1n]
      )
      const found = yield* Pg.query(
        db.selectFrom(name).selectAll().where("name", "in", ["ann", "x"]).where("n", ">", 5n)
      )
      assert.deepStrictEqual(found, [ann])
      const returned = yield* Pg.query(db.deleteFrom(name).where("id", "=", 2).returning("name"))
      assert.deepStrictEqual(returned, [{ name: "cid" }])
      const deleted = yield* Pg.query(db.deleteFrom(name).where("id", "=", 99))
      assert.deepStrictEqual(
        deleted.map((result) => result.numDeletedRows),
        [0n]
      )
      const wrong = db
        .selectFrom(name)
        .selectAll()
        .where("name", "=", undefined as unknown as string)
      assert.strictEqual(yield* tagOf(Pg.query(wrong)), "InvalidInput")
      const merged = db.mergeInto(`${name} as a`).using(`${name} as b`, "a.id", "b.id").whenMatched().thenDelete()
      assert.deepStrictEqual(
        (yield* Pg.query(merged)).map((result) => result.numChangedRows),
        [1n]
      )
      const alone = yield* Effect.flip(Effect.tryPromise(() => db.selectFrom(name).selectAll().execute()))
      assert.include(String(alone.cause), "Pg.query")
    })
  )
}

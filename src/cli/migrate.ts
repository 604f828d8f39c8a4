import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import * as Config from "../config/Config.ts"
import { ConfigLive } from "../config/ConfigLive.ts"
import * as LoggerLive from "../logger/LoggerLive.ts"
import * as Pg from "../pg/Pg.ts"
import { layerLive, PgLive } from "../pg/PgLive.ts"
import { loadService } from "../services/services.ts"
import { orHowToMakeIt } from "./DatabaseMissing.ts"
import * as flags from "./flags.ts"

const create = Flag.Boolean("create").pipe(
  Flag.withDescription("Make the database of a service first, where there is none of its name"),
  Flag.withDefault(false)
)

/** The database that every server has: where one stands to make another. */
const maintenance = "postgres"

/** For the operator who reads along, whatever the service itself writes. */
const logger = (service: string) => LoggerLive.layerLive({ service, level: "info", format: "console", outputPath: "" })

/** Makes the configured database, if it is not there. */
const createDatabase = Effect.gen(function* () {
  const settings = yield* Config.get(Pg.PgConfig)
  const { database } = settings
  const made = Effect.gen(function* () {
    const sql = yield* SqlClient
    const there = yield* Pg.run(sql`SELECT 1 FROM pg_database WHERE datname = ${database}`)
    if (there.length === 0) yield* Pg.run(sql`CREATE DATABASE ${sql(database)}`)
    return there.length === 0
  })
  return yield* Effect.provide(made, layerLive({ ...settings, database: maintenance, minConns: 0, maxConns: 1 }))
})

/** `xdooria migrate`: brings the tables of services up to date on the configured database, each service once. */
export const migrate = Command.make("migrate", { services: flags.services, env: flags.env, create }, (options) =>
  Effect.forEach(
    options.services,
    Effect.fnUntraced(function* (name) {
      const { migrations, sections } = yield* loadService(name)
      if (migrations.length === 0) return yield* Console.log(`${name}: has no tables`)
      const config = ConfigLive(name, { env: options.env, sections })
      const lines = logger(name)
      const isNew = options.create && (yield* Effect.provide(createDatabase, Layer.fresh(Layer.merge(config, lines))))
      if (isNew) yield* Console.log(`${name}: made its database`)
      const applied = yield* Pg.migrate(migrations).pipe(
        Effect.provide(Layer.fresh(PgLive.pipe(Layer.provideMerge(Layer.merge(config, lines))))),
        Effect.catch(orHowToMakeIt(name, options.env))
      )
      yield* Console.log(
        applied.length === 0
          ? `${name}: up to date`
          : applied.map(({ id, name: step }) => `${name}: applied ${id} ${step}`).join("\n")
      )
    }),
    { discard: true }
  )
).pipe(Command.withDescription("Bring the tables of the configured database up to date"))

import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ConfigLive } from "../config/ConfigLive.ts"
import * as Pg from "../pg/Pg.ts"
import { PgLive } from "../pg/PgLive.ts"
import { loadService } from "../services/services.ts"
import * as flags from "./flags.ts"

/** `xdooria migrate`: brings the tables of services up to date on the configured database, each service once. */
export const migrate = Command.make("migrate", { services: flags.services, env: flags.env }, (options) =>
  Effect.forEach(
    options.services,
    Effect.fnUntraced(function* (name) {
      const { migrations, sections } = yield* loadService(name)
      if (migrations.length === 0) return yield* Console.log(`${name}: has no tables`)
      const database = PgLive.pipe(Layer.provide(ConfigLive(name, { env: options.env, sections })))
      const applied = yield* Pg.migrate(migrations).pipe(Effect.provide(Layer.fresh(database)))
      yield* Console.log(
        applied.length === 0
          ? `${name}: up to date`
          : applied.map(({ id, name: step }) => `${name}: applied ${id} ${step}`).join("\n")
      )
    }),
    { discard: true }
  )
).pipe(Command.withDescription("Bring the tables of the configured database up to date"))

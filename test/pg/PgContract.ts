import { layer as layerTest } from "@effect/vitest"
import type * as Layer from "effect/Layer"
import { migrations } from "./contract/Migrations.ts"
import type { Services } from "./contract/Contract.ts"
import { sessions } from "./contract/Sessions.ts"
import { statements } from "./contract/Statements.ts"
import { transactions } from "./contract/Transactions.ts"

/**
 * The promises of room pg, for a layer on a database that nobody else uses.
 *
 * Both layers run a PostgreSQL server, which has a clock of its own: the suite runs on the live one everywhere.
 */
export const suite = <E>(name: string, layer: Layer.Layer<Services, E>): void =>
  layerTest(layer, { excludeTestServices: true, timeout: "30 seconds" })(name, (it) => {
    statements(it)
    transactions(it)
    sessions(it)
    migrations(it)
  })

import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerLive } from "xdooria/pg/live"
import * as RealServer from "../support/RealServer.ts"
import { addressOf, fresh } from "./Database.ts"
import { suite } from "./PgContract.ts"

RealServer.suite("postgres", "PgLive", (server) => {
  suite("on a real server", Layer.unwrap(Effect.map(fresh(addressOf(server)), layerLive)))
})

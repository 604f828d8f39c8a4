import { PgEmbedded } from "xdooria/pg/embedded"
import * as RealServer from "../support/RealServer.ts"
import { suite } from "./PgContract.ts"

RealServer.embedded("embedded", () => suite("PgEmbedded", PgEmbedded))

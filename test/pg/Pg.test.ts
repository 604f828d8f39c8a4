import { PgEmbedded } from "xdooria/pg/embedded"
import { suite } from "./PgContract.ts"

suite("PgEmbedded", PgEmbedded)

import * as Layer from "effect/Layer"
import { GrpcEmbedded } from "xdooria/grpc"
import { PgEmbedded } from "xdooria/pg/embedded"
import { SessionEmbedded } from "xdooria/session"
import { AuthEmbedded } from "../../src/auth/AuthEmbedded.ts"
import * as RealServer from "../support/RealServer.ts"
import { suite } from "./AuthContract.ts"

RealServer.embedded("the auth service", () =>
  suite("Auth on embedded rooms", GrpcEmbedded, Layer.mergeAll(PgEmbedded, AuthEmbedded, SessionEmbedded))
)

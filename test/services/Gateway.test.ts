import * as Layer from "effect/Layer"
import { GrpcEmbedded } from "xdooria/grpc"
import { RegistryEmbedded } from "xdooria/registry"
import { SessionEmbedded } from "xdooria/session"
import { AuthEmbedded } from "../../src/auth/AuthEmbedded.ts"
import { PushEmbedded } from "../../src/services/gateway/PushEmbedded.ts"
import { suite } from "./GatewayContract.ts"

suite("Gateway on embedded rooms", {
  transport: GrpcEmbedded,
  rooms: Layer.mergeAll(AuthEmbedded, SessionEmbedded, PushEmbedded, RegistryEmbedded),
  clock: "test"
})

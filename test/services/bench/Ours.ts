// The gateway as `npm start` runs it: all that it knows of its players is in its own memory.
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { AuthEmbedded } from "xdooria/auth/embedded"
import { ConfigTest } from "xdooria/config"
import { GrpcServer } from "xdooria/grpc"
import { GrpcClientLive, GrpcServerLive } from "xdooria/grpc/live"
import { LoggerTest } from "xdooria/logger"
import { RegistryEmbedded } from "xdooria/registry"
import { SessionEmbedded } from "xdooria/session"
import { Auth } from "xdooria/auth"
import { GatewayApp } from "../../../src/services/gateway/app.ts"
import { GatewayConfig } from "../../../src/services/gateway/Connections.ts"
import { PushEmbedded } from "../../../src/services/gateway/PushEmbedded.ts"
import { values } from "./Load.ts"

export const gateway = Effect.gen(function* () {
  const app = GatewayApp.pipe(
    Layer.provideMerge(Layer.merge(GrpcServerLive, GrpcClientLive)),
    Layer.provideMerge(Auth.layerAuthenticator),
    Layer.provideMerge(Layer.mergeAll(AuthEmbedded, SessionEmbedded, PushEmbedded, RegistryEmbedded)),
    Layer.provideMerge(Layer.merge(LoggerTest, ConfigTest(values, { sections: [GatewayConfig] })))
  )
  return yield* Context.get(yield* Layer.build(app), GrpcServer).address
})

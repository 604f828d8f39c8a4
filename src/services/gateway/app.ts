import * as Layer from "effect/Layer"
import { descriptors } from "../../gen/descriptors.ts"
import { GrpcServer } from "../../grpc/GrpcServer.ts"
import { Registry } from "../../registry/Registry.ts"
import { GatewayApi } from "./api.ts"
import { Connections } from "./Connections.ts"
import { ConnectionsLive } from "./ConnectionsLive.ts"
import { forwards } from "./forwards.ts"
import { GatewayHandlers } from "./handlers.ts"

/**
 * What the gateway is, open: it asks for a gRPC server and client, the registry, sessions, tokens and pushes. On the way down it
 * leaves the registry, sends its players elsewhere, then drains the server.
 */
export const GatewayApp = Registry.layerSelf(GatewayApi.service).pipe(
  Layer.provideMerge(Connections.layerDrain),
  Layer.provideMerge(GrpcServer.serve(GatewayHandlers, ...forwards, { descriptors })),
  Layer.provideMerge(ConnectionsLive)
)

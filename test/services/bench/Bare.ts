// What a gateway is without ours: grpc-js as its documentation uses it, with one stream for each player.
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import {
  type BroadcastRequest,
  type BroadcastResponse,
  type ConnectRequest,
  type ConnectResponse,
  GatewayServiceService
} from "../../../src/gen/gateway.ts"
import { serve } from "../../grpc/bench/Bare.ts"

/** Welcomes each player, keeps its stream, and writes to all of them. */
export const gateway = Effect.suspend(() => {
  const server = new grpc.Server()
  const players = new Set<grpc.ServerDuplexStream<ConnectRequest, ConnectResponse>>()
  const { broadcast, connect } = GatewayServiceService
  server.addService({ connect, broadcast } as unknown as grpc.ServiceDefinition, {
    connect: (call: grpc.ServerDuplexStream<ConnectRequest, ConnectResponse>) => {
      players.add(call)
      call.on("close", () => players.delete(call))
      call.on("cancelled", () => players.delete(call))
      call.on("data", () => {
        const welcome = { playerId: "p", gateway: "g", epoch: 1n, sequence: 0n, missed: false, series: "" }
        call.write({ message: { $case: "welcome", welcome } })
      })
    },
    broadcast: (
      { request }: grpc.ServerUnaryCall<BroadcastRequest, BroadcastResponse>,
      reply: grpc.sendUnaryData<BroadcastResponse>
    ) => {
      for (const call of players) call.write({ message: { $case: "pushed", pushed: { sequence: 0n, ...request } } })
      reply(null, {})
    }
  })
  return serve(server)
})

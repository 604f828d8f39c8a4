// What stands between a player and the game: our gateway's way of passing calls on, and a proxy of bare grpc-js. Both
// pass bytes on without reading them, with the caller's metadata and deadline.
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Grpc } from "xdooria/grpc"
import { layerClientLive } from "xdooria/grpc/live"
import { serve as serveBare } from "../../grpc/bench/Bare.ts"
import { Api, serve } from "../../grpc/bench/Ours.ts"
import { Methods } from "../../grpc/bench/Work.ts"
import * as Child from "../../support/Child.ts"
import type { Settings } from "./backend.ts"

const backend = (kind: Settings["kind"]): Effect.Effect<string, never, Scope.Scope> =>
  Effect.gen(function* () {
    const settings: Settings = { kind }
    const child = yield* Child.start<{ readonly address: string }>(new URL("backend.ts", import.meta.url), settings)
    const { address } = yield* child.reports.first(() => true)
    return address
  })

const same = (bytes: Buffer): Buffer => bytes

const getPlayer = {
  ...Methods.getPlayer,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same
}

/** A proxy of bare grpc-js in front of a bare server. */
export const bare = Effect.gen(function* () {
  const target = yield* backend("bare")
  const next = yield* Effect.acquireRelease(
    Effect.sync(() => new grpc.Client(target, grpc.credentials.createInsecure())),
    (client) => Effect.sync(() => client.close())
  )
  const server = new grpc.Server()
  server.addService(
    { getPlayer },
    {
      getPlayer: (call: grpc.ServerUnaryCall<Buffer, Buffer>, reply: grpc.sendUnaryData<Buffer>) => {
        const options = { deadline: call.getDeadline() }
        next.makeUnaryRequest(getPlayer.path, same, same, call.request, call.metadata, options, (error, response) =>
          reply(error, response)
        )
      }
    }
  )
  return yield* serveBare(server)
})

/** Ours, with the whole chain, in front of a server of a kind. */
export const ours = (kind: Settings["kind"]) =>
  Effect.gen(function* () {
    const target = Grpc.endpoints([yield* backend(kind)], { keepalive: "true" })
    const client = yield* Layer.build(layerClientLive())
    return yield* Effect.provideContext(serve(Grpc.forward(Api, { target })), client)
  })

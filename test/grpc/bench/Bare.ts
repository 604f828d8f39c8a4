// grpc-js and proto-loader as their documentation uses them, with nothing around the handlers; and its client.
import * as grpc from "@grpc/grpc-js"
import { loadSync } from "@grpc/proto-loader"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { once } from "node:events"
import * as Bench from "../../bench/Bench.ts"
import { Methods, playerId, streamLength, token } from "./Work.ts"

interface Request {
  readonly player_id: string
}

const definition = (): grpc.ServiceDefinition => {
  const { game } = grpc.loadPackageDefinition(loadSync("game.proto", { keepCase: true, includeDirs: ["proto"] }))
  return ((game as grpc.GrpcObject)["GameService"] as grpc.ServiceClientConstructor).service
}

const player = { player: { id: playerId, name: "Ann", level: 7, exp: 300 } }

/** Listens on a free port of loopback, until the scope closes. */
export const serve = (server: grpc.Server): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<string>((resume) => {
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_, port) =>
        resume(Effect.succeed(`127.0.0.1:${port}`))
      )
    }),
    () => Effect.sync(() => server.forceShutdown())
  )

/** A server that answers. */
export const unary = Effect.suspend(() => {
  const server = new grpc.Server()
  server.addService(definition(), {
    getPlayer: (call: grpc.ServerUnaryCall<Request, unknown>, reply: grpc.sendUnaryData<unknown>) =>
      reply(null, { player: { id: call.request.player_id, name: "Ann", level: 7, exp: 300 } })
  })
  return serve(server)
})

/** A server of streams, which waits for readers as its documentation says. */
const watch = (handler: (call: grpc.ServerWritableStream<Request, unknown>) => void) =>
  Effect.suspend(() => {
    const server = new grpc.Server()
    const method = { ...definition()["GetPlayer"]!, path: Methods.watch.path, responseStream: true }
    server.addService({ watch: method }, { watch: handler })
    return serve(server)
  })

export const streams = watch(async (call) => {
  for (let sent = 0; sent < streamLength; sent++) {
    if (!call.write(player)) await once(call, "drain")
  }
  call.end()
})

export const idle = watch((call) => void call.write(player))

/** Its client, as a loop of promises. */
export const client = (concurrency: number) => (address: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => new grpc.Client(address, grpc.credentials.createInsecure())),
      (client) => Effect.sync(() => client.close())
    ),
    (client) => {
      const { path, requestSerialize, responseDeserialize } = Methods.getPlayer
      return Bench.promises(
        concurrency,
        () =>
          new Promise((resolve, reject) => {
            const metadata = new grpc.Metadata()
            metadata.set("authorization", `Bearer ${token}`)
            const options = { deadline: Date.now() + 10_000 }
            client.makeUnaryRequest(
              path,
              requestSerialize,
              responseDeserialize,
              { playerId },
              metadata,
              options,
              (error, value) => (error === null ? resolve(value) : reject(error))
            )
          })
      )
    }
  )

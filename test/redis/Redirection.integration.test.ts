// A server that plays a node of a cluster.
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { createServer, type AddressInfo, type Server, type Socket } from "node:net"
import { Command, Key, Redis } from "xdooria/redis"
import { layerLive } from "xdooria/redis/live"

/** Listens on a port of this machine, and answers the commands that come; gives whom it has let in too. */
const listening = (answer: (name: string) => string) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly sockets: Set<Socket>; readonly server: Server }>((resume) => {
      const sockets = new Set<Socket>()
      const server = createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.on("data", (data) => {
          for (const command of data.toString().split(/(?=\*\d+\r\n\$)/)) {
            socket.write(answer(command.split("\r\n")[2]?.toUpperCase() ?? ""))
          }
        })
      })
      server.listen(0, "127.0.0.1", () => {
        resume(Effect.succeed({ port: (server.address() as AddressInfo).port, sockets, server }))
      })
    }),
    ({ server, sockets }) =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
  )

const polite = (name: string): string =>
  name === "PING" ? "+PONG\r\n" : name === "HELLO" ? "-ERR unknown command 'HELLO'\r\n" : "+OK\r\n"

for (const kind of ["MOVED", "ASK"] as const) {
  it.live(`a single server that answers ${kind} is not left for another`, () =>
    Effect.gen(function* () {
      const other = yield* listening(polite)
      const server = yield* listening((name) =>
        name === "GET" ? `-${kind} 5 127.0.0.1:${other.port}\r\n` : polite(name)
      )
      yield* Effect.gen(function* () {
        const redis = yield* Redis
        const key = yield* Effect.fromResult(Key.make("redirected", "k"))
        const failure = yield* Effect.flip(redis.run(Command.get(key)))
        assert.deepInclude(failure.reason, { _tag: "Rejected", code: kind })
        yield* redis.run(Command.set(key, "x"))
        assert.lengthOf(yield* redis.native, 1)
        assert.strictEqual(other.sockets.size, 0)
      }).pipe(Effect.provide(layerLive({ addrs: [`127.0.0.1:${server.port}`] })))
    }).pipe(Effect.scoped)
  )
}

it.live("a cluster's nodes at ports that there are none of are passed over", () =>
  Effect.gen(function* () {
    let own = 0
    const node = (port: number) => `*2\r\n$9\r\n127.0.0.1\r\n:${port}\r\n`
    const server = yield* listening((name) =>
      name === "CLUSTER"
        ? `*3\r\n*3\r\n:0\r\n:16383\r\n${node(own)}*3\r\n:0\r\n:5\r\n${node(99_999)}*3\r\n:-5\r\n:99999999\r\n${node(own)}`
        : name === "GET"
          ? "-MOVED 5 127.0.0.1:70000\r\n"
          : polite(name)
    )
    own = server.port
    yield* Effect.gen(function* () {
      const redis = yield* Redis
      const key = yield* Effect.fromResult(Key.make("redirected", "k"))
      const failure = yield* Effect.flip(redis.run(Command.get(key)))
      assert.strictEqual(failure.reason._tag, "ClusterDown")
      yield* redis.run(Command.set(key, "x"))
      assert.lengthOf(yield* redis.native, 1)
    }).pipe(Effect.provide(layerLive({ addrs: [`127.0.0.1:${own}`, `localhost:${own}`] })))
  }).pipe(Effect.scoped)
)

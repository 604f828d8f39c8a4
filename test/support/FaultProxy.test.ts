import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as FaultProxy from "./FaultProxy.ts"
import * as Recorder from "./Recorder.ts"

/** A server that answers each chunk with `<chunk>!`, ends after `bye`, and tells what it received. */
const shouter = Effect.gen(function* () {
  const requests = yield* Recorder.make<string>()
  const sockets = new Set<Net.Socket>()
  const port = yield* Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      const server = Net.createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.on("data", (bytes) => {
          requests.recordUnsafe(String(bytes))
          socket.write(`${String(bytes)}!`)
          if (String(bytes) === "bye") socket.end()
        })
      }).listen(0, "127.0.0.1", () => {
        stop = () => server.close()
        resume(Effect.succeed((server.address() as Net.AddressInfo).port))
      })
    }),
    () =>
      Effect.sync(() => {
        stop()
        for (const socket of sockets) socket.destroy()
      })
  )
  return { port, requests }
})
let stop = (): void => {}

interface Client {
  readonly send: (text: string) => Effect.Effect<void>
  readonly end: Effect.Effect<void>
  /** What arrived so far, once it is as long as asked for. */
  readonly received: (length: number) => Effect.Effect<string>
  /** How the connection ended: `end`, or an error's code. */
  readonly ended: Effect.Effect<string>
}

const connect = (port: number, host = "127.0.0.1"): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.gen(function* () {
    const replies = yield* Recorder.make<string>()
    const ends = yield* Recorder.make<string>()
    let text = ""
    const socket = yield* Effect.acquireRelease(
      Effect.callback<Net.Socket>((resume) => {
        const opened = Net.connect(port, host, () => resume(Effect.succeed(opened)))
        opened.on("data", (bytes) => {
          text += String(bytes)
          replies.recordUnsafe(text)
        })
        opened.on("end", () => ends.recordUnsafe("end"))
        opened.on("error", (error: NodeJS.ErrnoException) => ends.recordUnsafe(error.code ?? "?"))
      }),
      (opened) => Effect.sync(() => opened.destroy())
    )
    return {
      send: (request) => Effect.sync(() => void socket.write(request)),
      end: Effect.sync(() => void socket.end()),
      received: (length) => replies.first((seen) => seen.length >= length),
      ended: ends.first(() => true)
    }
  })

const setup = Effect.gen(function* () {
  const server = yield* shouter
  const proxy = yield* FaultProxy.make({ host: "127.0.0.1", port: server.port, seed: 1 })
  return { ...server, proxy, client: yield* connect(proxy.port) }
})

describe("FaultProxy", () => {
  it.live("passes both ways, counts connections, and takes a port below 32768", () =>
    Effect.gen(function* () {
      const { client, proxy } = yield* setup
      yield* client.send("a")
      assert.strictEqual(yield* client.received(2), "a!")
      assert.strictEqual(yield* proxy.connections, 1)
      assert.isBelow(proxy.port, 32_768)
      yield* client.end
      assert.strictEqual(yield* client.ended, "end")
    })
  )

  it.live("stands at another address on the server's own port, which the server then seems to name", () =>
    Effect.gen(function* () {
      const server = yield* shouter
      const proxy = yield* FaultProxy.make({ host: "127.0.0.1", port: server.port, at: "127.8.0.9", seed: 1 })
      assert.strictEqual(proxy.port, server.port)
      const client = yield* connect(proxy.port, "127.8.0.9")
      yield* client.send("127.0.0.1 127.0.0.2 127.0.0.1")
      assert.strictEqual(yield* client.received(30), "127.8.0.9 127.0.0.2 127.8.0.9!")
      assert.deepStrictEqual(yield* server.requests.all, ["127.0.0.1 127.0.0.2 127.0.0.1"])
    })
  )

  it.live("cut resets what is open and lets new connections pass", () =>
    Effect.gen(function* () {
      const { client, proxy } = yield* setup
      yield* client.send("a")
      yield* client.received(2)
      yield* proxy.cut
      assert.strictEqual(yield* client.ended, "ECONNRESET")
      const next = yield* connect(proxy.port)
      yield* next.send("b")
      assert.strictEqual(yield* next.received(2), "b!")
    })
  )

  it.live("blackhole holds old and new connections and passes what was held after heal", () =>
    Effect.gen(function* () {
      const { client, proxy, requests } = yield* setup
      yield* client.send("a")
      yield* client.received(2)
      yield* proxy.blackhole
      const late = yield* connect(proxy.port)
      yield* client.send("b")
      yield* late.send("c")
      const waiting = yield* Effect.forkChild(client.received(4))
      yield* Effect.sleep("50 millis")
      assert.deepStrictEqual(yield* requests.all, ["a"])
      yield* proxy.heal
      assert.strictEqual(yield* Fiber.join(waiting), "a!b!")
      assert.strictEqual(yield* late.received(2), "c!")
    })
  )

  it.live("dropReplies lets the server work, and heal resets the connection that missed a reply", () =>
    Effect.gen(function* () {
      const { client, proxy, requests } = yield* setup
      yield* proxy.dropReplies
      yield* client.send("a")
      yield* requests.first((request) => request === "a")
      yield* Effect.sleep("20 millis")
      yield* proxy.heal
      assert.strictEqual(yield* client.ended, "ECONNRESET")
    })
  )

  it.live("delay keeps the order", () =>
    Effect.gen(function* () {
      const { client, proxy } = yield* setup
      yield* proxy.delay(20)
      const [took] = yield* Effect.timed(Effect.andThen(client.send("a"), client.received(2)))
      assert.isAtLeast(Duration.toMillis(took), 19)
      for (const text of ["b", "c", "d", "e"]) {
        yield* client.send(text)
        yield* Effect.sleep("1 millis")
      }
      assert.isTrue("abcde".startsWith((yield* client.received(6)).replaceAll("!", "")))
    })
  )

  it.live("closeAfter passes exactly so many bytes of replies", () =>
    Effect.gen(function* () {
      const { client, proxy } = yield* setup
      yield* proxy.closeAfter(5)
      yield* client.send("abc")
      yield* client.received(4)
      yield* client.send("def")
      assert.strictEqual(yield* client.ended, "end")
      assert.strictEqual(yield* client.received(5), "abc!d")
    })
  )

  it.live("onRequest cut: the server never sees the request", () =>
    Effect.gen(function* () {
      const { client, proxy, requests } = yield* setup
      const rule = yield* proxy.onRequest((bytes) => bytes.includes("commit"), "cut")
      yield* client.send("a")
      yield* client.received(2)
      yield* client.send("commit")
      assert.strictEqual(yield* client.ended, "ECONNRESET")
      assert.deepStrictEqual(yield* requests.all, ["a"])
      assert.strictEqual(yield* rule.fired, 1)
    })
  )

  it.live("onRequest cutAfterReply: the server has answered and the client never knows", () =>
    Effect.gen(function* () {
      const { client, proxy, requests } = yield* setup
      const rule = yield* proxy.onRequest((bytes) => bytes.includes("commit"), "cutAfterReply")
      yield* client.send("commit")
      yield* rule.first
      assert.strictEqual(yield* client.ended, "ECONNRESET")
      assert.deepStrictEqual(yield* requests.all, ["commit"])
    })
  )

  it.live("onRequest dropReply: the connection stays open and silent", () =>
    Effect.gen(function* () {
      const { client, proxy, requests } = yield* setup
      yield* proxy.onRequest((bytes) => bytes.includes("commit"), "dropReply")
      yield* client.send("commit")
      yield* requests.first((request) => request === "commit")
      yield* client.send("after")
      yield* requests.first((request) => request === "after")
      assert.strictEqual(yield* proxy.connections, 1)
    })
  )

  it.live("heals from every rule, each time", () =>
    Effect.gen(function* () {
      const { client, proxy } = yield* setup
      for (let round = 0; round < 2; round++) {
        const rule = yield* proxy.onRequest((bytes) => bytes.includes("commit"), "cut")
        yield* proxy.heal
        yield* client.send("commit")
        yield* client.received("commit!".length * (round + 1))
        assert.strictEqual(yield* rule.fired, 0)
      }
    })
  )

  it.live("a server that is down resets the client", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ host: "127.0.0.1", port: 1, seed: 1 })
      const client = yield* connect(proxy.port)
      assert.strictEqual(yield* client.ended, "ECONNRESET")
    })
  )

  it.live("passes more than fits into the buffers of the sockets", () =>
    Effect.gen(function* () {
      const { client } = yield* setup
      const megabytes = 8
      yield* client.send("x".repeat(megabytes * 1_048_576))
      const text = yield* client.received(megabytes * 1_048_576)
      assert.isAtLeast(text.length, megabytes * 1_048_576)
    })
  )

  it.live("cuts connections in the middle of whatever they do, and keeps none of their sockets", () =>
    Effect.gen(function* () {
      const { proxy } = yield* setup
      for (let round = 0; round < 20; round++) {
        const clients = yield* Effect.all(Array.from({ length: 10 }, () => connect(proxy.port)))
        yield* Effect.forEach(clients, (client, i) =>
          Effect.andThen(client.send("x".repeat(i * 100_000 + 1)), i % 2 === 0 ? client.end : Effect.void)
        )
        yield* Effect.sleep(round % 4)
        yield* proxy.cut
        yield* Effect.forEach(clients, (client) => client.ended)
      }
      assert.strictEqual(yield* proxy.accepted, 201)
    })
  )

  it.live("ends in order what one side or the other ends, and keeps no socket", () =>
    Effect.gen(function* () {
      const { proxy } = yield* setup
      const one = (i: number) =>
        Effect.gen(function* () {
          const client = yield* connect(proxy.port)
          yield* client.send("bye")
          if (i % 2 === 0) yield* client.end
          assert.strictEqual(yield* client.ended, "end")
        })
      yield* Effect.forEach(
        Array.from({ length: 500 }, (_, i) => i),
        one,
        { concurrency: 50 }
      )
    })
  )

  it.live("closes a socket whose FIN is on its way, which cannot be reset", () =>
    Effect.gen(function* () {
      const ends = yield* Recorder.make<string>()
      const server = yield* Effect.acquireRelease(
        Effect.callback<Net.Server>((resume) => {
          const listener = Net.createServer({ allowHalfOpen: true }, (socket) => {
            socket.on("error", (error) => ends.recordUnsafe(error.message))
            socket.on("close", () => ends.recordUnsafe("close"))
            socket.end()
            FaultProxy.abort(socket)
          })
          listener.listen(0, "127.0.0.1", () => resume(Effect.succeed(listener)))
        }),
        (listener) => Effect.sync(() => listener.close())
      )
      const client = yield* connect((server.address() as Net.AddressInfo).port)
      yield* client.ended
      assert.strictEqual(yield* ends.first(() => true), "close")
    })
  )
})

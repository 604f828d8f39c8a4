// The transport of GrpcEmbedded by itself: what a call is between the two sides of it.
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import { GrpcNetwork, transport } from "../../src/grpc/internal/embedded.ts"
import { makePump, type Pump, type ServerOptions } from "../../src/grpc/internal/exchange.ts"
import type { ClientListener, Entries, ServerCall, ServerListener } from "../../src/grpc/internal/transport.ts"

const ok = { code: 0, details: "OK", trailers: [] }

/** A pump that moves when it is told to. */
class HandPump implements Pump {
  #now = 0
  #tasks: Array<() => void> = []
  #timers = new Map<() => void, number>()

  readonly now = () => this.#now
  readonly later = (task: () => void) => void this.#tasks.push(task)
  readonly at = (time: number, task: () => void) => {
    if (time !== Infinity) this.#timers.set(task, time)
    return () => void this.#timers.delete(task)
  }

  get timers() {
    return this.#timers.size
  }

  /** Runs all that waits, and what comes of it. */
  settle() {
    for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) task()
  }

  advance(millis: number) {
    this.#now += millis
    for (const [task, time] of this.#timers) {
      if (time > this.#now) continue
      this.#timers.delete(task)
      task()
    }
    this.settle()
  }
}

/** A server that does nothing by itself and keeps what it was told. */
class Serving {
  readonly calls: Array<ServerCall> = []
  readonly told: Array<string> = []
  readonly received: Array<Buffer> = []
  readonly accept = (call: ServerCall): ServerListener => {
    this.calls.push(call)
    return {
      onMessage: (message) => {
        this.received.push(message)
        this.told.push(`message ${message}`)
      },
      onHalfClose: () => void this.told.push("half-close"),
      onRefused: (code) => void this.told.push(code),
      onClose: () => void this.told.push("close")
    }
  }

  get call() {
    return this.calls[0]!
  }
}

const listenerInto = (told: Array<string>): ClientListener => ({
  onHeaders: (metadata) => void told.push(`headers ${JSON.stringify(metadata.toJSON())}`),
  onMessage: (message) => void told.push(`message ${message}`),
  onEnd: ({ code, details, sent, trailers }) =>
    void told.push(`end ${code} ${sent ? "sent" : "not sent"} ${details} ${JSON.stringify(trailers.toJSON())}`)
})

const make = (options: Partial<ServerOptions> = {}) => {
  const network = new GrpcNetwork()
  const pump = new HandPump()
  const serving = new Serving()
  const listen = (port = 0) =>
    network.listen("127.0.0.1", port, {
      accept: serving.accept,
      maxMessageSize: 1000,
      maxConcurrentStreams: 10,
      ...options
    })!
  const server = listen()
  const place = { address: server.address, authority: server.address, keepalive: false }
  const connection = transport(network, pump, 2000).connect(place)
  const open = (metadata: Entries = [], deadline = Infinity) => {
    const told: Array<string> = []
    const call = connection.open("/a/b", metadata, deadline, listenerInto(told))
    return { call, told }
  }
  return { network, pump, serving, listen, server, connection, open }
}

const none = () => {}

describe("a call in memory", () => {
  it("takes metadata, messages and the end of them to the server, one for each read", () => {
    const { open, pump, serving } = make()
    const { call } = open([
      ["name", "a"],
      ["Name", "b"],
      ["x-bin", Buffer.from("c")]
    ])
    call.send(Buffer.from("1"), none)
    call.send(Buffer.from("2"), none)
    call.halfClose()
    pump.settle()
    assert.strictEqual(serving.call.path, "/a/b")
    assert.strictEqual(serving.call.peer.address, "127.0.0.1")
    assert.deepStrictEqual(serving.call.metadata.get("NAME"), ["a, b"])
    assert.deepStrictEqual(serving.call.metadata.get("other"), [])
    assert.deepStrictEqual(Object.keys(serving.call.metadata.toJSON()), ["name", "x-bin"])
    assert.deepStrictEqual(serving.told, [])
    for (const expected of ["message 1", "message 2", "half-close"]) {
      serving.call.read()
      pump.settle()
      assert.strictEqual(serving.told.at(-1), expected)
    }
    assert.strictEqual(serving.told.length, 3)
  })

  it("takes headers, messages and the status to the client, which asks for messages only", () => {
    const { open, pump, serving } = make()
    const { call, told } = open()
    pump.settle()
    serving.call.sendHeaders([["h", "1"]])
    serving.call.send(Buffer.from("1"), none)
    serving.call.end({ ...ok, trailers: [["t", "1"]] })
    pump.settle()
    assert.deepStrictEqual(told, [`headers {"h":["1"]}`])
    call.read()
    pump.settle()
    assert.deepStrictEqual(told.slice(1), ["message 1", `end 0 sent OK {"t":["1"]}`])
    assert.deepStrictEqual(serving.told, ["close"])
  })

  it("has headers with the first message, when the server sends none itself, and none with a status alone", () => {
    const { open, pump, serving } = make()
    const [first, second] = [open(), open()]
    first.call.read()
    pump.settle()
    serving.calls[0]!.send(Buffer.from("1"), none)
    serving.calls[1]!.end(ok)
    pump.settle()
    assert.deepStrictEqual(first.told, ["headers {}", "message 1"])
    assert.deepStrictEqual(second.told, ["end 0 sent OK {}"])
  })

  it("carries copies: what a side does to its bytes afterwards stays with it", () => {
    const { open, pump, serving } = make()
    const message = Buffer.from("as sent")
    open().call.send(message, none)
    message.fill(0)
    pump.settle()
    serving.call.read()
    pump.settle()
    assert.strictEqual(String(serving.received[0]), "as sent")
  })

  it("delivers nothing while its sender runs", () => {
    const { open, pump, serving } = make()
    const { call, told } = open()
    assert.strictEqual(serving.calls.length, 0)
    pump.settle()
    serving.call.read()
    call.send(Buffer.from("1"), none)
    call.cancel()
    assert.deepStrictEqual([told, serving.told], [[], []])
  })

  for (const direction of ["requests", "responses"] as const) {
    it(`holds a sender of ${direction} back that is more than 64 KB ahead of its reader`, () => {
      const { open, pump, serving } = make({ maxMessageSize: 1 << 20 })
      const { call } = open()
      pump.settle()
      const [sender, reader] = direction === "requests" ? [call, serving.call] : [serving.call, call]
      let sent = 0
      const next = () => {
        sent++
        sender.send(Buffer.alloc(995), next)
      }
      next()
      // 65 of them, with their frames, fit; the one that does not is on its way.
      assert.strictEqual(sent, 66)
      reader.read()
      pump.settle()
      assert.strictEqual(sent, 67)
      for (let i = 0; i < 20; i++) reader.read()
      pump.settle()
      assert.strictEqual(sent, 87)
    })
  }

  it("counts empty messages as well", () => {
    const { open } = make()
    const { call } = open()
    let sent = 0
    let room = true
    while (room) {
      room = false
      call.send(Buffer.alloc(0), () => (room = true))
      sent++
    }
    assert.strictEqual(sent, 65_535 / 5 + 1)
  })

  it("is over for the server once what it sent fits into the window, read or not", () => {
    const { open, pump, serving } = make()
    const [small, large] = [open(), open()]
    pump.settle()
    for (const [i, size] of [1000, 70_000].entries()) {
      serving.calls[i]!.send(Buffer.alloc(size), none)
      serving.calls[i]!.end(ok)
    }
    pump.settle()
    assert.deepStrictEqual(serving.told, ["close"])
    assert.deepStrictEqual([small.told, large.told], [["headers {}"], ["headers {}"]])
    small.call.read()
    pump.settle()
    assert.strictEqual(small.told.at(-1), "end 0 sent OK {}")
    large.call.cancel()
    pump.settle()
    assert.deepStrictEqual(serving.told, ["close", "close"])
  })

  it("that is over for the server keeps its rest for the client, whatever the server does", () => {
    const { open, pump, server, serving } = make()
    const { call, told } = open()
    pump.settle()
    serving.call.read()
    serving.call.send(Buffer.from("1"), none)
    serving.call.end(ok)
    pump.settle()
    call.send(Buffer.from("too late"), none)
    server.cut()
    pump.settle()
    assert.deepStrictEqual([told, serving.told], [["headers {}"], ["close"]])
    call.read()
    pump.settle()
    assert.deepStrictEqual(told, ["headers {}", "message 1", "end 0 sent OK {}"])
    assert.deepStrictEqual(serving.told, ["close"])
  })

  it("can be refused at once", () => {
    const { network, pump } = make()
    let closed = 0
    const accept = (call: ServerCall): ServerListener => {
      call.end({ code: 12, details: "no", trailers: [] })
      return { onMessage: none, onHalfClose: none, onRefused: none, onClose: () => void closed++ }
    }
    const { address } = network.listen("refusing", 80, { accept, maxMessageSize: 1, maxConcurrentStreams: 1 })!
    const told: Array<string> = []
    const connection = transport(network, pump, 1).connect({ address, authority: address, keepalive: false })
    for (let i = 0; i < 2; i++) connection.open("/a/b", [], Infinity, listenerInto(told))
    pump.settle()
    assert.deepStrictEqual(told, ["end 12 sent no {}", "end 12 sent no {}"])
    assert.strictEqual(closed, 2)
  })
})

describe("a call in memory ends", () => {
  it("when the client cancels it: both are told once, and what is on its way is dropped", () => {
    const { open, pump, serving } = make()
    const { call, told } = open()
    pump.settle()
    serving.call.read()
    serving.call.send(Buffer.from("1"), none)
    call.send(Buffer.from("1"), none)
    call.read()
    call.cancel()
    call.cancel()
    serving.call.end(ok)
    call.halfClose()
    pump.settle()
    assert.deepStrictEqual(told, ["end 1 sent cancelled by the client {}"])
    assert.deepStrictEqual(serving.told, ["close"])
  })

  it("before the server hears of it, when it is cancelled at once", () => {
    const { open, pump, serving } = make()
    const { call, told } = open()
    call.cancel()
    pump.settle()
    assert.deepStrictEqual(told, ["end 1 not sent cancelled by the client {}"])
    assert.strictEqual(serving.calls.length, 0)
  })

  it("when the server resets it", () => {
    const { open, pump, serving } = make()
    const { told } = open()
    pump.settle()
    serving.call.send(Buffer.from("1"), none)
    serving.call.reset()
    pump.settle()
    assert.deepStrictEqual(told, ["end 1 sent reset by the server {}"])
    assert.deepStrictEqual(serving.told, ["close"])
  })

  it("at its deadline, which the server knows", () => {
    const { open, pump, serving } = make()
    const { told } = open([], 50)
    pump.settle()
    assert.strictEqual(serving.call.deadline, 50)
    pump.advance(49)
    assert.deepStrictEqual(told, [])
    pump.advance(1)
    assert.deepStrictEqual(told, ["end 4 sent the deadline passed {}"])
    assert.deepStrictEqual(serving.told, ["close"])
  })

  it("with no timer left", () => {
    const { open, pump, serving } = make()
    const calls = [open([], 50), open([], 50)]
    pump.settle()
    assert.strictEqual(pump.timers, 2)
    calls[0]!.call.cancel()
    serving.calls[1]!.end(ok)
    pump.settle()
    assert.strictEqual(pump.timers, 0)
  })

  it("when a message is larger than the receiver or the sender allows", () => {
    const { open, pump, serving } = make()
    const [early, late, request, response] = [open(), open(), open(), open()]
    early.call.send(Buffer.alloc(2001), none)
    pump.settle()
    late.call.send(Buffer.alloc(2001), none)
    request.call.send(Buffer.alloc(1001), none)
    serving.calls[1]!.read()
    serving.calls[2]!.send(Buffer.alloc(2001), none)
    response.call.read()
    pump.settle()
    assert.deepStrictEqual(
      [early, late, request, response].map(({ told }) => told.at(-1)),
      [
        "end 8 not sent a request larger than 2000 bytes {}",
        "end 8 sent a request larger than 2000 bytes {}",
        // Of that the server tells, behind what it has answered.
        undefined,
        "end 8 sent a response larger than 2000 bytes {}"
      ]
    )
    assert.deepStrictEqual(serving.told, ["close", "RESOURCE_EXHAUSTED", "close"])
  })
})

describe("a connection in memory", () => {
  it("says how it is: idle, connecting, failing, and ready when a server comes, again and again", () => {
    const { connection, listen, pump, server } = make()
    const states: Array<string> = []
    const stop = connection.onChange((now) => void states.push(now))
    assert.strictEqual(connection.connectivity(), "idle")
    connection.connect()
    connection.connect()
    pump.settle()
    server.close()
    pump.settle()
    const second = listen(Number(server.address.split(":")[1]))
    pump.settle()
    assert.deepStrictEqual(states, ["connecting", "ready", "connecting", "failing", "connecting", "ready"])
    stop()
    second.close()
    pump.settle()
    assert.strictEqual(states.length, 6)
    assert.strictEqual(connection.connectivity(), "failing")
  })

  it("refuses calls, unsent, where nothing listens", () => {
    const { open, pump, server } = make()
    server.close()
    const first = open()
    pump.settle()
    const second = open()
    pump.settle()
    const text = `end 14 not sent nothing listens on ${server.address} {}`
    assert.deepStrictEqual([first.told, second.told], [[text], [text]])
  })

  it("lets calls go on when the server takes no more, until it cuts them", () => {
    const { open, pump, server, serving } = make()
    const [first, second] = [open(), open()]
    pump.settle()
    server.close()
    serving.calls[0]!.end(ok)
    pump.settle()
    assert.deepStrictEqual([first.told, second.told], [["end 0 sent OK {}"], []])
    assert.deepStrictEqual(serving.told, ["close"])
    server.cut()
    pump.settle()
    assert.deepStrictEqual(second.told, ["end 14 sent the connection was lost {}"])
    assert.deepStrictEqual(serving.told, ["close", "close"])
  })

  it("keeps calls back that are more than the server takes at once", () => {
    const { open, pump, serving } = make({ maxConcurrentStreams: 2 })
    const calls = [open(), open(), open(), open(), open()]
    pump.settle()
    assert.strictEqual(serving.calls.length, 2)
    calls[2]!.call.cancel()
    serving.calls[0]!.end(ok)
    calls[1]!.call.cancel()
    pump.settle()
    assert.strictEqual(serving.calls.length, 4)
    assert.deepStrictEqual(calls[2]!.told, ["end 1 not sent cancelled by the client {}"])
  })

  it("when it is closed takes no calls, and lets those go on that it has", () => {
    const { connection, open, pump, serving } = make()
    const first = open()
    pump.settle()
    const second = open()
    connection.close()
    connection.close()
    const third = open()
    serving.call.end(ok)
    pump.settle()
    assert.deepStrictEqual(first.told, ["end 0 sent OK {}"])
    for (const { told } of [second, third])
      assert.deepStrictEqual(told, ["end 14 not sent the connection is closed {}"])
  })

  it("stays as it is once it is closed, wherever it was", () => {
    for (const before of ["connecting", "ready", "failing"] as const) {
      const { connection, listen, pump, server } = make()
      if (before === "failing") server.close()
      connection.connect()
      if (before !== "connecting") pump.settle()
      connection.close()
      pump.settle()
      server.close()
      pump.settle()
      listen(Number(server.address.split(":")[1]))
      pump.settle()
      assert.strictEqual(connection.connectivity(), before)
    }
  })

  it("does not connect before it is told to or has a call", () => {
    const { connection, listen, pump } = make()
    listen()
    pump.settle()
    assert.strictEqual(connection.connectivity(), "idle")
  })
})

describe("a network", () => {
  const options: ServerOptions = { accept: new Serving().accept, maxMessageSize: 1, maxConcurrentStreams: 1 }

  it("gives free ports away, and no address twice", () => {
    const network = new GrpcNetwork()
    network.listen("127.0.0.1", 49_152, options)
    const addresses = ["127.0.0.1", "127.0.0.1", "::1"].map((host) => network.listen(host, 0, options)!.address)
    assert.strictEqual(new Set(["127.0.0.1:49152", ...addresses]).size, 4)
    assert.match(addresses[2]!, /^\[::1\]:\d+$/)
    const taken = Number(addresses[0]!.split(":")[1])
    assert.isUndefined(network.listen("0.0.0.0", taken, options))
    assert.isDefined(network.listen("other", taken, options))
  })

  it("gives an address away again when its server has closed, and a second close takes it from nobody", () => {
    const network = new GrpcNetwork()
    const first = network.listen("localhost", 80, options)!
    first.close()
    const second = network.listen("localhost", 80, options)
    first.close()
    assert.strictEqual(network.find("127.0.0.1:80")?.address, second?.address)
  })

  it("is apart from every other", () => {
    const { address } = new GrpcNetwork().listen("127.0.0.1", 80, options)!
    assert.isUndefined(new GrpcNetwork().find(address))
  })
})

describe("the pump of an Effect", () => {
  it.effect("goes by the clock of its caller, and what is called off does not come", () =>
    Effect.gen(function* () {
      const pump = yield* makePump
      const told: Array<string> = []
      const gate = yield* Deferred.make<void>()
      pump.at(pump.now() + 1000, () => Deferred.doneUnsafe(gate, Effect.void))
      pump.at(pump.now() + 500, () => void told.push("never"))()
      pump.at(Infinity, () => void told.push("never"))()
      yield* TestClock.adjust(999)
      assert.isFalse(yield* Deferred.isDone(gate))
      yield* TestClock.adjust(1)
      yield* Deferred.await(gate)
      assert.deepStrictEqual(told, [])
    }).pipe(Effect.scoped)
  )
})

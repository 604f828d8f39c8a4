// The transport of one process: it carries calls in memory as HTTP/2 would between two. What is sent is copied, waits
// until it is read, and holds its sender back when too much of it waits; nothing arrives before its sender has gone on.
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Scheduler from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import type { Metadata } from "../Call.ts"
import type {
  Accept,
  ClientCall,
  ClientListener,
  ClientTransport,
  Connection,
  Connectivity,
  Ended,
  Entries,
  ServerCall,
  ServerListener,
  Status
} from "./transport.ts"

/** What one direction of a call holds before its sender waits, in bytes: HTTP/2 grants a stream as much. */
const windowSize = 65_535

/** What gRPC puts before every message, so that empty ones count as well. */
const frameSize = 5

const cancelled = 1
const deadlineExceeded = 4
const resourceExhausted = 8
const unavailable = 14

/** How the calls of a transport are moved on. */
export interface Pump {
  /** In milliseconds of the epoch. */
  readonly now: () => number
  /** Runs a task after the one that runs, behind those that wait. */
  readonly later: (task: () => void) => void
  /** Runs a task at a time in milliseconds of the epoch, never when it is Infinity; gives what calls it off. */
  readonly at: (time: number, task: () => void) => () => void
}

/** A pump on the clock and the scheduler of its caller: with those of a test, the test sees every delivery. */
export const makePump: Effect.Effect<Pump, never, Scope.Scope> = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const dispatcher = (yield* Scheduler.Scheduler).makeDispatcher()
  const run = yield* FiberSet.makeRuntime<never>()
  return {
    now: () => clock.currentTimeMillisUnsafe(),
    later: (task) => dispatcher.scheduleTask(task, 0),
    at: (time, task) => {
      if (time === Infinity) return () => {}
      const left = Duration.millis(Math.max(0, time - clock.currentTimeMillisUnsafe()))
      const fiber = run(Effect.andThen(Effect.sleep(left), Effect.sync(task)))
      return () => fiber.interruptUnsafe()
    }
  }
})

/** Metadata that has arrived. */
const metadataOf = (entries: Entries): Metadata => {
  const values: Record<string, Array<string | Buffer>> = Object.create(null)
  for (const [name, value] of entries) (values[name.toLowerCase()] ??= []).push(value)
  return { get: (name) => values[name.toLowerCase()] ?? [], toJSON: () => values }
}

const none = (): void => {}

/** Something on its way: it arrives when the receiver asks for it, or as soon as all before it has. */
interface Item {
  readonly size: number
  readonly asked: boolean
  readonly arrive: () => void
}

/** One direction of a call. */
class Pipe {
  readonly #pump: Pump
  #items: Array<Item> = []
  #senders: Array<() => void> = []
  #held = 0
  #asked = 0
  #flows = false
  #closed = false

  constructor(pump: Pump) {
    this.#pump = pump
  }

  /** Sends; `sent` is told, at once or later, when what waits fits into the window. */
  put(item: Item, sent: () => void): void {
    if (this.#closed) return
    this.#items.push(item)
    this.#held += item.size
    this.#flow()
    if (this.#held > windowSize) this.#senders.push(sent)
    else sent()
  }

  /** Asks for one message more. */
  read(): void {
    this.#asked++
    this.#flow()
  }

  /** Forgets what has not arrived. */
  close(): void {
    this.#closed = true
    this.#items = []
    this.#senders = []
  }

  #flow(): void {
    if (this.#flows || this.#closed) return
    this.#flows = true
    this.#pump.later(() => {
      this.#flows = false
      for (let item = this.#items[0]; item !== undefined; item = this.#items[0]) {
        if (item.asked && this.#asked === 0) break
        if (item.asked) this.#asked--
        this.#items.shift()
        this.#held -= item.size
        item.arrive()
      }
      if (this.#held > windowSize) return
      const senders = this.#senders
      this.#senders = []
      for (const sent of senders) sent()
    })
  }
}

/** What a server in a network is. */
export interface ServerOptions {
  readonly accept: Accept
  /** In bytes. */
  readonly maxMessageSize: number
  /** Calls at once on one connection. */
  readonly maxConcurrentStreams: number
}

/** A call between a client and a server: two pipes, and how it ends on each side. */
class Exchange {
  readonly #pump: Pump
  readonly #path: string
  readonly #metadata: Entries
  readonly #deadline: number
  readonly #client: ClientListener
  readonly #maxMessageSize: number
  readonly #requests: Pipe
  readonly #responses: Pipe
  readonly #stopTimer: () => void
  #server: ServerListener | undefined
  #maxRequestSize = 0
  #onLeave = none
  #accepted = false
  #headersSent = false
  #over = false

  constructor(
    pump: Pump,
    path: string,
    metadata: Entries,
    deadline: number,
    client: ClientListener,
    maxMessageSize: number
  ) {
    this.#pump = pump
    this.#path = path
    this.#metadata = metadata
    this.#deadline = deadline
    this.#client = client
    this.#maxMessageSize = maxMessageSize
    this.#requests = new Pipe(pump)
    this.#responses = new Pipe(pump)
    this.#stopTimer = pump.at(deadline, () => this.fail(deadlineExceeded, "the deadline passed"))
  }

  get isOver(): boolean {
    return this.#over
  }

  /** What the client does with it. */
  readonly clientCall: ClientCall = {
    read: () => this.#responses.read(),
    send: (message, sent) => {
      const limit = this.#maxMessageSize
      if (message.length > limit) return this.fail(resourceExhausted, `a request larger than ${limit} bytes`)
      this.#requests.put(
        this.#message(message, (copy) => this.#receive(copy)),
        sent
      )
    },
    halfClose: () => this.#requests.put({ size: 0, asked: true, arrive: () => this.#server!.onHalfClose() }, none),
    cancel: () => this.fail(cancelled, "cancelled by the client")
  }

  /** What the server does with it. */
  readonly #serverCall: () => ServerCall = () => ({
    path: this.#path,
    metadata: metadataOf(this.#metadata),
    deadline: this.#deadline,
    peer: { address: "127.0.0.1" },
    read: () => this.#requests.read(),
    sendHeaders: (entries) => this.#sendHeaders(entries),
    send: (message, sent) => {
      this.#sendHeaders([])
      this.#responses.put(
        this.#message(message, (copy) => this.#reply(copy)),
        sent
      )
    },
    end: (status) =>
      // As with a socket, the server is done when the rest fits into what the client may leave unread.
      this.#responses.put({ size: 0, asked: false, arrive: () => this.#finish(status) }, () =>
        this.#pump.later(() => this.#leave())
      ),
    reset: () => this.fail(cancelled, "reset by the server")
  })

  /** Brings it to a server; `onLeave` is called when the server has no more to do with it. */
  accept(server: ServerOptions, onLeave: () => void): void {
    this.#maxRequestSize = server.maxMessageSize
    this.#onLeave = onLeave
    this.#accepted = true
    this.#server = server.accept(this.#serverCall())
  }

  /** Ends it for both sides, whatever is on its way. */
  fail(code: number, details: string): void {
    if (this.#over) return
    this.#end({ code, details, trailers: metadataOf([]), sent: this.#accepted })
  }

  #finish({ code, details, trailers }: Status): void {
    this.#end({ code, details, trailers: metadataOf(trailers), sent: true })
  }

  #end(ended: Ended): void {
    this.#over = true
    this.#stopTimer()
    this.#requests.close()
    this.#responses.close()
    this.#pump.later(() => {
      this.#client.onEnd(ended)
      this.#leave()
    })
  }

  #leave(): void {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    this.#requests.close()
    server.onClose()
    this.#onLeave()
  }

  #sendHeaders(entries: Entries): void {
    if (this.#headersSent) return
    this.#headersSent = true
    const arrive = () => this.#client.onHeaders(metadataOf(entries))
    this.#responses.put({ size: 0, asked: false, arrive }, none)
  }

  #message(message: Buffer, receive: (copy: Buffer) => void): Item {
    const copy = Buffer.from(message)
    return { size: copy.length + frameSize, asked: true, arrive: () => receive(copy) }
  }

  #receive(message: Buffer): void {
    const limit = this.#maxRequestSize
    if (message.length > limit) return this.fail(resourceExhausted, `a request larger than ${limit} bytes`)
    this.#server!.onMessage(message)
  }

  #reply(message: Buffer): void {
    const limit = this.#maxMessageSize
    if (message.length > limit) return this.fail(resourceExhausted, `a response larger than ${limit} bytes`)
    this.#client.onMessage(message)
  }
}

/** A server that listens in a network. */
export interface Listening {
  /** Where, as `host:port`. */
  readonly address: string
  /** Takes no further calls; those that it has go on. */
  readonly close: () => void
  /** Ends the calls that are left, as the loss of their connections would. */
  readonly cut: () => void
}

class Server implements Listening {
  readonly address: string
  readonly options: ServerOptions
  readonly exchanges = new Set<Exchange>()
  /** Told when it closes. */
  readonly connections = new Set<() => void>()
  readonly #forget: () => void

  constructor(address: string, options: ServerOptions, forget: () => void) {
    this.address = address
    this.options = options
    this.#forget = forget
  }

  readonly close = (): void => {
    this.#forget()
    for (const lost of this.connections) lost()
    this.connections.clear()
  }

  readonly cut = (): void => {
    for (const exchange of this.exchanges) exchange.fail(unavailable, "the connection was lost")
  }
}

/** One address for all that mean this machine: there is no other in a network. */
const placeOf = (address: string): string => address.replace(/^(?:localhost|0\.0\.0\.0|\[::1?\])(?=:\d+$)/, "127.0.0.1")

// Where systems begin to give ports away by themselves.
const firstFreePort = 49_152

/**
 * Where servers and clients of this process meet by address, without a socket: what shares one reaches each other, and
 * nothing else does. It holds no resource; a server is in it from `serve` to the end of that.
 */
export class GrpcNetwork {
  readonly #servers = new Map<string, Server>()
  readonly #waiting = new Map<string, Set<() => void>>()
  #nextPort = firstFreePort

  /** Listens, on a free port when it is 0; undefined when another does. */
  listen(host: string, port: number, options: ServerOptions): Listening | undefined {
    const name = host.includes(":") ? `[${host}]` : host
    let address = `${name}:${port}`
    while (port === 0 && (address.endsWith(":0") || this.#servers.has(placeOf(address)))) {
      address = `${name}:${this.#nextPort++}`
    }
    const place = placeOf(address)
    if (this.#servers.has(place)) return undefined
    const server = new Server(address, options, () => {
      if (this.#servers.get(place) === server) this.#servers.delete(place)
    })
    this.#servers.set(place, server)
    for (const wake of this.#waiting.get(place) ?? []) wake()
    return server
  }

  /** What listens on an address. */
  find(address: string): Server | undefined {
    return this.#servers.get(placeOf(address))
  }

  /** Calls back whenever a server begins to listen on an address; gives what ends it. */
  await(address: string, wake: () => void): () => void {
    const place = placeOf(address)
    const waiting = this.#waiting.get(place) ?? new Set()
    this.#waiting.set(place, waiting.add(wake))
    return () => {
      waiting.delete(wake)
      if (waiting.size === 0) this.#waiting.delete(place)
    }
  }
}

/** A connection to what listens on one address of a network, now or later. */
class EmbeddedConnection implements Connection {
  readonly #network: GrpcNetwork
  readonly #pump: Pump
  readonly #address: string
  readonly #maxMessageSize: number
  readonly #watchers = new Set<(now: Connectivity) => void>()
  readonly #stopWaiting: () => void
  /** Opened, and not at the server yet. */
  #queue: Array<Exchange> = []
  #open = 0
  #server: Server | undefined
  #state: Connectivity = "idle"
  #closed = false

  constructor(network: GrpcNetwork, pump: Pump, address: string, maxMessageSize: number) {
    this.#network = network
    this.#pump = pump
    this.#address = address
    this.#maxMessageSize = maxMessageSize
    this.#stopWaiting = network.await(address, () => {
      if (this.#state === "failing") this.#dial()
    })
  }

  readonly connectivity = (): Connectivity => this.#state

  readonly onChange = (changed: (now: Connectivity) => void): (() => void) => {
    this.#watchers.add(changed)
    return () => void this.#watchers.delete(changed)
  }

  readonly connect = (): void => {
    if (this.#state === "idle") this.#dial()
  }

  readonly open = (path: string, metadata: Entries, deadline: number, listener: ClientListener): ClientCall => {
    const exchange = new Exchange(this.#pump, path, metadata, deadline, listener, this.#maxMessageSize)
    this.#queue.push(exchange)
    if (this.#closed) this.#refuse("the connection is closed")
    else if (this.#state === "failing") this.#refuse(`nothing listens on ${this.#address}`)
    else if (this.#state === "idle") this.#dial()
    else this.#pump.later(() => this.#send())
    return exchange.clientCall
  }

  readonly close = (): void => {
    if (this.#closed) return
    this.#closed = true
    this.#stopWaiting()
    this.#server?.connections.delete(this.#lost)
    this.#watchers.clear()
    this.#refuse("the connection is closed")
  }

  readonly #lost = (): void => {
    this.#server = undefined
    this.#dial()
  }

  #dial(): void {
    this.#become("connecting")
    this.#pump.later(() => {
      if (this.#closed) return
      this.#server = this.#network.find(this.#address)
      if (this.#server === undefined) {
        this.#become("failing")
        return this.#refuse(`nothing listens on ${this.#address}`)
      }
      this.#server.connections.add(this.#lost)
      this.#become("ready")
      this.#send()
    })
  }

  #become(state: Connectivity): void {
    this.#state = state
    for (const changed of this.#watchers) this.#pump.later(() => changed(state))
  }

  /** Ends what has not reached a server. */
  #refuse(details: string): void {
    const queue = this.#queue
    this.#queue = []
    for (const exchange of queue) exchange.fail(unavailable, details)
  }

  #send(): void {
    const server = this.#server
    while (server !== undefined && this.#open < server.options.maxConcurrentStreams) {
      const exchange = this.#queue.shift()
      if (exchange === undefined) return
      if (exchange.isOver) continue
      this.#open++
      server.exchanges.add(exchange)
      exchange.accept(server.options, () => {
        this.#open--
        server.exchanges.delete(exchange)
        this.#send()
      })
    }
  }
}

/** What a client in a network stands on; `maxMessageSize` in bytes, for both directions. */
export const transport = (network: GrpcNetwork, pump: Pump, maxMessageSize: number): ClientTransport => ({
  connect: ({ address }) => new EmbeddedConnection(network, pump, address, maxMessageSize),
  now: pump.now,
  // What does not leave the process is nobody's to read.
  refuse: () => undefined
})

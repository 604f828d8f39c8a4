// The transport of one process: a network in which servers listen and clients connect by address, without a socket.
import * as Effect from "effect/Effect"
import { formatAddress } from "./address.ts"
import { Exchange, type Pump, type ServerOptions } from "./exchange.ts"
import type { ClientCall, ClientListener, ClientTransport, Connection, Connectivity, Entries } from "./transport.ts"

const unavailable = 14

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
  #lastPort = firstFreePort - 1

  /** Listens, on a free port when it is 0; undefined when another does. */
  listen(host: string, port: number, options: ServerOptions): Listening | undefined {
    const address = formatAddress(host, port === 0 ? this.#freePort(host) : port)
    const place = placeOf(address)
    if (this.#servers.has(place)) return undefined
    const server = new Server(address, options, () => {
      if (this.#servers.get(place) === server) this.#servers.delete(place)
    })
    this.#servers.set(place, server)
    for (const wake of this.#waiting.get(place) ?? []) wake()
    return server
  }

  #freePort(host: string): number {
    let port = this.#lastPort + 1
    while (this.#servers.has(placeOf(formatAddress(host, port)))) port++
    this.#lastPort = port
    return port
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
    if (server === undefined) return
    while (this.#open < server.options.maxConcurrentStreams) {
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
  // A network has no other names than those that its servers listen on.
  lookup: (host) => Effect.succeed([host]),
  now: pump.now,
  // What does not leave the process is nobody's to read.
  refuse: () => undefined
})

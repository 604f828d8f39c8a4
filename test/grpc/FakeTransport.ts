// A transport of a client whose servers do what a test says, at once and without a network.
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Grpc, type GrpcError } from "xdooria/grpc"
import { GetPlayerResponse } from "../../src/gen/game.ts"
import * as Client from "../../src/grpc/internal/client/client.ts"
import type {
  ClientListener,
  ClientTransport,
  Connection,
  Connectivity,
  Ended,
  Entries,
  Place
} from "../../src/grpc/internal/transport.ts"

/** A call that has arrived at a server. */
export interface Arrived {
  readonly address: string
  readonly path: string
  readonly metadata: Entries
  readonly deadline: number
  readonly listener: ClientListener
  cancelled: boolean
  /** How many messages it has asked for. */
  reads: number
}

/** What a server does with a call. */
export type Behaviour = (call: Arrived) => void

const none = { get: () => [], toJSON: () => ({}) }
const some = { get: () => [], toJSON: () => ({ "content-type": ["application/grpc"] }) }

const end =
  (code: number, changes: Partial<Ended> = {}): Behaviour =>
  (call) =>
    call.listener.onEnd({ code, details: "", trailers: none, sent: true, ...changes })

/** Answers with a player. */
export const answer: Behaviour = (call) => {
  call.listener.onHeaders(some)
  call.listener.onMessage(Buffer.from(GetPlayerResponse.encode({ player: undefined }).finish()))
  end(0)(call)
}
/** The connection breaks: nobody knows what became of it. */
export const lose = end(14)
/** It never got there. */
export const drop = end(14, { sent: false })
/** The server says UNAVAILABLE. */
export const decline = end(14, { trailers: some })
/** The server says NOT_FOUND. */
export const absent = end(5, { trailers: some })
/** Nothing comes back before the deadline: the test says when that is. */
export const timeOut = end(4)
export const unimplemented = end(12, { trailers: some })
/** Nothing comes back. */
export const ignore: Behaviour = () => {}

class FakeConnection implements Connection {
  readonly place: Place
  readonly #network: Network
  readonly #listeners = new Set<(now: Connectivity) => void>()
  #state: Connectivity = "idle"
  isClosed = false

  constructor(place: Place, network: Network) {
    this.place = place
    this.#network = network
  }

  readonly connectivity = () => {
    this.#network.asked++
    return this.#state
  }

  readonly onChange = (changed: (now: Connectivity) => void) => {
    this.#listeners.add(changed)
    return () => this.#listeners.delete(changed)
  }

  readonly connect = () => this.become(this.#network.stateOf(this.place.address))

  become(state: Connectivity): void {
    this.#state = state
    for (const changed of this.#listeners) changed(state)
  }

  readonly open: Connection["open"] = (path, metadata, deadline, listener) => {
    const { address } = this.place
    const call: Arrived = { address, path, metadata, deadline, listener, cancelled: false, reads: 0 }
    this.#network.arrived.push(call)
    return {
      read: () => {
        call.reads++
      },
      send: (_, sent) => sent(),
      halfClose: () => queueMicrotask(() => this.#network.behaviourOf(call)(call)),
      cancel: () => {
        call.cancelled = true
        end(1)(call)
      }
    }
  }

  readonly close = () => {
    this.isClosed = true
  }
}

/** All servers that there are, and what arrived at them. */
class Network {
  readonly arrived: Array<Arrived> = []
  readonly connections: Array<FakeConnection> = []
  /** The addresses of names. */
  readonly names: Record<string, ReadonlyArray<string>> = {}
  behaviourOf: (call: Arrived) => Behaviour = () => answer
  stateOf: (address: string) => Connectivity = () => "ready"

  /** How often a connection was asked how it is. */
  asked = 0
  /** What the system's clock was set back by, in milliseconds. */
  setBack = 0
  /** An address that no connection can be made to. */
  invalid: string | undefined

  /** How many calls arrived at each server, of those from the `from`th on. */
  counts(from = 0): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const { address } of this.arrived.slice(from)) counts[address] = (counts[address] ?? 0) + 1
    return counts
  }
}

const defaults = Schema.decodeSync(Grpc.GrpcConfig.schema)({})

/** A client on a network of its own. */
export const make = Effect.fnUntraced(function* (changes: Partial<Grpc.GrpcSettings> = {}) {
  const clock = yield* Clock.Clock
  const network = new Network()
  const transport: ClientTransport = {
    now: () => clock.currentTimeMillisUnsafe() - network.setBack,
    lookup: (host) => Effect.sync(() => network.names[host]),
    refuse: () => undefined,
    connect: (place) => {
      if (place.address === network.invalid) throw new TypeError("no address")
      const connection = new FakeConnection(place, network)
      network.connections.push(connection)
      return connection
    }
  }
  const client = yield* Client.make({ ...defaults, ...changes }, transport)
  const to = <A extends Grpc.AnyApi>(api: A, options: Grpc.ClientOptions) =>
    client.make(api, options) as unknown as Effect.Effect<Grpc.Client<A>, GrpcError, Scope.Scope>
  return { network, to }
})

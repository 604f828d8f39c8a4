import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { Closed, ClusterDown, type RedisFailureReason, Unavailable } from "../RedisError.ts"
import type { Redirection } from "./classify.ts"
import { type Connection, dial, type DialOptions } from "./Connection.ts"
import { lookupTimeout, primaryOf, slotsOf } from "./lookup.ts"
import { type Place, slotCount, slotOf } from "./slot.ts"

/** Where the servers are, and how they are found. */
export interface NodesOptions {
  readonly addresses: ReadonlyArray<string>
  readonly kind: "single" | "cluster" | "sentinel"
  readonly dial: DialOptions
  /** Sentinels: what they call the primary, and how they are dialled. */
  readonly primaryName: string
  readonly sentinel: DialOptions
}

/** How often a connection is looked at. One from which nothing comes for {@link deadTicks} after a PING is dead. */
const beat = "250 millis"
const deadTicks = 4

/** The least time between two dials of one client once it has been connected, in milliseconds. */
const dialGap = 100

/** How many dials of one client may fail in a row before the time between them grows, up to that of the backoff. */
const patience = 5

/** The longest time between a failed dial and the next, in milliseconds. */
const longestBackoff = 1_000

/** The least time between two connections that are given up because their server is a replica, in milliseconds. */
const suspectGap = 500

/** Until when the servers are asked again where nothing is wrong, in milliseconds. */
const lookupPeriod = { cluster: 30_000, sentinel: 2_000 }

/** A server that is to be connected to, until it is no longer wanted. */
class Node {
  readonly address: string
  isWanted = true
  connection: Connection | undefined
  /** Why there is no connection. */
  problem: RedisFailureReason = new Unavailable({ detail: "connecting" })
  /** Dials that failed since one last worked, and whether it was dialled before. */
  failures = 0
  isFresh = true

  constructor(address: string) {
    this.address = address
  }
}

const isUp = (node: Node): boolean => node.connection?.isOpen === true

/**
 * The servers of a client, each with one connection that all calls share: one server, the primary that the sentinels name,
 * or all primaries of a cluster and what slots they have.
 *
 * A connection that ends is made again for ever, by a fiber for each server. Nothing else dials, so that the rate of
 * dials is that of {@link dialGap}, however many calls there are and however they fail.
 */
export class Nodes {
  readonly isCluster: boolean
  /** Whether its client takes nothing more. Set before anything of it ends, so that all that ends says the same. */
  isClosed = false
  /** Called when a server can be given calls again. */
  onReady: () => void = () => {}
  private readonly options: NodesOptions
  private readonly clock: Clock.Clock
  private readonly random: Random.Random
  private readonly fork: (effect: Effect.Effect<void>) => void
  private readonly nodes = new Map<string, Node>()
  private readonly open = new Set<Connection>()
  /** The address for each slot. */
  private readonly slots: Array<string | undefined> = Array.from({ length: slotCount })
  private readonly lookUpNow = Latch.makeUnsafe(false)
  private readonly lookUpDone = Latch.makeUnsafe(false)
  private readonly dialing = Semaphore.makeUnsafe(1)
  private nextDialAt = 0
  /** Dials that failed since any worked, and whether all servers have been connected before. */
  private failedDials = 0
  private hasBeenUp = false
  private nextSuspectAt = 0
  private lookupProblem: RedisFailureReason | undefined
  private nextSentinel = 0
  private sentinel: Connection | undefined

  private constructor(
    options: NodesOptions,
    clock: Clock.Clock,
    random: Random.Random,
    fork: (effect: Effect.Effect<void>) => void
  ) {
    this.options = options
    this.isCluster = options.kind === "cluster"
    this.clock = clock
    this.random = random
    this.fork = fork
  }

  /** Begins to connect. The connections end with the scope. */
  static readonly make: (options: NodesOptions) => Effect.Effect<Nodes, never, Scope.Scope> = Effect.fnUntraced(
    function* (options) {
      const scope = yield* Effect.scope
      const runFork = Effect.runForkWith(yield* Effect.context())
      const nodes = new Nodes(options, yield* Clock.Clock, yield* Random.Random, (effect) => {
        runFork(Effect.forkIn(effect, scope, { startImmediately: true }))
      })
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          for (const connection of nodes.open) connection.close(new Closed())
        }).pipe(Effect.andThen(Effect.timeoutOption(nodes.allEnded, "1 second")))
      )
      if (options.kind === "single") nodes.want(options.addresses[0]!)
      else yield* Effect.forkScoped(nodes.lookUpAlways)
      return nodes
    }
  )

  /** The time in milliseconds, of a clock that is never set. */
  readonly now = (): number => Number(this.clock.monotonicTimeNanosUnsafe() / 1_000_000n)

  /** The connection for a place; any for none. Undefined while there is none. */
  pick(place: Place | undefined): Connection | undefined {
    if (this.isCluster && place === undefined) return this.any()
    const node = this.nodeOf(place)
    return node !== undefined && isUp(node) ? node.connection : undefined
  }

  /** The connection to an address, which is made when there is none. */
  at(address: string): Connection | undefined {
    const node = this.want(address)
    return isUp(node) ? node.connection : undefined
  }

  /** Why there is no connection for a place. */
  problemOf(place: Place | undefined): RedisFailureReason {
    if (this.isClosed) return new Closed()
    return this.nodeOf(place)?.problem ?? this.problem ?? new ClusterDown()
  }

  /** The address for a place; any for none. */
  addressFor(place: Place | undefined): string | undefined {
    return this.isCluster && place === undefined ? this.any()?.address : this.nodeOf(place)?.address
  }

  /** The address that has a slot. */
  addressOfSlot(slot: number): string | undefined {
    return this.slots[slot]
  }

  /** The addresses of the servers that calls go to. */
  get addresses(): ReadonlyArray<string> {
    return [...this.nodes.keys()]
  }

  /** The connection to one of them, when there is one. */
  connectionTo(address: string): Connection | undefined {
    const node = this.nodes.get(address)
    return node !== undefined && isUp(node) ? node.connection : undefined
  }

  /** Whether an address is one of a primary that has slots. */
  isPrimary(address: string): boolean {
    return this.isCluster && this.nodes.has(address)
  }

  /** Has the servers looked up, and waits for that a second at most. */
  readonly lookedUp: Effect.Effect<void> = Effect.suspend(() => {
    if (this.options.kind === "single") return Effect.void
    this.lookUpNow.openUnsafe()
    return Effect.asVoid(Effect.timeoutOption(this.lookUpDone.await, lookupTimeout))
  })

  /** What is wrong with any of the servers; undefined when all is well. */
  get problem(): RedisFailureReason | undefined {
    for (const node of this.nodes.values()) if (!isUp(node)) return node.problem
    if (this.nodes.size === 0) return this.lookupProblem ?? new Unavailable({ detail: "connecting" })
    return this.isCluster && this.slots.includes(undefined) ? (this.lookupProblem ?? new ClusterDown()) : undefined
  }

  /** Whether a dial or a lookup has failed; until then there is nothing to tell. */
  get hasTried(): boolean {
    return this.lookupProblem !== undefined || [...this.nodes.values()].some(({ failures }) => failures > 0)
  }

  /** The driver's connections. */
  get natives(): ReadonlyArray<Connection["native"]> {
    return [...this.nodes.values()].flatMap(({ connection }) => (connection === undefined ? [] : [connection.native]))
  }

  /** Takes down where a server said that a slot is now. */
  moved({ address, slot }: Redirection): void {
    if (slot >= slotCount) return
    this.slots[slot] = address
    this.want(address)
    this.lookUpNow.openUnsafe()
  }

  /** Takes down that a server no longer does what it was chosen for: it has become a replica, or its cluster is down. */
  suspect(connection: Connection): void {
    this.lookUpNow.openUnsafe()
    if (this.isCluster || this.now() < this.nextSuspectAt) return
    this.nextSuspectAt = this.now() + suspectGap
    // The name may lead to another server by now; what was sent before is still answered.
    connection.retire()
  }

  /** Waits until a dial that is not one of the start may begin. */
  readonly gate: Effect.Effect<void> = Effect.suspend(() =>
    this.dialing.withPermit(
      Effect.suspend(() => Effect.sleep(Math.max(0, this.nextDialAt - this.now()))).pipe(
        Effect.andThen(
          Effect.sync(() => {
            this.nextDialAt = this.now() + Math.min(longestBackoff, dialGap * Math.max(1, this.failedDials / patience))
          })
        )
      )
    )
  )

  /**
   * Connects; the connection ends with the client at the latest.
   *
   * - `onMade`: gets the connection as soon as it is made, before it may be used
   */
  readonly dialled = (
    address: string,
    options: DialOptions = this.options.dial,
    onMade: (connection: Connection) => void = () => {}
  ): Effect.Effect<Connection, RedisFailureReason> =>
    Effect.suspend(() => (this.isClosed ? Effect.fail(new Closed()) : this.dialNow(address, options, onMade)))

  private dialNow(
    address: string,
    options: DialOptions,
    onMade: (connection: Connection) => void
  ): Effect.Effect<Connection, RedisFailureReason> {
    return dial(address, options, (connection) => {
      this.open.add(connection)
      connection.native.once("end", () => this.open.delete(connection))
      onMade(connection)
    })
  }

  private get allEnded(): Effect.Effect<void> {
    return Effect.forEach(this.open, ({ ended }) => ended, { concurrency: "unbounded", discard: true })
  }

  private any(): Connection | undefined {
    const up = [...this.nodes.values()].filter(isUp)
    return up[Math.floor(this.random.nextDoubleUnsafe() * up.length)]?.connection
  }

  private nodeOf(place: Place | undefined): Node | undefined {
    if (!this.isCluster) {
      for (const node of this.nodes.values()) return node
      return undefined
    }
    const address = place === undefined ? undefined : this.slots[slotOf(place.tag)]
    return address === undefined ? undefined : this.nodes.get(address)
  }

  private want(address: string): Node {
    const known = this.nodes.get(address)
    if (known !== undefined) return known
    const node = new Node(address)
    this.nodes.set(address, node)
    this.fork(this.serve(node))
    return node
  }

  /** Wants these servers and no others. */
  private wantOnly(addresses: ReadonlySet<string>): void {
    for (const [address, node] of this.nodes) {
      if (addresses.has(address)) continue
      node.isWanted = false
      this.nodes.delete(address)
      node.connection?.retire()
    }
    for (const address of addresses) this.want(address)
  }

  private readonly backoff = (failures: number): number =>
    (0.5 + this.random.nextDoubleUnsafe() / 2) * Math.min(longestBackoff, 50 * 2 ** Math.min(failures, 8))

  /** Keeps a server connected for as long as it is wanted. */
  private readonly serve = (node: Node): Effect.Effect<void> => {
    const attempt = Effect.gen({ self: this }, function* () {
      if (!node.isFresh) yield* Effect.sleep(this.backoff(node.failures))
      if (!node.isFresh || this.hasBeenUp) yield* this.gate
      node.isFresh = false
      if (!node.isWanted) return
      const dialled = yield* Effect.result(this.dialled(node.address))
      if (Result.isFailure(dialled)) {
        node.failures++
        this.failedDials++
        node.problem = dialled.failure
        return this.lookUpNow.openUnsafe()
      }
      const connection = dialled.success
      if (!node.isWanted) return connection.close()
      node.failures = 0
      this.failedDials = 0
      node.connection = connection
      // Of what its next end is told before anything else is known.
      node.problem = connection.reason
      this.lookUpNow.openUnsafe()
      this.hasBeenUp ||= this.problem === undefined
      this.onReady()
      yield* Effect.raceFirst(connection.ended, this.listen(connection))
      node.connection = undefined
      node.problem = connection.reason
      this.lookUpNow.openUnsafe()
    })
    return Effect.whileLoop({ while: () => node.isWanted, body: () => attempt, step: () => {} })
  }

  /** Ends a connection from which nothing comes any more. Counts its own steps, so that a pause of ours ends nothing. */
  private readonly listen = (connection: Connection): Effect.Effect<void> => {
    let received = -1
    let silent = 0
    const look = Effect.sync(() => {
      if (connection.received !== received) {
        received = connection.received
        silent = 0
      } else if (silent++ === 0) connection.ping(() => {})
      else if (silent > deadTicks) connection.close(new Unavailable({ detail: "no answer to a ping" }))
    })
    return Effect.whileLoop({
      while: () => true,
      body: () => Effect.andThen(Effect.sleep(beat), look),
      step: () => {}
    })
  }

  /** Finds out which servers there are: at once when asked to, often while something is wrong, else now and then. */
  private readonly lookUpAlways: Effect.Effect<void> = Effect.suspend(() => {
    const { kind } = this.options
    const lookUp = kind === "cluster" ? this.lookUpCluster : this.lookUpPrimary
    const period = lookupPeriod[kind === "cluster" ? "cluster" : "sentinel"]
    const once = Effect.gen({ self: this }, function* () {
      yield* this.lookUpNow.close
      const found = yield* Effect.result(lookUp)
      this.lookupProblem = Result.isFailure(found) ? found.failure : undefined
      yield* this.lookUpDone.release
      const jitter = 0.5 + this.random.nextDoubleUnsafe()
      const pause = this.problem === undefined && this.lookupProblem === undefined ? period : 200
      yield* Effect.timeoutOption(this.lookUpNow.await, pause * jitter)
      yield* Effect.sleep(100 * jitter)
    })
    return Effect.forever(once)
  })

  private readonly lookUpCluster: Effect.Effect<void, RedisFailureReason> = Effect.suspend(() => {
    const source = this.any()
    if (source === undefined) {
      // One more each time: a cluster of many is not dialled by many clients all at once.
      const others = this.options.addresses.filter((address) => !this.nodes.has(address))
      const next = others[Math.floor(this.random.nextDoubleUnsafe() * others.length)]
      if (next !== undefined) this.want(next)
      return Effect.void
    }
    return Effect.map(slotsOf(source), (ranges) => {
      if (ranges.length === 0) return
      this.slots.fill(undefined)
      for (const { address, first, last } of ranges) this.slots.fill(address, first, last + 1)
      this.wantOnly(new Set(ranges.map(({ address }) => address)))
    })
  })

  private readonly lookUpPrimary: Effect.Effect<void, RedisFailureReason> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      this.sentinel = this.sentinel?.isOpen === true ? this.sentinel : yield* this.dialSentinel
      const address = yield* primaryOf(this.sentinel, this.options.primaryName)
      this.wantOnly(new Set([address]))
    }).pipe(
      // The next one may know more.
      Effect.onError(() =>
        Effect.sync(() => {
          this.nextSentinel++
          this.sentinel?.close()
        })
      )
    )
  )

  private readonly dialSentinel: Effect.Effect<Connection, RedisFailureReason> = Effect.suspend(() => {
    const { addresses, sentinel } = this.options
    return Effect.andThen(this.gate, this.dialled(addresses[this.nextSentinel % addresses.length]!, sentinel))
  })
}

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Command from "../Command.ts"
import type * as Key from "../Key.ts"
import type { Runner } from "../Redis.ts"
import { Closed, CrossSlot, PoolExhausted, RedisFailure, type RedisFailureReason, Unavailable } from "../RedisError.ts"
import { begun, decoded, wireOf } from "./Call.ts"
import { refusal } from "./Calls.ts"
import { byScript, classify, lost } from "./classify.ts"
import type { Connection } from "./Connection.ts"
import type { Nodes } from "./Nodes.ts"
import { changes } from "./own.ts"
import { placeOf } from "./slot.ts"
import * as Wire from "./wire.ts"

/** What a pool is made with. */
export interface PoolOptions {
  readonly prefix: string
  readonly size: number
  readonly acquireTimeout: Duration.Duration
  readonly commandTimeout: Duration.Duration
}

/** How long a connection that nobody had may take to show that it is alive. */
const checkTimeout = "500 millis"

const ping = Wire.words("PING")

/** Commands after which a connection treats the next ones in another way, and those that end that. */
const altering: ReadonlySet<string> = new Set(["MULTI", "WATCH"])
const restoring: ReadonlySet<string> = new Set(["DISCARD", "EXEC", "UNWATCH"])

/** One reservation: what must be given back, whenever it is looked at, so that an interrupt at any point leaks nothing. */
class Lease {
  isHeld = false
  isAltered = false
  isSpoiled = false
  connection: Connection | undefined
}

type Grant = (effect: Effect.Effect<void, RedisFailureReason>) => void

/** A connection of its own, for this room. */
export interface Reserved extends Runner {
  readonly connection: Connection
}

/**
 * Connections of their own, for one user at a time each. At most `size` exist; who waits for one is served in order. They
 * are made when they are needed, and kept for the next who wants one to the same server.
 */
export class Pool {
  private readonly nodes: Nodes
  private readonly options: PoolOptions
  private readonly idle: Array<Connection> = []
  private readonly waiting = new Map<Lease, Grant>()
  private held = 0
  /** Whether the last dial failed: the next then waits for its turn. */
  private isTroubled = false

  constructor(nodes: Nodes, options: PoolOptions) {
    this.nodes = nodes
    this.options = options
  }

  /** A connection, until the scope ends; on a cluster to the server that has the key. */
  readonly reserve = (key?: Key.Any): Effect.Effect<Runner, RedisFailure, Scope.Scope> =>
    Effect.map(this.reserved(key), ({ run }) => ({ run }))

  /** As {@link reserve}, with the connection itself. */
  readonly reserved = (key?: Key.Any): Effect.Effect<Reserved, RedisFailure, Scope.Scope> =>
    Effect.suspend(() => {
      const lease = new Lease()
      return Effect.addFinalizer(() => Effect.sync(() => this.giveBack(lease))).pipe(
        Effect.andThen(this.granted(lease)),
        Effect.andThen(this.connected(lease, key)),
        Effect.mapError((reason) => new RedisFailure({ reason })),
        Effect.map((connection): Reserved => ({ connection, run: this.runOn(lease, connection) }))
      )
    })

  /** Ends those who wait. */
  close(): void {
    for (const grant of this.waiting.values()) grant(Effect.fail(new Closed()))
    this.waiting.clear()
  }

  private granted(lease: Lease): Effect.Effect<void, RedisFailureReason> {
    return Effect.callback<void, RedisFailureReason>((resume) => {
      if (this.nodes.isClosed) return resume(Effect.fail(new Closed()))
      if (this.held < this.options.size) {
        this.held++
        lease.isHeld = true
        return resume(Effect.void)
      }
      this.waiting.set(lease, resume)
      return Effect.sync(() => this.waiting.delete(lease))
    }).pipe(
      Effect.timeoutOrElse({
        duration: this.options.acquireTimeout,
        orElse: () => Effect.fail(new PoolExhausted())
      })
    )
  }

  private giveBack(lease: Lease): void {
    const { connection } = lease
    if (!lease.isHeld) return
    lease.isHeld = false
    if (connection?.isOpen === true && !lease.isAltered && !lease.isSpoiled) this.idle.push(connection)
    else connection?.close()
    for (const [next, grant] of this.waiting) {
      this.waiting.delete(next)
      next.isHeld = true
      return grant(Effect.void)
    }
    this.held--
  }

  private connected(lease: Lease, key: Key.Any | undefined): Effect.Effect<Connection, RedisFailureReason> {
    return Effect.suspend(() => {
      const { prefix } = this.options
      const place = key === undefined ? undefined : { tag: prefix + key.owner }
      // Where the connection that all share is down, another one is not tried.
      const address = this.nodes.pick(place)?.address
      if (address === undefined) return Effect.fail(this.nodes.problemOf(place))
      const at = this.idle.findIndex((connection) => connection.isOpen && connection.address === address)
      if (at !== -1) {
        const [connection] = this.idle.splice(at, 1)
        return Effect.catch(this.alive(lease, connection!), () => this.connected(lease, key))
      }
      // Of the connections to other servers, or that have ended, the one that was left first makes room.
      while (this.idle.length > 0 && this.idle.length + this.held > this.options.size) this.idle.shift()!.close()
      // Whoever is interrupted meanwhile has it closed.
      lease.isSpoiled = true
      const made = (connection: Connection) => {
        lease.connection = connection
      }
      return Effect.andThen(
        this.isTroubled ? this.nodes.gate : Effect.void,
        this.nodes.dialled(address, undefined, made)
      ).pipe(
        Effect.tap(() =>
          Effect.sync(() => {
            this.isTroubled = false
            lease.isSpoiled = false
          })
        ),
        Effect.tapError(() =>
          Effect.sync(() => {
            this.isTroubled = true
          })
        )
      )
    })
  }

  private alive(lease: Lease, connection: Connection): Effect.Effect<Connection, RedisFailureReason> {
    lease.connection = connection
    return connection.ask(ping).pipe(
      Effect.catchIf(
        ({ _tag }) => _tag === "PermissionDenied",
        () => Effect.void
      ),
      Effect.timeoutOrElse({
        duration: checkTimeout,
        orElse: () => Effect.fail(new Unavailable({ detail: "no answer" }))
      }),
      Effect.as(connection),
      Effect.onError(() => Effect.sync(() => connection.close()))
    )
  }

  private readonly runOn =
    (lease: Lease, connection: Connection): Runner["run"] =>
    (command) =>
      Effect.suspend(() => {
        const { prefix } = this.options
        const body = Wire.encode(command.args, prefix)
        if (Result.isFailure(body)) return refusal(command, body.failure)
        if (placeOf([command], prefix) === "cross") return refusal(command, new CrossSlot())
        if (!lease.isHeld) return refusal(command, new Unavailable({ detail: "the reservation has ended" }))
        if (altering.has(command.name)) lease.isAltered = true
        if (changes(command)) lease.isSpoiled = true
        return Effect.flatMap(this.reply(lease, connection, command, wireOf(command, body.success, false)), (reply) =>
          decoded(command, reply)
        ).pipe(
          Effect.timeoutOrElse({
            duration: Duration.toMillis(this.options.commandTimeout) + (command.blockMillis ?? 0),
            orElse: () => refusal(command, lost("no reply in time", { wasSent: true, ...command }))
          })
        )
      })

  /** Whoever is interrupted leaves a connection with a command on it: it is closed. */
  private reply(
    lease: Lease,
    connection: Connection,
    command: Command.Any,
    wire: Wire.Wire
  ): Effect.Effect<Command.Reply, RedisFailure> {
    return Effect.callback((resume) => {
      const isSent = connection.send(wire, {
        onReply: (reply) => {
          if (restoring.has(command.name)) lease.isAltered = false
          resume(Effect.succeed(Wire.replyOf(reply, command.isBinary)))
        },
        onError: (error) => {
          const own = byScript(command, error)
          const reason = own ?? classify(error, { wasSent: true, ...command })
          resume(Effect.fail(begun(command, reason, own !== undefined)))
        }
      })
      if (!isSent) return resume(refusal(command, connection.reason))
      return Effect.sync(() => connection.close())
    })
  }
}

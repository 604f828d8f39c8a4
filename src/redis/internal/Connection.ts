import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Redis } from "ioredis"
import type { ConnectionOptions } from "node:tls"
import type * as Command from "../Command.ts"
import { ReadOnly, type RedisFailureReason, Unavailable } from "../RedisError.ts"
import { hostAndPort } from "./address.ts"
import { classify, refused } from "./classify.ts"
import * as Wire from "./wire.ts"

/** Who a connection is for, and how it is made. */
export interface DialOptions {
  readonly username: string
  readonly password: Redacted.Redacted<string>
  readonly tls: ConnectionOptions | undefined
  /** In milliseconds, for all of it: TCP, TLS, and what is said before the first command. */
  readonly connectTimeout: number
  /** What the server lists it as. */
  readonly name: string
  readonly db: number
  /** Whether a replica is refused. */
  readonly primaryOnly: boolean
}

/** What takes the answer to one command, if one comes. */
export interface Receiver {
  readonly onReply: (reply: unknown) => void
  /** `error`: what the server answered, or why no answer will come. */
  readonly onError: (error: unknown) => void
}

/**
 * What the driver takes for one of its commands: exactly what its `sendCommand` and its parser use. Under a name that it
 * does not know, so that it gives none a treatment of its own; with no arguments, so that none gets into its errors.
 */
class Item {
  readonly name = "call"
  readonly args: ReadonlyArray<never> = []
  readonly isTraced = true
  readonly promise = undefined
  isSettled = false
  /** While the driver's `sendCommand` runs: what it rejects meanwhile was not written. */
  isSending = true
  private readonly wire: Wire.Wire
  private readonly receiver: Receiver

  constructor(wire: Wire.Wire, receiver: Receiver) {
    this.wire = wire
    this.receiver = receiver
  }

  setReplyContext(): void {}

  toWritable(): Wire.Wire {
    return this.wire
  }

  resolve(reply: unknown): void {
    this.isSettled = true
    this.receiver.onReply(reply)
  }

  reject(error: unknown): void {
    this.isSettled = true
    if (!this.isSending) this.receiver.onError(error)
  }
}

const ping = Wire.words("PING")

/**
 * One connection to one server, from its dial to its end. It is not made again: what the driver does after a lost
 * connection (waiting, sending again, selecting another node) is done by the room, where it can be seen.
 */
export class Connection {
  readonly address: string
  /** The driver's. */
  readonly native: Redis
  /** The hashes of the scripts that it was given. */
  readonly scripts = new Set<string>()
  /** Whether the server is known to let its user make transactions. */
  mayMulti = false
  /** Whether it may be given commands. */
  isOpen = false
  private problem: RedisFailureReason | undefined
  private isGathering = false
  private readonly onEnd: Array<() => void> = []

  constructor(address: string, options: DialOptions) {
    this.address = address
    const password = Redacted.value(options.password)
    this.native = new Redis({
      ...hostAndPort(address),
      ...(options.username === "" ? {} : { username: options.username }),
      ...(password === "" ? {} : { password }),
      ...(options.tls === undefined ? {} : { tls: options.tls }),
      connectTimeout: options.connectTimeout,
      connectionName: options.name,
      disableClientInfo: true,
      enableOfflineQueue: false,
      enableReadyCheck: false,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      retryStrategy: () => null
    })
    // Without a listener an error of the connection would be written to the console, or end the process.
    this.native.on("error", (error) => {
      this.close(refused(error))
    })
    this.native.once("end", () => {
      this.isOpen = false
      for (const listener of this.onEnd) listener()
    })
  }

  /** Why it ended, as far as the driver says. */
  get reason(): RedisFailureReason {
    return this.problem ?? new Unavailable({ detail: "connection closed" })
  }

  /** How much has come over it, in bytes. */
  get received(): number {
    return this.native.stream?.bytesRead ?? 0
  }

  /** Sends a command; false when it was surely not sent, which `receiver` then has not been told. */
  send(wire: Wire.Wire, receiver: Receiver): boolean {
    if (!this.isOpen) return false
    this.gather()
    const item = new Item(wire, receiver)
    this.native.sendCommand(item as never)
    item.isSending = false
    return !item.isSettled
  }

  /** Writes what is sent in one turn of the event loop at once: a call of the system costs more than the rest. */
  private gather(): void {
    if (this.isGathering) return
    this.isGathering = true
    const { stream } = this.native
    stream.cork()
    process.nextTick(() => {
      this.isGathering = false
      stream.uncork()
    })
  }

  /** Sends a command and waits for its reply. */
  ask(wire: Wire.Wire): Effect.Effect<Command.Reply, RedisFailureReason> {
    return Effect.callback((resume) => {
      const isSent = this.send(wire, {
        onReply: (reply) => resume(Effect.succeed(Wire.replyOf(reply))),
        onError: (error) => resume(Effect.fail(classify(error, { wasSent: true, isIdempotent: true })))
      })
      if (!isSent) resume(Effect.fail(this.reason))
    })
  }

  /** Sends a PING; `then` is called when everything before it has been answered, or will not be. */
  ping(then: () => void): void {
    if (!this.send(ping, { onReply: then, onError: then })) then()
  }

  /** Waits for its end. */
  readonly ended: Effect.Effect<void> = Effect.callback((resume) => {
    if (this.native.status === "end") return resume(Effect.void)
    this.onEnd.push(() => resume(Effect.void))
  })

  /** Ends it at once; commands without an answer are told that none will come. */
  close(problem?: RedisFailureReason): void {
    this.problem ??= problem
    this.isOpen = false
    this.native.disconnect()
    this.native.stream?.destroy()
  }

  /** Takes no more commands, and ends when those before have been answered. */
  retire(): void {
    this.ping(() => this.close())
    this.isOpen = false
  }
}

const connected = (
  address: string,
  options: DialOptions,
  onMade: (connection: Connection) => void
): Effect.Effect<Connection, RedisFailureReason> =>
  Effect.callback((resume) => {
    const connection = new Connection(address, options)
    onMade(connection)
    connection.native.once("ready", () => {
      connection.isOpen = connection.native.status === "ready"
      resume(Effect.succeed(connection))
    })
    connection.native.once("end", () => resume(Effect.fail(connection.reason)))
    return Effect.sync(() => connection.close())
  })

/** A server that does not let one ask may be used. */
const ifAllowed = (question: Effect.Effect<void, RedisFailureReason>): Effect.Effect<void, RedisFailureReason> =>
  Effect.catchTag(question, "PermissionDenied", () => Effect.void)

/** Says and asks what must be known before a connection is given commands. */
const prepared = (
  connection: Connection,
  { db, primaryOnly }: DialOptions
): Effect.Effect<void, RedisFailureReason> => {
  const select = Effect.asVoid(connection.ask(Wire.words("SELECT", String(db))))
  // A server that loads its data says so, to a PING too.
  const serves = Effect.asVoid(connection.ask(ping))
  const isPrimary = Effect.flatMap(connection.ask(Wire.words("ROLE")), (reply) =>
    Array.isArray(reply) && reply[0] !== "master" ? Effect.fail(new ReadOnly()) : Effect.void
  )
  return (db === 0 ? Effect.void : select).pipe(
    Effect.andThen(ifAllowed(serves)),
    Effect.andThen(primaryOnly ? ifAllowed(isPrimary) : Effect.void)
  )
}

/**
 * Connects to a server that then serves; ends the connection when it fails or is interrupted.
 *
 * - `onMade`: gets the connection before it is begun, so that whoever made it can end it whatever happens
 *
 * Fails with the reason that stands between, `Unavailable` after `connectTimeout`.
 */
export const dial = (
  address: string,
  options: DialOptions,
  onMade: (connection: Connection) => void
): Effect.Effect<Connection, RedisFailureReason> =>
  Effect.flatMap(connected(address, options, onMade), (connection) =>
    Effect.as(prepared(connection, options), connection).pipe(
      Effect.onError(() => Effect.sync(() => connection.close()))
    )
  ).pipe(
    Effect.timeoutOrElse({
      duration: options.connectTimeout,
      orElse: () => Effect.fail(new Unavailable({ detail: "no answer within connect_timeout" }))
    })
  )

import * as PgConnection from "@effect/sql-pg/PgConnection"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { Connection } from "effect/sql/SqlConnection"
import { ConnectionError, SqlError, type SqlErrorReason, UnknownError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import type { Socket } from "node:net"
import { InvalidInput, OutcomeUnknown, type PgErrorReason, TransactionAborted, Unavailable } from "../PgErrorReason.ts"
import { refuse } from "./parameters.ts"
import { restored } from "./Restore.ts"
import { StatementTimeout } from "./StatementTimeout.ts"

/**
 * How long a caller who is interrupted or has failed waits for the server: for the end of a cancelled statement, of a
 * ROLLBACK, of a COMMIT that is under way. Then the session, and with it the transaction, is given up instead.
 */
const grace = "50 millis"

/** What a session is made with, the same for all of a pool. */
export interface SessionOptions {
  /** Everything but the socket. */
  readonly connection: Omit<PgConnection.Config, "stream">
  /** Opens a socket to the server and keeps track of it. */
  readonly open: () => Socket
  /** Runs a task of ours after a time, in the pool's scope. */
  readonly later: (delay: Duration.Input, task: () => void) => void
  /** The time in milliseconds, of a clock that is never set. */
  readonly now: () => number
  /** `statement_timeout` in milliseconds. */
  readonly statementMillis: number
  /** Told when a statement that began at this time has succeeded. */
  readonly onSuccess: (beganAt: number) => void
}

type Transform = (<A extends object>(row: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined

/** An error of SqlClient's that carries what we know of it, for PgError.fromSql to find. */
export const explained = (reason: PgErrorReason): SqlError => {
  const props = { cause: reason, message: reason.message }
  const driverReason: SqlErrorReason =
    reason instanceof InvalidInput || reason instanceof TransactionAborted
      ? new UnknownError(props)
      : new ConnectionError(props)
  return new SqlError({ reason: driverReason })
}

const rowsOf = (result: PgConnection.Result) => result.rows

/**
 * A connection of the pool: the driver's, and the socket below it. The driver bounds neither a reply nor the end of a
 * cancelled statement; destroying the socket ends both at once, so that is what happens to a session whose time is up.
 *
 * A session goes back to the pool only when it is surely clean: no cancel was sent for it, for one that comes late
 * would hit the next statement, and the COMMIT or ROLLBACK of its last transaction was confirmed.
 */
export class Session implements Connection {
  readonly scope = Scope.makeUnsafe()
  /** Since when nobody has it, and when it has served long enough. Kept by the pool. */
  idleSince = 0
  expiresAt = 0
  private wire!: PgConnection.PgConnection
  private socket: Socket | undefined
  private phase: "autocommit" | "transaction" | "commit" = "autocommit"
  /** Never to be used again, nor anything more in this transaction. */
  private isSpoiled = false
  private inFlight = 0
  private beganAt = 0
  private allowance = 0
  private readonly options: SessionOptions

  private constructor(options: SessionOptions) {
    this.options = options
  }

  /**
   * Connects and authenticates, bounded by the driver's connectTimeout.
   *
   * - `onOpen`: gets the session in the step in which it opens, so that no interrupt can come between; who has it
   *   closes it
   */
  static dial(options: SessionOptions, onOpen: (session: Session) => void): Effect.Effect<Session, SqlError> {
    return Effect.suspend(() => {
      const session = new Session(options)
      return PgConnection.make({ ...options.connection, stream: session.open }).pipe(
        Effect.provideService(Scope.Scope, session.scope),
        Effect.map((wire) => {
          session.wire = wire
          return session
        }),
        Effect.onExit((exit) => {
          if (Exit.isFailure(exit)) return Scope.close(session.scope, exit)
          onOpen(session)
          return Effect.void
        })
      )
    })
  }

  /**
   * The driver asks for a stream first for the session itself, and again when it cancels a statement, which is after
   * an interrupt that the server did not outrun. That is the moment from which the rest is bounded.
   */
  private readonly open = (): Socket => {
    const socket = this.options.open()
    if (this.socket === undefined) {
      this.socket = socket
    } else {
      this.isSpoiled = true
      this.options.later(grace, () => {
        this.kill()
        socket.destroy()
      })
    }
    return socket
  }

  get isDead(): boolean {
    return this.socket!.destroyed || this.socket!.readableEnded
  }

  /** Whether another borrower may have it. */
  get isClean(): boolean {
    return !this.isSpoiled && this.phase === "autocommit" && !this.isDead
  }

  /** Whether the statement in flight has had its time and a second more, in which the server should have ended it. */
  isOverdue(now: number): boolean {
    return this.inFlight > 0 && now - this.beganAt > this.allowance + 1_000
  }

  /** Ends it at once: what is in flight fails, and the server rolls back what was not committed. */
  kill(): void {
    this.socket!.destroy()
  }

  /** Ends it, and waits for the server to do so too: until then it counts there. The grace is the bound. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.options.later(grace, () => this.kill())
    return Effect.andThen(
      Scope.close(this.scope, Exit.void),
      Effect.callback<void>((resume) => {
        if (this.socket!.closed) resume(Effect.void)
        else this.socket!.once("close", () => resume(Effect.void))
      })
    )
  })

  private readonly finished = (exit: Exit.Exit<unknown, SqlError>) => {
    if (Exit.isSuccess(exit)) this.options.onSuccess(this.beganAt)
    this.inFlight--
    // The driver runs the next one of several that were sent at once.
    if (this.inFlight > 0) this.beganAt = this.options.now()
    return Effect.void
  }

  /** A statement that was in flight when the connection was lost has an unknown outcome; not so before a COMMIT. */
  private readonly explain = (error: SqlError): SqlError => {
    if (error.reason._tag !== "ConnectionError") return error
    const detail = this.isOverdue(this.options.now()) ? "no reply" : "connection closed"
    return explained(this.phase === "transaction" ? new Unavailable({ detail }) : new OutcomeUnknown({ detail }))
  }

  private refusal(parameters: ReadonlyArray<unknown>): PgErrorReason | undefined {
    if (this.isSpoiled) return new TransactionAborted()
    if (this.isDead) return new Unavailable({ detail: "connection closed" })
    return refuse(parameters)
  }

  private run<A>(
    parameters: ReadonlyArray<unknown>,
    statement: Effect.Effect<A, SqlError>
  ): Effect.Effect<A, SqlError> {
    return Effect.withFiber((fiber) => {
      const refused = this.refusal(parameters)
      if (refused !== undefined) return Effect.fail(explained(refused))
      this.allowance = fiber.getRef(StatementTimeout) ?? this.options.statementMillis
      if (this.inFlight++ === 0) this.beganAt = this.options.now()
      return Effect.onExit(Effect.mapError(statement, this.explain), this.finished)
    })
  }

  execute(sql: string, parameters: ReadonlyArray<unknown>, transform: Transform) {
    const rows = this.run(parameters, Effect.map(this.wire.query(sql, parameters), rowsOf))
    return transform === undefined ? rows : Effect.map(rows, transform)
  }

  executeRaw(sql: string, parameters: ReadonlyArray<unknown>): Effect.Effect<PgConnection.Result, SqlError> {
    return this.run(parameters, this.wire.query(sql, parameters))
  }

  executeValues(sql: string, parameters: ReadonlyArray<unknown>) {
    return this.run(parameters, this.wire.queryValues(sql, parameters))
  }

  executeValuesUnprepared(sql: string, parameters: ReadonlyArray<unknown>) {
    return this.run(parameters, this.wire.queryValues(sql, parameters, false))
  }

  executeUnprepared(sql: string, parameters: ReadonlyArray<unknown>, transform: Transform) {
    const rows = this.run(parameters, Effect.map(this.wire.query(sql, parameters, false), rowsOf))
    return transform === undefined ? rows : Effect.map(rows, transform)
  }

  executeStream(sql: string, parameters: ReadonlyArray<unknown>, transform: Transform) {
    const refused = this.refusal(parameters)
    if (refused !== undefined) return Stream.fail(explained(refused))
    const rows = Stream.mapError(this.wire.stream(sql, parameters), this.explain)
    return transform === undefined ? rows : Stream.mapArray(rows, (array) => transform(array) as typeof array)
  }

  /** The driver's LISTEN. When the scope closes on a dead link, its UNLISTEN must not hold that up. */
  listen(channel: string): ReturnType<PgConnection.PgConnection["listen"]> {
    return Effect.tap(this.wire.listen(channel), () =>
      Effect.addFinalizer(() =>
        Effect.sync(() => {
          this.isSpoiled = true
          this.options.later(grace, () => this.kill())
        })
      )
    )
  }

  /** Opens a transaction. Until {@link commit} or {@link rollback} has succeeded, the session is not clean. */
  begin(statement: string): Effect.Effect<void, SqlError> {
    return Effect.suspend(() => {
      this.phase = "transaction"
      return restored(Effect.asVoid(this.executeRaw(statement, [])))
    })
  }

  /**
   * Commits. An interrupted caller waits for the reply too, so that callbacks after the commit run, but no longer than
   * the grace; then the outcome is unknown to everybody. Runs in an uninterruptible region.
   */
  readonly commit: Effect.Effect<void, SqlError> = Effect.suspend(() => {
    this.phase = "commit"
    return Effect.forkChild(this.executeRaw("COMMIT", []), { startImmediately: true })
  }).pipe(
    Effect.flatMap((sent) =>
      Effect.catchCauseIf(restored(Fiber.join(sent)), Cause.hasInterrupts, () => this.insist(Fiber.join(sent)))
    ),
    Effect.flatMap((result) => {
      this.phase = "autocommit"
      // What the server answers when an earlier statement had failed.
      return result.command === "ROLLBACK" ? Effect.fail(explained(new TransactionAborted())) : Effect.void
    }),
    Effect.tapError((error) =>
      Effect.sync(() => {
        // An error of the server's, such as a conflict, has ended the transaction too.
        if (error.reason._tag !== "ConnectionError") this.phase = "autocommit"
      })
    )
  )

  /** Waits for what cannot be interrupted, and kills the session when that takes longer than the grace. */
  private insist<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      let isOver = false
      this.options.later(grace, () => {
        if (!isOver) this.kill()
      })
      const over = Effect.sync(() => {
        isOver = true
      })
      return Effect.ensuring(effect, over)
    })
  }

  /** Rolls back, or leaves the session unclean, so that its end does it. */
  readonly rollback: Effect.Effect<void> = this.quietly("ROLLBACK", () => {
    this.phase = "autocommit"
  })

  /** Sets a savepoint in the open transaction. */
  savepoint(name: string): Effect.Effect<void, SqlError> {
    return restored(Effect.asVoid(this.executeRaw(`SAVEPOINT ${name}`, [])))
  }

  /** Keeps what was done since the savepoint. Its failure ends the transaction and is not reported by itself. */
  releaseSavepoint(name: string): Effect.Effect<void> {
    return this.quietly(`RELEASE SAVEPOINT ${name}`, () => {})
  }

  /** Undoes what was done since the savepoint. Its failure ends the transaction and is not reported by itself. */
  rollbackSavepoint(name: string): Effect.Effect<void> {
    return this.quietly(`ROLLBACK TO SAVEPOINT ${name}`, () => {})
  }

  private quietly(statement: string, onSuccess: () => void): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.isSpoiled || this.isDead) return Effect.void
      return Effect.matchCause(this.insist(this.executeRaw(statement, [])), {
        onSuccess,
        onFailure: () => {
          // Not when the connection was lost: then what follows shall say so.
          if (!this.isDead) this.isSpoiled = true
        }
      })
    })
  }
}

import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { Borrower } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import * as Net from "node:net"
import { PoolExhausted, Unavailable } from "../PgErrorReason.ts"
import { explained, Session, type SessionOptions } from "./Session.ts"

/** What a pool is made with. */
export interface PoolOptions {
  readonly connection: SessionOptions["connection"]
  /** A TCP address, or the path of a Unix socket. */
  readonly address: Net.NetConnectOpts
  readonly maxConns: number
  readonly minConns: number
  readonly maxIdleMillis: number
  readonly maxLifetimeMillis: number
  readonly acquireMillis: number
  readonly statementMillis: number
}

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** One borrowing: what must be given back, whenever it is looked at, so that an interrupt at any point leaks nothing. */
interface Lease {
  session: Session | undefined
}

interface Waiter {
  readonly lease: Lease
  readonly resume: (effect: Effect.Effect<void, SqlError>) => void
}

/** How often the pool looks for sessions that are overdue, idle for too long, or missing. */
const sweepPeriod = "1 second"

/** Idle time after which TCP probes the other side: a listener has nothing else to notice a dead link by. */
const keepAliveMillis = 10_000

/**
 * A pool of sessions. At most `maxConns` exist, each has one borrower at most, waiters are served in their order.
 *
 * Sessions are dialled by the pool, not by the borrower who needs one: callers that are interrupted after a second
 * would otherwise dial in turns and never get through. Effect's own Pool can go over its maximum while it replaces a
 * broken item, and has no bound for a wait.
 */
export class Pool {
  /** When a statement last succeeded and when the server was last found away, by {@link now}. */
  successAt = 0
  failureAt = 0
  /** The time in milliseconds, of a clock that is never set. */
  readonly now: () => number
  private readonly options: PoolOptions
  private readonly session: SessionOptions
  /** Runs an effect in the pool's scope. */
  private readonly fork: (effect: Effect.Effect<void>) => void
  private readonly random: Random.Random
  private readonly sockets = new Set<Net.Socket>()
  private readonly sessions = new Set<Session>()
  /** Those that nobody has, the one that was used last at the end. */
  private readonly idle: Array<Session> = []
  private readonly waiting = new Set<Waiter>()
  /** Sessions that are being dialled, that are there, or that are not quite gone. */
  private open = 0
  /** Those of them that are being dialled. */
  private dialling = 0
  private isClosed = false

  private constructor(options: PoolOptions, clock: Clock.Clock, random: Random.Random, fork: Pool["fork"]) {
    this.options = options
    this.fork = fork
    this.now = () => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
    this.random = random
    this.session = {
      connection: options.connection,
      open: () => this.openSocket(),
      later: (delay, task) => fork(Effect.delay(Effect.sync(task), delay)),
      now: this.now,
      statementMillis: options.statementMillis,
      onSuccess: (beganAt) => {
        this.successAt = beganAt
      }
    }
  }

  /** Makes a pool, empty at first. When the scope closes it ends every session, within a second on a dead link too. */
  static readonly make = Effect.fnUntraced(function* (options: PoolOptions) {
    // Not the caller's scope: what bounds the end of a session must still work while that is being closed.
    const scope = yield* Scope.make()
    const runFork = Effect.runForkWith(yield* Effect.context())
    const fork = (effect: Effect.Effect<void>) => {
      runFork(Effect.forkIn(effect, scope, { startImmediately: true }))
    }
    const pool = new Pool(options, yield* Clock.Clock, yield* Random.Random, fork)
    yield* Effect.addFinalizer((exit) => Effect.andThen(pool.close, Scope.close(scope, exit)))
    yield* Effect.forkScoped(Effect.schedule(pool.sweep, Schedule.spaced(sweepPeriod)))
    return pool
  })

  /** Lends a session for one effect. */
  readonly use: Borrower = (f) =>
    Effect.uninterruptibleMask((restore) => {
      const lease: Lease = { session: undefined }
      return Effect.onExit(
        Effect.flatMap(this.take(lease, restore), (session) => restore(f(session))),
        () => this.giveBack(lease)
      )
    })

  /** Lends a session until the scope closes. `restore` makes the wait for it interruptible. */
  lease(restore: Restore): Effect.Effect<Session, SqlError, Scope.Scope> {
    return Effect.suspend(() => {
      const lease: Lease = { session: undefined }
      return Effect.andThen(
        Effect.addFinalizer(() => this.giveBack(lease)),
        this.take(lease, restore)
      )
    })
  }

  /** Whether a borrower would be served without waiting for another one. */
  get hasRoom(): boolean {
    return this.idle.length > 0 || this.open < this.options.maxConns
  }

  private take(lease: Lease, restore: Restore): Effect.Effect<Session, SqlError> {
    if (this.isClosed) return Effect.fail(explained(new Unavailable({ detail: "the pool is closed" })))
    if (this.waiting.size === 0) {
      for (let session = this.idle.pop(); session !== undefined; session = this.idle.pop()) {
        if (this.isUsable(session)) {
          lease.session = session
          return Effect.succeed(session)
        }
        this.retire(session)
      }
    }
    return Effect.map(restore(this.wait(lease)), () => lease.session!)
  }

  private wait(lease: Lease): Effect.Effect<void, SqlError> {
    return Effect.callback<void, SqlError>((resume) => {
      const waiter = { lease, resume }
      this.waiting.add(waiter)
      this.dialForWaiters()
      return Effect.sync(() => this.waiting.delete(waiter))
    }).pipe(
      Effect.timeoutOrElse({
        duration: this.options.acquireMillis,
        orElse: () => Effect.fail(explained(this.whyNone()))
      })
    )
  }

  private whyNone(): PoolExhausted | Unavailable {
    const { maxConns } = this.options
    return this.sessions.size < maxConns
      ? new Unavailable({ detail: "no connection within acquire_timeout" })
      : new PoolExhausted({ maxConns })
  }

  private nextWaiter(): Waiter | undefined {
    const [next] = this.waiting
    if (next !== undefined) this.waiting.delete(next)
    return next
  }

  /** Gives a session to whoever waits for one, else keeps it. */
  private offer(session: Session): void {
    const next = this.nextWaiter()
    if (next === undefined) {
      session.idleSince = this.now()
      this.idle.push(session)
    } else {
      next.lease.session = session
      // Not in this stack: a chain of borrowers that each finish at once would overflow it.
      queueMicrotask(() => next.resume(Effect.void))
    }
  }

  private dialForWaiters(): void {
    while (this.dialling < this.waiting.size && this.open < this.options.maxConns) this.dial()
  }

  private dial(): void {
    this.open++
    this.dialling++
    const dialling = Session.dial(this.session, (session) => {
      this.dialling--
      const { maxLifetimeMillis } = this.options
      // Spread, so that sessions which were opened together do not end together.
      const lifetime = maxLifetimeMillis * (0.9 + 0.2 * this.random.nextDoubleUnsafe())
      session.expiresAt = this.now() + lifetime
      this.sessions.add(session)
      this.offer(session)
    })
    const onFailure = (cause: Cause.Cause<SqlError>) => {
      this.open--
      this.dialling--
      this.failureAt = this.now()
      this.nextWaiter()?.resume(Effect.failCause(cause))
      this.dialForWaiters()
    }
    this.fork(Effect.matchCause(dialling, { onSuccess: () => {}, onFailure }))
  }

  private isUsable(session: Session): boolean {
    return session.isClean && this.now() < session.expiresAt
  }

  private giveBack({ session }: Lease): Effect.Effect<void> {
    return Effect.sync(() => {
      if (session === undefined) return
      if (this.isUsable(session)) this.offer(session)
      else this.retire(session)
    })
  }

  /** Ends a session. Nobody waits for that, but its place is taken until it is gone, at the server too. */
  private retire(session: Session): void {
    if (session.isDead) this.failureAt = this.now()
    const gone = Effect.sync(() => {
      this.open--
      this.sessions.delete(session)
      this.dialForWaiters()
    })
    this.fork(Effect.andThen(session.close, gone))
  }

  private readonly sweep: Effect.Effect<void> = Effect.sync(() => {
    const { maxIdleMillis, minConns } = this.options
    const now = this.now()
    for (const session of this.sessions) {
      if (session.isOverdue(now)) session.kill()
    }
    let spare = this.open - minConns
    const isStale = (session: Session) =>
      !this.isUsable(session) || (session.idleSince + maxIdleMillis < now && spare-- > 0)
    for (const session of this.idle.filter(isStale)) {
      this.idle.splice(this.idle.indexOf(session), 1)
      this.retire(session)
    }
    while (this.open < minConns) this.dial()
  })

  private openSocket(): Net.Socket {
    const socket = Net.connect({
      ...this.options.address,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveMillis
    })
    this.sockets.add(socket)
    socket.once("close", () => this.sockets.delete(socket))
    return socket
  }

  private readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.isClosed = true
    return Effect.forEach(this.sessions, (session) => session.close, { concurrency: "unbounded", discard: true })
  }).pipe(
    Effect.andThen(
      Effect.sync(() => {
        // Those that were being dialled, or carried a cancel.
        for (const socket of this.sockets) socket.destroy()
      })
    )
  )
}

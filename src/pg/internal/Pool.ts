import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
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
  admitted: boolean
  session: Session | undefined
}

interface Waiter {
  readonly lease: Lease
  readonly resume: (effect: Effect.Effect<void>) => void
}

/** How often the pool looks for sessions that are overdue, idle for too long, or missing. */
const sweepPeriod = "1 second"

/** How long the sockets may take to say goodbye when the pool closes. */
const closeGrace = "500 millis"

/** Idle time after which TCP probes the other side: a listener has nothing else to notice a dead link by. */
const keepAliveMillis = 10_000

/**
 * A pool of sessions. At most `maxConns` exist, each has one borrower at most, waiters are served in their order.
 * Effect's own Pool can go over its maximum while it replaces a broken item, and has no bound for a wait.
 */
export class Pool {
  /** When a statement last succeeded and when the server was last found away, in milliseconds of the clock. */
  successAt = 0
  failureAt = 0
  private readonly options: PoolOptions
  private readonly session: SessionOptions
  private readonly clock: Clock.Clock
  private readonly random: Random.Random
  private readonly sockets = new Set<Net.Socket>()
  private readonly sessions = new Set<Session>()
  /** Those that nobody has, the one that was used last at the end. */
  private readonly idle: Array<Session> = []
  private readonly waiting = new Set<Waiter>()
  /** Borrowers that have a session or are dialling one. */
  private admitted = 0
  /** Sessions that are dialled or being dialled. */
  private open = 0
  private isClosed = false

  private constructor(options: PoolOptions, clock: Clock.Clock, random: Random.Random, later: SessionOptions["later"]) {
    this.options = options
    this.clock = clock
    this.random = random
    this.session = {
      connection: options.connection,
      open: () => this.openSocket(),
      later,
      clock,
      statementMillis: options.statementMillis,
      onSuccess: (beganAt) => {
        this.successAt = beganAt
      }
    }
  }

  /** Makes a pool, empty at first. When the scope closes it ends every session, within a second on a dead link too. */
  static readonly make = Effect.fnUntraced(function* (options: PoolOptions) {
    const scope = yield* Effect.scope
    const runFork = Effect.runForkWith(yield* Effect.context())
    const later = (delay: Duration.Input, task: () => void) => {
      runFork(Effect.forkIn(Effect.delay(Effect.sync(task), delay), scope))
    }
    const pool = new Pool(options, yield* Clock.Clock, yield* Random.Random, later)
    yield* Effect.addFinalizer(() => pool.close)
    yield* Effect.forkScoped(Effect.schedule(pool.sweep, Schedule.spaced(sweepPeriod)))
    return pool
  })

  /** Lends a session for one effect. */
  readonly use: Borrower = (f) =>
    Effect.uninterruptibleMask((restore) => {
      const lease: Lease = { admitted: false, session: undefined }
      return Effect.onExit(
        Effect.flatMap(this.take(lease, restore), (session) => restore(f(session))),
        () => this.giveBack(lease)
      )
    })

  /** Lends a session until the scope closes. `restore` makes the wait for it interruptible. */
  lease(restore: Restore): Effect.Effect<Session, SqlError, Scope.Scope> {
    return Effect.suspend(() => {
      const lease: Lease = { admitted: false, session: undefined }
      return Effect.andThen(
        Effect.addFinalizer(() => this.giveBack(lease)),
        this.take(lease, restore)
      )
    })
  }

  /** Whether a borrower would be served without waiting for another one. */
  get hasRoom(): boolean {
    return this.admitted < this.options.maxConns
  }

  private take(lease: Lease, restore: Restore): Effect.Effect<Session, SqlError> {
    if (this.isClosed) return Effect.fail(explained(new Unavailable({ detail: "the pool is closed" })))
    if (this.hasRoom && this.waiting.size === 0) {
      this.admit(lease)
      return this.connect(lease, restore)
    }
    return Effect.flatMap(restore(this.wait(lease)), () => this.connect(lease, restore))
  }

  private admit(lease: Lease): void {
    lease.admitted = true
    this.admitted++
  }

  private wait(lease: Lease): Effect.Effect<void, SqlError> {
    return Effect.callback<void>((resume) => {
      const waiter = { lease, resume }
      this.waiting.add(waiter)
      return Effect.sync(() => this.waiting.delete(waiter))
    }).pipe(
      Effect.timeoutOrElse({
        duration: this.options.acquireMillis,
        orElse: () => Effect.fail(explained(new PoolExhausted({ maxConns: this.options.maxConns })))
      })
    )
  }

  /** Gives an admitted borrower a session: one that is idle, else a new one. */
  private connect(lease: Lease, restore: Restore): Effect.Effect<Session, SqlError> {
    const session = this.idle.pop()
    if (session === undefined) return this.dial(lease, restore)
    if (!this.isUsable(session)) return Effect.andThen(this.discard(session), () => this.connect(lease, restore))
    lease.session = session
    return Effect.succeed(session)
  }

  private dial(lease: Lease, restore: Restore): Effect.Effect<Session, SqlError> {
    this.open++
    const dialling = Session.dial(this.session, (session) => {
      const { maxLifetimeMillis } = this.options
      // Spread, so that sessions which were opened together do not end together.
      const lifetime = maxLifetimeMillis * (0.9 + 0.2 * this.random.nextDoubleUnsafe())
      session.expiresAt = this.clock.currentTimeMillisUnsafe() + lifetime
      this.sessions.add(session)
      lease.session = session
    })
    return Effect.onError(restore(dialling), () =>
      Effect.sync(() => {
        if (lease.session !== undefined) return
        this.open--
        this.failureAt = this.clock.currentTimeMillisUnsafe()
      })
    )
  }

  private isUsable(session: Session): boolean {
    return session.isClean && this.clock.currentTimeMillisUnsafe() < session.expiresAt
  }

  private giveBack(lease: Lease): Effect.Effect<void> {
    const { session } = lease
    if (session === undefined || this.keep(session)) {
      this.leave(lease)
      return Effect.void
    }
    return Effect.ensuring(
      this.discard(session),
      Effect.sync(() => this.leave(lease))
    )
  }

  private keep(session: Session): boolean {
    session.settle()
    if (this.isClosed || !this.isUsable(session)) return false
    session.idleSince = this.clock.currentTimeMillisUnsafe()
    this.idle.push(session)
    return true
  }

  private discard(session: Session): Effect.Effect<void> {
    if (session.isDead) this.failureAt = this.clock.currentTimeMillisUnsafe()
    this.open--
    this.sessions.delete(session)
    return session.close
  }

  /** Admits the borrower that has waited longest in the place of one that leaves. */
  private leave(lease: Lease): void {
    if (!lease.admitted) return
    lease.admitted = false
    this.admitted--
    const [next] = this.waiting
    if (next === undefined) return
    this.waiting.delete(next)
    this.admit(next.lease)
    // Not in this stack: a chain of borrowers that each leave at once would overflow it.
    queueMicrotask(() => next.resume(Effect.void))
  }

  private readonly sweep: Effect.Effect<void> = Effect.suspend(() => {
    const { maxIdleMillis, minConns } = this.options
    const now = this.clock.currentTimeMillisUnsafe()
    for (const session of this.sessions) {
      if (session.isOverdue(now)) session.kill()
    }
    let spare = this.open - minConns
    const isStale = (session: Session) =>
      !this.isUsable(session) || (session.idleSince + maxIdleMillis < now && spare-- > 0)
    const stale = this.idle.filter(isStale)
    for (const session of stale) this.idle.splice(this.idle.indexOf(session), 1)
    return Effect.andThen(
      Effect.forEach(stale, (session) => this.discard(session), { discard: true }),
      Effect.ignore(
        Effect.whileLoop({ while: () => this.open < minConns && this.hasRoom, body: this.warm, step: () => {} })
      )
    )
  })

  private readonly warm = (): Effect.Effect<void, SqlError> =>
    Effect.uninterruptibleMask((restore) => {
      const lease: Lease = { admitted: false, session: undefined }
      this.admit(lease)
      return Effect.onExit(Effect.asVoid(this.dial(lease, restore)), () => this.giveBack(lease))
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
    return Effect.forEach(this.sessions, (session) => session.close, { discard: true })
  }).pipe(
    Effect.andThen(
      Effect.callback<void>((resume) => {
        const look = () => {
          if (this.sockets.size === 0) resume(Effect.void)
        }
        for (const socket of this.sockets) socket.once("close", look)
        look()
      })
    ),
    Effect.timeoutOption(closeGrace),
    Effect.andThen(
      Effect.sync(() => {
        for (const socket of this.sockets) socket.destroy()
      })
    )
  )
}

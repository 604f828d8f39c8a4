import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Command from "../Command.ts"
import { Closed, CrossSlot, InvalidInput, RedisFailure, type RedisFailureReason, Unavailable } from "../RedisError.ts"
import { type Call, Single } from "./Call.ts"
import type { Nodes } from "./Nodes.ts"
import { needsOwn } from "./own.ts"
import { type Place, placeOf } from "./slot.ts"
import * as Wire from "./wire.ts"

/** How often what waits for another try is looked at. */
const retryStep = "10 millis"

/** Checks and encodes a command for the shared connections. */
export const encoded = (command: Command.Any, prefix: string): Result.Result<Wire.Encoded, InvalidInput> =>
  needsOwn(command)
    ? Result.fail(new InvalidInput({ problem: "it needs a connection of its own, see reserve" }))
    : Wire.encode(command.args, prefix)

/**
 * The calls of a client that have not ended. Each ends within `timeout`, whatever becomes of its connection: they are kept
 * in the order of their deadlines, which one fiber looks at when the next is due.
 */
export class Calls {
  readonly nodes: Nodes
  readonly prefix: string
  private readonly timeout: number
  private readonly random: Random.Random
  private first: Call | undefined
  private last: Call | undefined
  /** Those of them that wait for another try. */
  private readonly waiting = new Set<Call>()
  private readonly some = Latch.makeUnsafe(false)
  private readonly someWaiting = Latch.makeUnsafe(false)

  private constructor(nodes: Nodes, prefix: string, timeout: number, random: Random.Random) {
    this.nodes = nodes
    this.prefix = prefix
    this.timeout = timeout
    this.random = random
    nodes.onReady = () => this.retryAll(() => true)
  }

  /** Makes it; the fibers that end and repeat calls end with the scope. */
  static readonly make = Effect.fnUntraced(function* (nodes: Nodes, prefix: string, timeout: Duration.Duration) {
    const calls = new Calls(nodes, prefix, Duration.toMillis(timeout), yield* Random.Random)
    yield* Effect.addFinalizer(() => Effect.sync(() => calls.close()))
    yield* Effect.forkScoped(calls.expiring)
    yield* Effect.forkScoped(calls.retrying)
    return calls
  })

  /** When a call that begins now ends at the latest. */
  get deadline(): number {
    return this.nodes.now() + this.timeout
  }

  /** Runs a command. */
  readonly run = <A>(command: Command.Any<A>): Effect.Effect<A, RedisFailure> =>
    Effect.callback((resume) => {
      const body = encoded(command, this.prefix)
      if (Result.isFailure(body)) return resume(refusal(command, body.failure))
      const place = placeOf([command], this.prefix)
      if (place === "cross") return resume(refusal(command, new CrossSlot()))
      const call = new Single(this, command, body.success, place, this.deadline, resume)
      this.begin(call)
      return Effect.sync(() => this.leave(call))
    })

  /** Begins a call; it will be told its end. */
  begin(call: Call): void {
    if (this.nodes.isClosed) {
      call.isDone = true
      return call.fail(new Closed())
    }
    call.previous = this.last
    if (this.last === undefined) {
      this.first = call
      this.some.openUnsafe()
    } else this.last.next = call
    this.last = call
    call.attempt()
  }

  /** Forgets a call: it has ended, or nobody waits for it any more. */
  leave(call: Call): void {
    if (call.isDone) return
    call.isDone = true
    const { next, previous } = call
    if (previous === undefined) this.first = next
    else previous.next = next
    if (next === undefined) this.last = previous
    else next.previous = previous
    if (this.waiting.size > 0) this.waiting.delete(call)
  }

  /** Tries a call again, after a while that grows with its tries. */
  retry(call: Call): void {
    const longest = Math.min(10 * 2 ** call.tries, 200)
    call.retryAt = this.nodes.now() + longest * (0.5 + this.random.nextDoubleUnsafe() / 2)
    this.waiting.add(call)
    this.someWaiting.openUnsafe()
  }

  /** Why a place has no connection, as the reason of a call that was not sent. */
  unavailable(place: Place | undefined): RedisFailureReason {
    const problem = this.nodes.problemOf(place)
    const isPlain = problem._tag === "Unavailable" || problem._tag === "Authentication" || problem._tag === "Closed"
    return isPlain ? problem : new Unavailable({ detail: problem.message })
  }

  private retryAll(isDue: (call: Call) => boolean): void {
    // Those that fail at once wait again already, and an answer to one may end another.
    for (const call of Array.from(this.waiting).filter(isDue)) if (this.waiting.delete(call)) call.attempt()
  }

  private close(): void {
    this.expire(Infinity)
  }

  private expire(now: number): void {
    while (this.first !== undefined && this.first.deadline <= now) this.first.expire()
  }

  private readonly retrying: Effect.Effect<void> = Effect.forever(
    Effect.suspend(() => {
      // Closed first: whoever comes from here on opens it.
      this.someWaiting.closeUnsafe()
      const now = this.nodes.now()
      this.retryAll(({ retryAt }) => retryAt <= now)
      return this.waiting.size > 0 ? Effect.sleep(retryStep) : this.someWaiting.await
    })
  )

  private readonly expiring: Effect.Effect<void> = Effect.forever(
    Effect.suspend(() => {
      this.some.closeUnsafe()
      const { first } = this
      if (first === undefined) return this.some.await
      const now = this.nodes.now()
      if (first.deadline > now) return Effect.sleep(Math.max(1, first.deadline - now))
      // A timer comes before what the sockets have: when this process was held up, replies in time may wait there.
      return Effect.andThen(
        Effect.yieldNow,
        Effect.sync(() => this.expire(now))
      )
    })
  )
}

/** A command that is not sent. */
export const refusal = (command: Command.Any, reason: RedisFailureReason): Effect.Effect<never, RedisFailure> =>
  Effect.fail(new RedisFailure({ reason, command: command.name }))

import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Command from "../Command.ts"
import {
  ClusterDown,
  CrossSlot,
  OutcomeUnknown,
  RedisFailure,
  type RedisFailureReason,
  UnexpectedReply
} from "../RedisError.ts"
import { Call, decoded, inTransaction, wireOf } from "./Call.ts"
import { type Calls, encoded, refusal } from "./Calls.ts"
import { classify, isAnswer, type Redirection } from "./classify.ts"
import type { Connection, Receiver } from "./Connection.ts"
import { type Place, placeOf } from "./slot.ts"
import * as Wire from "./wire.ts"

const name = "MULTI"
const multi = Wire.words("MULTI")
const exec = Wire.words("EXEC")

type Resume = (effect: Effect.Effect<ReadonlyArray<unknown>, RedisFailure>) => void

/** What the server answered to the commands that it queues, until EXEC. */
const untilExec = { wasSent: true, isIdempotent: false } as const

/**
 * MULTI, the commands and EXEC, written together: nothing of other calls gets between. The call is the answer to EXEC; that
 * a command could not be queued makes the server discard them all, which can be tried again.
 */
class Transaction extends Call {
  private readonly commands: ReadonlyArray<Command.Any>
  private readonly wires: ReadonlyArray<Wire.Wire>
  private readonly resume: Resume
  /** Why the server did not queue a command. */
  private refusal: unknown
  /** Whether MULTI itself was refused, so that the commands after it were done one by one. */
  private isUnbound = false

  constructor(
    calls: Calls,
    commands: ReadonlyArray<Command.Any>,
    wires: ReadonlyArray<Wire.Wire>,
    place: Place | undefined,
    resume: Resume
  ) {
    super(
      calls,
      place,
      commands.every(({ isIdempotent }) => isIdempotent),
      calls.deadline
    )
    this.commands = commands
    this.wires = wires
    this.resume = resume
  }

  /**
   * Where a user may not run MULTI the commands after it would be done one by one. So a connection is asked first, once,
   * with a transaction of nothing.
   */
  override attempt(): void {
    const connection = this.calls.nodes.pick(this.place)
    if (connection === undefined || connection.mayMulti) return super.attempt()
    let problem: unknown
    const first: Receiver = { onReply: () => {}, onError: (error) => (problem = error) }
    const last: Receiver = {
      onReply: () => {
        connection.mayMulti = true
        if (!this.isDone) this.attempt()
      },
      onError: (error) => {
        // It would queue whatever comes next.
        if (problem === undefined) connection.close()
        this.connection = connection
        if (!this.isDone) this.failed(classify(problem ?? error, { wasSent: true, isIdempotent: true }))
      }
    }
    if (!connection.send(multi, first) || !connection.send(exec, last)) super.attempt()
  }

  write(connection: Connection): boolean {
    this.refusal = undefined
    const queued: Receiver = { onReply: () => {}, onError: (error) => (this.refusal ??= error) }
    this.isUnbound = false
    const first: Receiver = { onReply: () => {}, onError: () => (this.isUnbound = true) }
    if (!connection.send(multi, first)) return false
    for (const wire of this.wires) connection.send(wire, queued)
    return connection.send(exec, this)
  }

  succeed(reply: unknown): void {
    this.resume(Effect.suspend(() => this.read(reply)))
  }

  fail(reason: RedisFailureReason): void {
    this.resume(Effect.fail(new RedisFailure({ reason, command: name })))
  }

  protected override answered(error: unknown): void {
    if (this.isUnbound && isAnswer(error)) {
      // The user might when the connection was asked.
      this.connection!.mayMulti = false
      return this.failed(new OutcomeUnknown({ detail: "MULTI was refused" }))
    }
    const isDiscarded = classify(error, untilExec)._tag === "Rejected" && this.refusal !== undefined
    super.answered(isDiscarded ? this.refusal : error)
  }

  protected override redirected(redirection: Redirection): void {
    // A slot that is moving has its keys in two places: a transaction waits until it has moved.
    if (redirection.isMoved) super.redirected(redirection)
    else this.failed(new ClusterDown())
  }

  private read(reply: unknown): Effect.Effect<ReadonlyArray<unknown>, RedisFailure> {
    if (!Array.isArray(reply) || reply.length !== this.commands.length) {
      const reason = new UnexpectedReply({ problem: "not a reply for each command" })
      return Effect.fail(new RedisFailure({ reason, command: name }))
    }
    return Effect.forEach(this.commands, (command, index) => {
      const one: unknown = reply[index]
      return one instanceof Error
        ? Effect.fail(inTransaction(this.commands, command, one))
        : decoded(command, Wire.replyOf(one, command.isBinary))
    })
  }
}

/** Runs commands with nothing between them: all, or none. */
export const transaction = (
  calls: Calls,
  commands: ReadonlyArray<Command.Any>
): Effect.Effect<ReadonlyArray<unknown>, RedisFailure> =>
  Effect.callback((resume) => {
    if (commands.length === 0) return resume(Effect.succeed([]))
    const place = placeOf(commands, calls.prefix)
    if (place === "cross") return resume(Effect.fail(new RedisFailure({ reason: new CrossSlot(), command: name })))
    const wires: Array<Wire.Wire> = []
    for (const command of commands) {
      const body = encoded(command, calls.prefix)
      if (Result.isFailure(body)) return resume(refusal(command, body.failure))
      // Always with its text: what EXEC finds missing it passes over, and does the rest.
      wires.push(wireOf(command, body.success, false))
    }
    const call = new Transaction(calls, commands, wires, place, resume)
    calls.begin(call)
    return Effect.sync(() => calls.leave(call))
  })

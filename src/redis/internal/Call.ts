import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Command from "../Command.ts"
import { Closed, RedisFailure, type RedisFailureReason, Rejected, Unavailable } from "../RedisError.ts"
import { hostAndPort } from "./address.ts"
import type { Calls } from "./Calls.ts"
import { byScript, classify, lost, type Redirection, redirectionOf } from "./classify.ts"
import type { Connection, Receiver } from "./Connection.ts"
import type { Place } from "./slot.ts"
import * as Wire from "./wire.ts"

/** How often a command may be told that its slot is elsewhere, one after the other. */
const maxRedirections = 5

const asking = Wire.words("ASKING")

/**
 * What passes by itself soon, or by being sent elsewhere. Another try of what the server has no memory for, or refuses
 * while it cannot save, would only add to its load.
 */
const soonBetter: ReadonlySet<RedisFailureReason["_tag"]> = new Set([
  "Unavailable",
  "Timeout",
  "Loading",
  "ReadOnly",
  "ClusterDown",
  "NoScript"
])

/** Whether another try of it may work, and is safe. */
export const isSoonBetter = ({ _tag, isSafeToRetry }: RedisFailureReason): boolean =>
  isSafeToRetry && soonBetter.has(_tag)

const nobody: Receiver = { onReply: () => {}, onError: () => {} }

const notSent = { wasSent: false, isIdempotent: true } as const
const notConnected = new Unavailable({ detail: "connection closed" })

/** One operation on its way, from the first try to its end. */
export abstract class Call implements Receiver {
  readonly place: Place | undefined
  readonly isIdempotent: boolean
  /** When it ends at the latest. */
  readonly deadline: number
  /** Its neighbours among those that have not ended. */
  previous: Call | undefined = undefined
  next: Call | undefined = undefined
  isDone = false
  /** Whether a reply may still come. */
  isSent = false
  /** Where it was sent. */
  connection: Connection | undefined = undefined
  tries = 0
  redirections = 0
  retryAt = 0
  /** Why the last try failed; `Timeout` from the first one on whose reply was lost. */
  problem: RedisFailureReason | undefined = undefined
  protected readonly calls: Calls

  constructor(calls: Calls, place: Place | undefined, isIdempotent: boolean, deadline: number) {
    this.calls = calls
    this.place = place
    this.isIdempotent = isIdempotent
    this.deadline = deadline
  }

  /** Sends it; false when it was surely not sent. */
  abstract write(connection: Connection): boolean
  /** Takes its end. */
  abstract succeed(reply: unknown): void
  abstract fail(reason: RedisFailureReason): void

  onReply(reply: unknown): void {
    if (this.isDone) return
    this.calls.leave(this)
    this.succeed(reply)
  }

  onError(error: unknown): void {
    if (this.isDone) return
    this.isSent = false
    this.answered(error)
  }

  /** What becomes of it when it was not done. */
  protected answered(error: unknown): void {
    const redirection = redirectionOf(error)
    if (redirection !== undefined) {
      if (this.calls.nodes.isCluster) return this.redirected(redirection)
      // A node of a cluster that was configured as a single server, or somebody who plays one: no other is gone to.
      return this.failed(new Rejected({ code: redirection.isMoved ? "MOVED" : "ASK" }))
    }
    this.failed(classify(error, { wasSent: true, isIdempotent: this.isIdempotent }))
  }

  protected redirected(redirection: Redirection): void {
    const { nodes } = this.calls
    const address = this.known(redirection)
    if (++this.redirections > maxRedirections) return this.failed(lost("redirected too often", notSent))
    if (redirection.isMoved) return this.attempt()
    const there = nodes.at(address)
    if (there === undefined || !there.send(asking, nobody)) return this.failed(notConnected)
    this.sendTo(there)
  }

  /** Where it is sent to; without a host to the one that was asked. Takes down what holds from now on. */
  protected known(redirection: Redirection): string {
    const address = redirection.address.startsWith(":")
      ? `${hostAndPort(this.connection!.address).host}${redirection.address}`
      : redirection.address
    if (redirection.isMoved) this.calls.nodes.moved({ ...redirection, address })
    return address
  }

  /** Tries it, where its slot is now. */
  attempt(): void {
    this.tries++
    const connection = this.calls.nodes.pick(this.place)
    if (connection === undefined) this.failed(this.calls.unavailable(this.place))
    else this.sendTo(connection)
  }

  protected sendTo(connection: Connection): void {
    this.connection = connection
    this.isSent = true
    if (this.write(connection)) return
    this.isSent = false
    this.failed(notConnected)
  }

  /** A try has failed: waits for the next, or ends. */
  protected failed(reason: RedisFailureReason): void {
    this.met(reason)
    this.suspect(reason)
    if (isSoonBetter(reason)) return this.calls.retry(this)
    this.calls.leave(this)
    this.fail(reason)
  }

  /** Takes down why a try failed. What it may have done is not undone by a later one that was not sent. */
  protected met(reason: RedisFailureReason): void {
    if (this.problem?._tag !== "Timeout") this.problem = reason
  }

  /** Has the servers looked up again when one is not what it was taken for. */
  protected suspect({ _tag }: RedisFailureReason): void {
    if (_tag === "ReadOnly" || _tag === "ClusterDown") this.calls.nodes.suspect(this.connection!)
  }

  /** Its time is over. */
  expire(): void {
    this.calls.leave(this)
    const { isIdempotent, isSent, problem } = this
    if (!isSent && problem?._tag !== "Timeout" && this.calls.nodes.isClosed) return this.fail(new Closed())
    this.fail(isSent || problem === undefined ? lost("no reply in time", { wasSent: isSent, isIdempotent }) : problem)
  }
}

/** A call of one command. */
export class Single<A> extends Call {
  private readonly command: Command.Any<A>
  private readonly body: Wire.Encoded
  private readonly resume: (effect: Effect.Effect<A, RedisFailure>) => void
  /** Whether the last try named a script by its hash. */
  private isByHash = false

  constructor(
    calls: Calls,
    command: Command.Any<A>,
    body: Wire.Encoded,
    place: Place | undefined,
    deadline: number,
    resume: (effect: Effect.Effect<A, RedisFailure>) => void
  ) {
    super(calls, place, command.isIdempotent, deadline)
    this.command = command
    this.body = body
    this.resume = resume
  }

  write(connection: Connection): boolean {
    const { script } = this.command
    if (script === undefined) return connection.send(wireOf(this.command, this.body, false), this)
    this.isByHash = connection.scripts.has(script.sha)
    // In order: whatever is sent after the text finds it there.
    connection.scripts.add(script.sha)
    return connection.send(wireOf(this.command, this.body, this.isByHash), this)
  }

  succeed(reply: unknown): void {
    // In the fiber: what a decoder of the caller's throws is a defect of that fiber.
    this.resume(Effect.suspend(() => decoded(this.command, Wire.replyOf(reply, this.command.isBinary))))
  }

  fail(reason: RedisFailureReason): void {
    this.resume(Effect.fail(new RedisFailure({ reason, command: this.command.name })))
  }

  protected override answered(error: unknown): void {
    const { script } = this.command
    const own = byScript(this.command, error)
    if (own !== undefined) {
      this.calls.leave(this)
      return this.resume(Effect.fail(begun(this.command, own, true)))
    }
    const isForgotten = script !== undefined && this.isByHash && classify(error, notSent)._tag === "NoScript"
    if (!isForgotten) return super.answered(error)
    this.connection!.scripts.delete(script.sha)
    this.forgotten()
  }

  /** The server has forgotten the script: it gets the text. */
  protected forgotten(): void {
    this.sendTo(this.connection!)
  }
}

/** The command on the wire; a script by its hash where the connection has its text, or with it. */
export const wireOf = (command: Command.Any, body: Wire.Encoded, isKnown: boolean): Wire.Wire => {
  const { name, script } = command
  if (script === undefined) return Wire.command([name], body)
  const { keys, lua, sha } = script
  return Wire.command(isKnown ? ["EVALSHA", sha, String(keys)] : ["EVAL", lua, String(keys)], body)
}

/** A failure of a command that had begun. What is idempotent may be done again, a part of it too. */
export const begun = (command: Command.Any, reason: RedisFailureReason, isPartial: boolean): RedisFailure =>
  new RedisFailure({ reason, command: command.name, ...(isPartial && !command.isIdempotent ? { partial: true } : {}) })

/** What an error means that is the answer to one of the commands of a transaction, which has done the others. */
export const inTransaction = (
  commands: ReadonlyArray<Command.Any>,
  command: Command.Any,
  error: unknown
): RedisFailure => {
  const own = byScript(command, error)
  const isPartial = commands.some((one) => !one.isIdempotent && (one !== command || own !== undefined))
  const reason = own ?? classify(error, { wasSent: true, isIdempotent: false })
  return new RedisFailure({ reason, command: command.name, ...(isPartial ? { partial: true } : {}) })
}

/** What a reply means to the command. */
export const decoded = <A>(command: Command.Any<A>, reply: Command.Reply): Effect.Effect<A, RedisFailure> => {
  const result = command.decode(reply)
  return Result.isSuccess(result)
    ? Effect.succeed(result.success)
    : Effect.fail(new RedisFailure({ reason: result.failure, command: command.name }))
}

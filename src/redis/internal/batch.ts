import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Command from "../Command.ts"
import { ClusterDown, CrossSlot, NoScript, type RedisFailure, type RedisFailureReason } from "../RedisError.ts"
import { isSoonBetter, Single } from "./Call.ts"
import { type Calls, encoded, refusal } from "./Calls.ts"
import type { Redirection } from "./classify.ts"
import { type Place, placeOf } from "./slot.ts"
import type * as Wire from "./wire.ts"

type Outcome = Effect.Effect<unknown, RedisFailure>

/** The results of a batch, one for each of its commands. */
export type Results = ReadonlyArray<Result.Result<unknown, RedisFailure>>

/** One command of a batch: tried again in rounds with the others, so that they keep their order. */
class Member extends Single<unknown> {
  /** Whether it waits for the next round. */
  isWaiting = false
  isEnded = false
  private readonly batch: Batch

  constructor(batch: Batch, command: Command.Any, body: Wire.Encoded, place: Place | undefined, index: number) {
    super(batch.calls, command, body, place, batch.deadline, (outcome) => {
      this.isEnded = true
      batch.ended(index, outcome, this.isWaiting)
    })
    this.batch = batch
  }

  override attempt(): void {
    if (this.isWaiting) this.batch.nextRound()
    else super.attempt()
  }

  /** Tries it once more, as part of a round. */
  tryAgain(): void {
    this.isWaiting = false
    super.attempt()
  }

  /** Ends it with why its last try failed. */
  giveUp(): void {
    this.calls.leave(this)
    this.fail(this.problem!)
  }

  protected override redirected(redirection: Redirection): void {
    if (!redirection.isMoved) return super.redirected(redirection)
    this.known(redirection)
    this.wait(new ClusterDown())
  }

  protected override forgotten(): void {
    this.wait(new NoScript())
  }

  protected override failed(reason: RedisFailureReason): void {
    if (!isSoonBetter(reason)) return super.failed(reason)
    this.suspect(reason)
    this.wait(reason)
  }

  private wait(reason: RedisFailureReason): void {
    this.met(reason)
    this.isWaiting = true
    this.batch.waits()
  }
}

/** Commands that are sent at once, and those that were surely not done again together, for as long as there is time. */
class Batch {
  readonly calls: Calls
  readonly deadline: number
  private readonly members: Array<Member> = []
  private readonly outcomes: Array<Outcome> = []
  private readonly resume: (effect: Effect.Effect<Results>) => void
  /** How many have no outcome, and how many of these are on their way. */
  private left = 0
  private active = 0

  constructor(calls: Calls, commands: ReadonlyArray<Command.Any>, resume: (effect: Effect.Effect<Results>) => void) {
    this.calls = calls
    this.deadline = calls.deadline
    this.resume = resume
    for (const [index, command] of commands.entries()) {
      const body = encoded(command, calls.prefix)
      const place = placeOf([command], calls.prefix)
      if (Result.isFailure(body)) this.outcomes[index] = refusal(command, body.failure)
      else if (place === "cross") this.outcomes[index] = refusal(command, new CrossSlot())
      else this.members.push(new Member(this, command, body.success, place, index))
    }
  }

  begin(): void {
    this.left = this.active = this.members.length
    for (const member of this.members) this.calls.begin(member)
    if (this.left === 0) this.finish()
  }

  leave(): void {
    for (const member of this.members) this.calls.leave(member)
  }

  ended(index: number, outcome: Outcome, wasWaiting: boolean): void {
    this.outcomes[index] = outcome
    this.left--
    if (!wasWaiting) this.active--
    if (this.left === 0) this.finish()
    else if (this.active === 0 && !wasWaiting) this.roundEnded()
  }

  waits(): void {
    if (--this.active === 0) this.roundEnded()
  }

  nextRound(): void {
    const members = this.members.filter(({ isWaiting }) => isWaiting)
    this.active = members.length
    for (const member of members) member.tryAgain()
  }

  /** What a later command on the same slot has overtaken is not tried again: it would come after that one. */
  private roundEnded(): void {
    const overtaken = new Set<string>()
    for (const member of this.members.toReversed()) {
      const tag = member.place?.tag
      if (member.isEnded && tag !== undefined) overtaken.add(tag)
      else if (!member.isEnded && tag !== undefined && overtaken.has(tag)) member.giveUp()
    }
    const next = this.members.find(({ isEnded }) => !isEnded)
    if (next !== undefined) this.calls.retry(next)
  }

  private finish(): void {
    this.resume(Effect.forEach(this.outcomes, (outcome) => Effect.result(outcome)))
  }
}

/** Runs commands, each with its own result. */
export const batch = (calls: Calls, commands: ReadonlyArray<Command.Any>): Effect.Effect<Results> =>
  Effect.callback((resume) => {
    const all = new Batch(calls, commands, resume)
    all.begin()
    return Effect.sync(() => all.leave())
  })

// What both backends of Push have in common: what is kept, and what is refused.
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Key from "../../redis/Key.ts"
import { InvalidInput, Message, type Numbered, PushError, type Since } from "./Push.ts"

/** How many messages of a player are kept. */
export const keptMessages = 100

/** How long they are, after the last one. */
export const keptFor = Duration.hours(1)

/** How long the number of the last one is, after it. */
export const numberedFor = Duration.days(30)

const refuse = (problem: string): PushError => new PushError({ reason: new InvalidInput({ problem }) })

/** The key of the player's session, beside which the messages are. */
export const playerOf = (playerId: string): Result.Result<Key.Key<"session">, PushError> =>
  Result.mapError(Key.make("session", playerId), ({ reason }) =>
    refuse(`the player id: ${"problem" in reason ? reason.problem : reason.message}`)
  )

const isMessage = Schema.is(Message)

/** A message that can be sent. */
export const checkMessage = (message: Message): Result.Result<Message, PushError> =>
  isMessage(message)
    ? Result.succeed(message)
    : Result.fail(refuse("a topic is 1 to 64 characters of A-Z a-z 0-9 . _ -, a payload JSON of at most 16 KB"))

/** A place among the messages of a player. */
export const checkSequence = (sequence: number): Result.Result<number, PushError> =>
  Number.isSafeInteger(sequence) && sequence >= 0
    ? Result.succeed(sequence)
    : Result.fail(refuse("the sequence number is not a whole number from 0"))

/** A place among the numbers of a series. */
export interface Place {
  readonly series: string
  readonly sequence: number
}

/** What follows a place, of the messages that are known and the place of the last one. */
export const sinceOf = (after: Place, last: Place, known: ReadonlyArray<Numbered>): Since => {
  const isOther = after.series !== "" && after.series !== last.series
  const from = isOther ? 0 : after.sequence
  const messages = known.filter(({ sequence }) => sequence > from)
  return { ...last, messages, missed: isOther || last.sequence - from !== messages.length }
}

// One connected player: what is on its way to it. It is told things by those who hear them and is read by the fiber of
// its call, and is written without Effect, since there are thousands of them: an idle one has no timer and no fiber but
// those of its call.
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { ConnectResponse, Hello } from "../../gen/gateway.ts"
import type { Call } from "../../grpc/Call.ts"
import type { SessionData } from "../../session/Session.ts"
import type { ConnectError } from "./errors.ts"
import type { Message, Numbered, Since } from "./Push.ts"

/** How many messages wait at most for a player who reads slowly; what follows is read from the store when they are gone. */
const mostWaiting = 64

/** What the stream of a connection gives, or how it ends. */
type Pulled = Effect.Effect<NonEmptyReadonlyArray<ConnectResponse>, ConnectError | Cause.Done>

/** The messages after a number of a series; it waits while the store is away. */
type ReadSince = (playerId: string, sequence: number, series: string) => Effect.Effect<Since>

const pushed = ({ payload, topic }: Message, sequence: number): ConnectResponse => ({
  message: { $case: "pushed", pushed: { sequence: BigInt(sequence), topic, payload } }
})

/** A connection, from its login on. */
export class Connection {
  readonly session: SessionData
  /** The newest that the client has shown. */
  token: Redacted.Redacted
  /** Its end needs no logout: the session has ended, or is left to the next connection. */
  isOver = false
  /** Told once, as soon as it ends: a client that does not read may keep its stream longer. */
  onEnd: ((connection: Connection) => void) | undefined
  readonly call: Pick<Call["Service"], "hangUp">
  readonly #read: ReadSince
  /** That of the last message that was put behind the others. */
  #sequence: number
  /** To which the number belongs. */
  #series: string
  /** The highest that was heard of while messages are read from the store, and the series of the last one. */
  #heard = 0
  #heardSeries = ""
  /** Messages may be missing after it: they are read from the store. */
  #isBehind = true
  #isWelcomed = false
  #waiting: Array<ConnectResponse> = []
  #end: Pulled | undefined
  #resume: ((pulled: Pulled) => void) | undefined
  #second = 0
  #messages = 0

  constructor(call: Pick<Call["Service"], "hangUp">, session: SessionData, hello: Hello, read: ReadSince) {
    this.call = call
    this.session = session
    this.token = session.token
    this.#sequence = Number(hello.lastSequence)
    this.#series = hello.series
    this.#read = read
  }

  /** What is next for the client, as soon as there is something. */
  readonly pull: Pulled = Effect.suspend(() => {
    if (this.#isWelcomed && this.#waiting.length > 0) return this.#take()
    if (this.#end !== undefined) return this.#end
    if (this.#isBehind) return this.#catchUp()
    return Effect.callback((resume) => {
      this.#resume = resume
      return Effect.sync(() => {
        this.#resume = undefined
      })
    })
  })

  /** One of the player's messages was heard. */
  push(message: Numbered, series: string): void {
    const { sequence } = message
    if (this.#isBehind) {
      this.#heard = series === this.#heardSeries ? Math.max(this.#heard, sequence) : sequence
      this.#heardSeries = series
    } else if (series !== this.#series) {
      this.fallBehind()
    } else if (sequence === this.#sequence + 1 && this.#put(pushed(message, sequence))) {
      this.#sequence = sequence
    } else if (sequence > this.#sequence) {
      this.fallBehind()
    }
  }

  /** A message to everybody was heard; a client that does not read misses it. */
  broadcast(message: Message): void {
    this.#put(pushed(message, 0))
  }

  /** The client wants to know whether the connection lives; when it does not read, it does not. */
  pong(id: bigint): void {
    this.#put({ message: { $case: "pong", pong: { id } } })
  }

  /** Messages may have been missed. */
  fallBehind(): void {
    this.#isBehind = true
    this.#wake()
  }

  /** Ends it behind what waits; the first end counts. What is no declared error is a bug of ours. */
  end(how: ConnectError | "done" | Cause.Cause<ConnectError>): void {
    if (this.#end !== undefined) return
    this.#end = how === "done" ? Cause.done() : Cause.isCause(how) ? Effect.failCause(how) : Effect.fail(how)
    this.onEnd?.(this)
    this.#wake()
  }

  /** Whether the client may send one message more in this second. */
  admits(now: number, most: number): boolean {
    const second = Math.floor(now / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#messages = 0
    }
    return ++this.#messages <= most
  }

  #put(response: ConnectResponse): boolean {
    if (this.#waiting.length >= mostWaiting || this.#end !== undefined) return false
    this.#waiting.push(response)
    this.#wake()
    return true
  }

  #wake(): void {
    const resume = this.#resume
    this.#resume = undefined
    resume?.(this.pull)
  }

  #take(): Pulled {
    const waiting = this.#waiting
    this.#waiting = []
    return Effect.succeed(waiting as unknown as NonEmptyReadonlyArray<ConnectResponse>)
  }

  /** Reads what is missing; a second time when more was heard of meanwhile. */
  #catchUp(): Pulled {
    this.#heard = 0
    const { playerId } = this.session
    return Effect.flatMap(this.#read(playerId, this.#sequence, this.#series), (since) => {
      const { messages, missed, sequence, series } = since
      const before = messages.length === 0 ? sequence : messages[0]!.sequence - 1
      const isNews = missed || !this.#isWelcomed || series !== this.#series
      const welcome = isNews ? [this.#welcome(before, since)] : []
      this.#isWelcomed = true
      this.#sequence = sequence
      this.#series = series
      this.#isBehind = this.#heard > 0 && (this.#heardSeries !== series || this.#heard > sequence)
      this.#waiting.unshift(...welcome, ...messages.map((message) => pushed(message, message.sequence)))
      return this.pull
    })
  }

  #welcome(sequence: number, { missed, series }: Since): ConnectResponse {
    const { epoch, gateway, playerId } = this.session
    return {
      message: {
        $case: "welcome",
        welcome: { playerId, gateway, epoch: BigInt(epoch), sequence: BigInt(sequence), missed, series }
      }
    }
  }
}

/** What a client may have saved up for the loss of an instance: at the start, and at most. */
const [atFirst, atMost] = [100, 1000]
/** The same for answers that say no, which are no sign of a lost instance. */
const answersAtMost = 10

/**
 * How many tries beyond the first a client makes. Every call saves up a share of one.
 *
 * A reply that was lost draws on all that is saved: an instance that dies takes all its calls with it at once, and they
 * are to find another. After an answer only a few are at hand, so that servers that fail get hardly more calls than
 * servers that work.
 */
export class Budget {
  /** Whether there is any try beyond the first. */
  readonly isGiven: boolean
  readonly #share: number
  #saved: number
  #savedForAnswers = 0

  constructor(share: number) {
    this.isGiven = share > 0
    this.#share = share
    this.#saved = share === 0 ? 0 : atFirst
  }

  /** A call was made. */
  call(): void {
    if (this.#saved < atMost) this.#saved += this.#share
    if (this.#savedForAnswers < answersAtMost) this.#savedForAnswers += this.#share
  }

  /** Takes a try, if there is one. */
  take(): boolean {
    if (this.#saved < 1) return false
    this.#saved--
    return true
  }

  /** Gives back a try that was not needed. */
  giveBack(): void {
    this.#saved++
  }

  /** Whether the try that was taken may follow an answer. */
  takeAfterAnswer(): boolean {
    if (this.#savedForAnswers < 1) return false
    this.#savedForAnswers--
    return true
  }
}

// How many calls a method runs at once. Beyond what its handler bears more calls at once only make each wait longer:
// by Little's law the calls inside are their rate times how long they take, and when the rate has reached its top it is
// the time that grows. So the limit follows the latency.
import type * as Clock from "effect/Clock"
import { monotonicMillis } from "./clock.ts"
import { type Lateness, quietMillis } from "./lateness.ts"

/** A window is looked at after so long, when it has the samples of which a median says something. */
const windowMillis = 50
const windowSamples = 40
/** When calls are rare it has to do with what there is. */
const longWindowMillis = 1000
const longWindowSamples = 20

/** Calls are taken to queue from twice the handler's own time on; a few milliseconds more are the process's, not its. */
const tolerance = 2
const slackMillis = 5
/**
 * A call waits so often for the process while it is inside: for timers and replies, and behind others that do. That says
 * nothing of the handler.
 */
const turns = 5
/** A process that is later than that has too much to do, whatever for: then what waits is a queue all the same. */
const latestMillis = 200
/** What is left of the rate when fewer calls at once did harm. */
const harm = 0.6

const leastLimit = 3
/** How fast a limit grows in a window without queues, and how fast what is known of the handler follows it. */
const growth = 0.1
const down = 0.1
const up = 0.05

/** Eight buckets for each doubling, from a microsecond to some hours. */
const perDoubling = 8
const buckets = 300
const smallest = 0.001

const bucketOf = (millis: number): number =>
  Math.min(buckets - 1, Math.floor(Math.log2(Math.max(millis, smallest) / smallest) * perDoubling))

const middleOf = (bucket: number): number => smallest * 2 ** ((bucket + 0.5) / perDoubling)

/** How long calls took, in milliseconds. */
interface Latency {
  readonly median: number
  readonly mean: number
}

/** The latencies of a window. */
class Window {
  readonly #counts = new Uint32Array(buckets)
  startedAt = 0
  /** What the process had kept waiting until then. */
  waited = 0
  samples = 0
  sum = 0
  /** Calls were refused in it. */
  isBound = false

  add(millis: number): void {
    this.#counts[bucketOf(millis)]!++
    this.samples++
    this.sum += millis
  }

  latency(): Latency {
    let seen = 0
    let bucket = 0
    while (bucket < buckets - 1 && (seen += this.#counts[bucket]!) * 2 < this.samples) bucket++
    return { median: middleOf(bucket), mean: this.sum / this.samples }
  }

  restart(now: number, waited: number): void {
    this.#counts.fill(0)
    this.startedAt = now
    this.waited = waited
    this.samples = 0
    this.sum = 0
    this.isBound = false
  }
}

/** From how much longer on calls are taken to queue, when the process has kept them waiting for so long. */
const marginOf = (ownMillis: number, waitedMillis: number): number =>
  Math.max(ownMillis * (tolerance - 1), slackMillis) + waitedMillis

const targetOf = (ownMillis: number, waitedMillis: number): number => ownMillis + marginOf(ownMillis, waitedMillis)

/**
 * How much longer calls took than the handler's own time: 0 for not, 1 for as long as may be. Both measures must say so:
 * a pause of the process and a few long calls move the mean, a handler that is either quick or slow moves the median.
 */
const slownessOf = (own: Latency, { mean, median }: Latency, waited: number): number =>
  Math.min((median - own.median) / marginOf(own.median, waited), (mean - own.mean) / marginOf(own.mean, waited))

const follow = (own: Latency, now: Latency, up: number): Latency => ({
  median: own.median + (now.median - own.median) * (now.median < own.median ? down : up),
  mean: own.mean + (now.mean - own.mean) * (now.mean < own.mean ? down : up)
})

/** Lets calls in, as many at once as their handler bears. */
export interface Limiter {
  /** Lets a call in, unless there are too many inside. */
  readonly tryAcquire: () => boolean
  /**
   * A call that was let in has ended.
   *
   * - `latencyMillis`: since it was let in
   * - `outcome`: `ok` when the handler answered, whatever it answered; `dropped` when it was cut short, so that it would
   *   have taken longer
   */
  readonly release: (latencyMillis: number, outcome: "ok" | "dropped") => void
  /** How many may be inside now. */
  readonly limit: () => number
}

/**
 * What a limiter goes by.
 *
 * - `limit`: the most calls inside at once, 1 or more; as long as nothing queues it is the limit
 * - `lateness`: told while calls are inside; none when the process is never late
 */
export interface Options {
  readonly limit: number
  readonly clock: Clock.Clock
  readonly lateness: Lateness | undefined
}

class AdaptiveLimiter implements Limiter {
  readonly #most: number
  readonly #clock: Clock.Clock
  readonly #lateness: Lateness | undefined
  readonly #window = new Window()
  #limit: number
  #inside = 0
  /** Since when nothing was inside, when nothing is. */
  #quietSince: number
  /** What the handler takes when nothing queues, once that is known. */
  #own: Latency | undefined
  #wasSlow = false
  /** How long the process kept a call waiting in the last window, and in that or the one before. */
  #late = 0
  #latest = 0
  /** How many calls ended in a millisecond when the limit was cut; 0 as long as it is not. */
  #rateBefore = 0
  /** The limit to go back to after a try with fewer; 0 when there is none. */
  #tried = 0
  #triedAt = 0
  #isSettled = false
  #tryAt = Infinity

  constructor({ clock, lateness, limit }: Options) {
    this.#most = limit
    this.#limit = limit
    this.#clock = clock
    this.#lateness = lateness
    this.#quietSince = monotonicMillis(clock)
    this.#window.restart(this.#quietSince, this.#waited())
  }

  readonly limit = (): number => Math.floor(this.#limit)

  readonly tryAcquire = (): boolean => {
    if (this.#inside === 0) this.#wake()
    if (this.#inside >= Math.floor(this.#limit)) {
      this.#window.isBound = true
      return false
    }
    this.#inside++
    return true
  }

  readonly release = (latencyMillis: number, outcome: "ok" | "dropped"): void => {
    this.#inside--
    if (this.#inside === 0) {
      this.#quietSince = monotonicMillis(this.#clock)
      this.#lateness?.leave()
    }
    // A caller that gave up early says nothing of the handler.
    if (outcome === "dropped" && latencyMillis < targetOf(this.#own?.median ?? 0, this.#latest)) return
    const window = this.#window
    window.add(latencyMillis)
    if (window.samples < longWindowSamples) return
    const now = monotonicMillis(this.#clock)
    const elapsed = now - window.startedAt
    // What seems to be a queue grows while it is looked at.
    const enough = this.#wasSlow ? longWindowSamples : windowSamples
    if (elapsed >= longWindowMillis || (elapsed >= windowMillis && window.samples >= enough)) {
      this.#look(now, elapsed)
    }
  }

  #waited(): number {
    return this.#lateness?.waited() ?? 0
  }

  /** After a quiet time the limit is that of another time: it says nothing of a burst now. */
  #wake(): void {
    this.#lateness?.enter()
    const now = monotonicMillis(this.#clock)
    const quiet = now - this.#quietSince
    if (quiet < quietMillis) return
    this.#window.restart(now, this.#waited())
    this.#grow(quiet, 1)
  }

  #look(now: number, elapsed: number): void {
    const { isBound, samples, sum, waited } = this.#window
    const latency = this.#window.latency()
    const own = this.#own
    const rate = samples / elapsed
    this.#window.restart(now, this.#waited())
    const late = Math.min(latestMillis, (turns * (this.#window.waited - waited)) / elapsed)
    this.#latest = Math.max(late, this.#late)
    this.#late = late
    if (own === undefined) this.#own = latency
    else if (this.#tried > 0) this.#endTry(now, sum / elapsed, own, latency)
    // A process that is late does less, whatever the limit.
    else if (isBound && rate < this.#rateBefore * harm && this.#latest < marginOf(own.median, 0)) {
      this.#uncut(own, latency)
    } else if (slownessOf(own, latency, this.#latest) > 1) this.#slow(rate, own, latency)
    else this.#relax(now, elapsed, own, latency, isBound)
  }

  /** Calls queue, unless it was a pause of the process: that is over in the next window. */
  #slow(rate: number, own: Latency, latency: Latency): void {
    if (this.#wasSlow) this.#cut(rate, own, latency)
    this.#wasSlow = true
  }

  /** By Little's law so many inside take as long as may be. */
  #cut(rate: number, own: Latency, { mean, median }: Latency): void {
    if (this.#rateBefore === 0) this.#rateBefore = rate
    const inside =
      rate * mean * Math.max(targetOf(own.median, this.#latest) / median, targetOf(own.mean, this.#latest) / mean)
    this.#limit = Math.max(leastLimit, Math.min(this.#limit, inside))
  }

  /** With fewer at once fewer end: they had not queued, it is the handler's own time that has become longer. */
  #uncut(own: Latency, { mean, median }: Latency): void {
    this.#limit = Math.min(this.#most, Math.max(this.#limit, this.#rateBefore * mean * 1.5))
    this.#own = { median: Math.max(own.median, median), mean: Math.max(own.mean, mean) }
    this.#rateBefore = 0
  }

  #relax(now: number, elapsed: number, own: Latency, latency: Latency, isBound: boolean): void {
    this.#wasSlow = false
    const room = Math.min(1, 1 - slownessOf(own, latency, this.#latest))
    if (isBound && room < 0.5) {
      if (this.#tryAt === Infinity) this.#tryAt = now + Math.max(3 * windowMillis, 5 * latency.mean)
      if (now >= this.#tryAt) return this.#beginTry(now)
    } else if (!isBound) {
      this.#tryAt = Infinity
      this.#rateBefore = 0
    }
    this.#grow(isBound ? windowMillis : elapsed, room)
    // What takes longer while calls are refused may be what queues.
    this.#own = follow(own, latency, isBound ? 0 : up)
  }

  /** The slower calls are already, the less. */
  #grow(elapsed: number, room: number): void {
    const windows = Math.min(100, elapsed / windowMillis)
    this.#limit = Math.min(this.#most, this.#limit * (1 + growth * room) ** windows + room)
  }

  /** Under a long overload nothing shows what the handler takes by itself: for a moment few enough are let in. */
  #beginTry(now: number): void {
    this.#triedAt = now
    this.#isSettled = false
    this.#tried = this.#limit
    this.#limit = Math.max(1, this.#limit / 4)
  }

  #endTry(now: number, inside: number, own: Latency, latency: Latency): void {
    if (inside > this.#tried / 2) return
    // The first calls that end then are the last that had to wait.
    if (!this.#isSettled) return void (this.#isSettled = true)
    this.#own = latency
    this.#limit = this.#tried
    this.#tried = 0
    // As long as it gets faster there is more to find; then it is seldom done, for what it costs.
    const took = now - this.#triedAt
    this.#tryAt = now + (latency.median < own.median * 0.8 ? took : 20 * took)
  }
}

/** Makes a limiter for one method. */
export const make = (options: Options): Limiter => new AdaptiveLimiter(options)

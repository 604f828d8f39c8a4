// A handler as queueing theory sees it, on a clock of its own: calls come by chance, so many are served at once, the
// others wait in line. It shows in milliseconds what a limiter does in minutes, the same for the same seed.
import type * as Clock from "effect/Clock"
import * as Concurrency from "../../src/grpc/internal/concurrency.ts"
import * as Lateness from "../../src/grpc/internal/lateness.ts"
import { seeded } from "../support/Seeded.ts"

/** How long the handler takes by itself, in milliseconds, drawn from numbers from 0 to 1. */
export type Service = (random: () => number) => number

export const constant =
  (millis: number): Service =>
  () =>
    millis

export const exponential =
  (mean: number): Service =>
  (random) =>
    -Math.log(1 - random()) * mean

/** Half of the calls take less than the median, a few very much more. */
export const logNormal =
  (median: number, sigma: number): Service =>
  (random) =>
    median * Math.exp(sigma * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()))

/** Either quick or slow, as with a cache. */
export const either =
  (quick: number, slow: number, share: number): Service =>
  (random) =>
    random() < share ? slow : quick

/** A time of load. */
export interface Phase {
  readonly seconds: number
  /** Calls that come in a second. */
  readonly rate: number
  /** How many the handler serves at once. */
  readonly servers: number
  readonly service: Service
  /** For how long the process does nothing at all, at the start of every second; not by default. */
  readonly pauseMillis?: number
  /** How long the process is at everything that happens, in milliseconds, one after the other; nothing by default. */
  readonly workMillis?: number
}

/** What became of the calls of a phase. */
export interface Result {
  readonly accepted: number
  readonly refused: number
  /** The share that was refused. */
  readonly refusedShare: number
  /** Calls that ended in a second. */
  readonly goodput: number
  /** Of those that ended, in milliseconds. */
  readonly p50: number
  readonly p99: number
  readonly limit: number
}

/** A clock that shows what it is told. */
export const manualClock = () => {
  const time = { millis: 0 }
  const clock = { monotonicTimeNanosUnsafe: () => BigInt(Math.round(time.millis * 1e6)) } as unknown as Clock.Clock
  return { clock, time }
}

interface Ending {
  readonly at: number
  readonly startedAt: number
}

/** Keeps the earliest first. */
const insert = (endings: Array<Ending>, ending: Ending): void => {
  let low = 0
  let high = endings.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (endings[middle]!.at > ending.at) low = middle + 1
    else high = middle
  }
  endings.splice(low, 0, ending)
}

const quantile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0

/** Sends the load of several phases, one after the other, through one limiter. */
export const simulate = (limit: number, phases: ReadonlyArray<Phase>, seed = 1): ReadonlyArray<Result> => {
  const random = seeded(seed)
  const { clock, time } = manualClock()
  const lateness = new Lateness.Lateness(clock)
  const limiter = Concurrency.make({ limit, clock, lateness })
  let look = Lateness.period
  // The latest first, so that the next is at the end.
  const running: Array<Ending> = []
  const waiting: Array<number> = []

  return phases.map(({ pauseMillis = 0, rate, seconds, servers, service, workMillis = 0 }) => {
    const end = time.millis + seconds * 1000
    const latencies: Array<number> = []
    let accepted = 0
    let refused = 0
    let arrival = time.millis
    /** What comes in a pause is seen after it. */
    const at = (millis: number) => {
      time.millis = Math.max(time.millis, millis, Math.floor(millis / 1000) * 1000 + pauseMillis) + workMillis
    }
    const start = (startedAt: number) => insert(running, { at: time.millis + service(random), startedAt })
    for (;;) {
      const next = running.at(-1)
      const happens = Math.min(next?.at ?? Infinity, arrival)
      if (look < Math.min(happens, end)) {
        at(look)
        lateness.look()
        look = time.millis + Lateness.period
        continue
      }
      if (happens >= end) break
      if (next !== undefined && next.at <= arrival) {
        at(next.at)
        running.pop()
        if (waiting.length > 0 && running.length < servers) start(waiting.shift()!)
        const latency = time.millis - next.startedAt
        latencies.push(latency)
        limiter.release(latency, "ok")
      } else {
        at(arrival)
        arrival += exponential(1000 / rate)(random)
        if (!limiter.tryAcquire()) refused++
        else {
          accepted++
          if (running.length < servers) start(time.millis)
          else waiting.push(time.millis)
        }
      }
    }
    time.millis = Math.max(time.millis, end)
    latencies.sort((a, b) => a - b)
    return {
      accepted,
      refused,
      refusedShare: refused / (accepted + refused),
      goodput: latencies.length / seconds,
      p50: quantile(latencies, 0.5),
      p99: quantile(latencies, 0.99),
      limit: limiter.limit()
    }
  })
}

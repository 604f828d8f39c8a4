/** The middle value of some numbers; NaN of none. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** What one candidate did in one round. CPU in microseconds per call. */
export interface Sample {
  readonly perSecond: number
  readonly user: number
  readonly system: number
}

/** A ratio over the rounds. */
export interface Ratio {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** What a candidate did over all rounds, beside the baseline of the same round. */
export interface Summary {
  readonly perSecond: number
  readonly user: number
  readonly system: number
  /** The CPU of a call beyond that of the baseline's, in microseconds. */
  readonly more: number
  readonly throughput: Ratio
  readonly cpu: Ratio
}

/** Values against those of the baseline, round by round. */
export const ratioOf = (values: ReadonlyArray<number>, baseline: ReadonlyArray<number>): Ratio => {
  const ratios = values.map((value, round) => value / baseline[round]!)
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) }
}

const cpuOf = (samples: ReadonlyArray<Sample>): ReadonlyArray<number> =>
  samples.map(({ user, system }) => user + system)

const ratesOf = (samples: ReadonlyArray<Sample>): ReadonlyArray<number> => samples.map(({ perSecond }) => perSecond)

/** Sums up a candidate's rounds against the baseline's, round by round, so that slow moments cancel out. */
export const summarize = (samples: ReadonlyArray<Sample>, baseline: ReadonlyArray<Sample>): Summary => {
  const cpu = cpuOf(samples)
  const least = cpuOf(baseline)
  return {
    perSecond: median(ratesOf(samples)),
    user: median(samples.map((sample) => sample.user)),
    system: median(samples.map((sample) => sample.system)),
    more: median(cpu.map((micros, round) => micros - least[round]!)),
    throughput: ratioOf(ratesOf(samples), ratesOf(baseline)),
    cpu: ratioOf(cpu, least)
  }
}

/** The order of a round: the same candidates, each round beginning one further on. */
export const rotate = <A>(values: ReadonlyArray<A>, round: number): ReadonlyArray<A> => {
  const start = round % values.length
  return [...values.slice(start), ...values.slice(0, start)]
}

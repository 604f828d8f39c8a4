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
  readonly throughput: Ratio
  readonly cpu: Ratio
}

const ratio = (values: ReadonlyArray<number>): Ratio => ({
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values)
})

/** Sums up a candidate's rounds against the baseline's, round by round, so that slow moments cancel out. */
export const summarize = (samples: ReadonlyArray<Sample>, baseline: ReadonlyArray<Sample>): Summary => ({
  perSecond: median(samples.map((sample) => sample.perSecond)),
  user: median(samples.map((sample) => sample.user)),
  system: median(samples.map((sample) => sample.system)),
  throughput: ratio(samples.map((sample, round) => sample.perSecond / baseline[round]!.perSecond)),
  cpu: ratio(
    samples.map((sample, round) => (sample.user + sample.system) / (baseline[round]!.user + baseline[round]!.system))
  )
})

/** The order of a round: the same candidates, each round beginning one further on. */
export const rotate = <A>(values: ReadonlyArray<A>, round: number): ReadonlyArray<A> => {
  const start = round % values.length
  return [...values.slice(start), ...values.slice(0, start)]
}

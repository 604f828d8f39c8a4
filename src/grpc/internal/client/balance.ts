import type { Balancing } from "../../Api.ts"
import { hash, type Instance } from "./instance.ts"

/** What a choice goes by. */
export interface Choice {
  /** On the pool's clock, in milliseconds. */
  readonly now: number
  /** How long a key waits for an instance that is being connected to, in milliseconds. */
  readonly patience: number
  /** Of consistent hashing. */
  readonly key: string | undefined
  /** The one that has just failed; taken only when there is no other. */
  readonly avoid: Instance | undefined
}

/**
 * Chooses an instance that is available; nothing when none is. For a key it may be one that is still being connected to:
 * a call waits for it. Has a state of its own, so each client has one.
 */
export type Balancer = (instances: ReadonlyArray<Instance>, choice: Choice) => Instance | undefined

const canTake = (instance: Instance, { avoid, now }: Choice): boolean => instance !== avoid && instance.isAvailable(now)

/**
 * Every instance as often as its weight says, well mixed: each turn goes to the one that is furthest behind its share.
 */
const turnsOf = (instances: ReadonlyArray<Instance>): ReadonlyArray<Instance> => {
  const [first] = instances
  if (first === undefined || instances.every(({ weight }) => weight === first.weight)) return instances
  const total = instances.reduce((sum, { weight }) => sum + weight, 0)
  const credits = instances.map(() => 0)
  return Array.from({ length: total }, () => {
    let next = 0
    instances.forEach(({ weight }, i) => {
      credits[i] = credits[i]! + weight
      if (credits[i]! > credits[next]!) next = i
    })
    credits[next] = credits[next]! - total
    return instances[next]!
  })
}

const roundRobin = (random: () => number): Balancer => {
  let known: ReadonlyArray<Instance> = []
  let turns: ReadonlyArray<Instance> = []
  let turn = 0
  return (instances, choice) => {
    if (instances !== known) {
      known = instances
      turns = turnsOf(instances)
      // Clients that start together do not all start with the same one.
      turn = Math.floor(random() * turns.length)
    }
    for (let i = 0; i < turns.length; i++) {
      turn = turn + 1 < turns.length ? turn + 1 : 0
      if (canTake(turns[turn]!, choice)) return turns[turn]
    }
    return undefined
  }
}

const pickFirst = (): Balancer => {
  let current: Instance | undefined
  return (instances, choice) => {
    if (current !== undefined && canTake(current, choice) && instances.includes(current)) return current
    const next = instances.find((instance) => canTake(instance, choice))
    if (next !== undefined) current = next
    return next
  }
}

/** Two random ones, the more often the heavier they are; of them the one with fewer calls for its weight. */
const leastOutstanding = (random: () => number): Balancer => {
  const one = (instances: ReadonlyArray<Instance>, choice: Choice, other: Instance | undefined) => {
    let total = 0
    for (const instance of instances) if (instance !== other && canTake(instance, choice)) total += instance.weight
    let left = random() * total
    for (const instance of instances) {
      if (instance === other || !canTake(instance, choice)) continue
      left -= instance.weight
      if (left < 0) return instance
    }
    return undefined
  }
  return (instances, choice) => {
    const first = one(instances, choice, undefined)
    if (first === undefined) return undefined
    const second = one(instances, choice, first)
    return second !== undefined && (second.open + 1) / second.weight < (first.open + 1) / first.weight ? second : first
  }
}

/** Spreads the bits of a number over a number below 1. */
const mix = (bits: number): number => {
  let h = bits
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32
}

/**
 * Rendezvous hashing: of all instances the one that draws the best lot for the key. One that comes takes the keys that
 * it wins, one that goes gives its keys to the runners-up; all others stay where they are.
 */
const consistentHash = (random: () => number): Balancer => {
  const spread = roundRobin(random)
  return (instances, choice) => {
    if (choice.key === undefined) return spread(instances, choice)
    const bits = hash(choice.key)
    let best: Instance | undefined
    let bestLot = Infinity
    for (const instance of instances) {
      const isComing = instance !== choice.avoid && instance.isComing(choice.now, choice.patience)
      if (!isComing && !canTake(instance, choice)) continue
      const lot = -Math.log(1 - mix(bits ^ instance.seed)) / instance.weight
      if (lot < bestLot) {
        best = instance
        bestLot = lot
      }
    }
    return best
  }
}

/** A balancer of a kind. `random` draws from 0 to below 1. */
export const make = (balancing: Balancing, random: () => number): Balancer => {
  switch (balancing) {
    case "round_robin":
      return roundRobin(random)
    case "pick_first":
      return pickFirst()
    case "least_outstanding":
      return leastOutstanding(random)
    case "consistent_hash":
      return consistentHash(random)
  }
}

import { hash } from "node:crypto"

/** What a ring gives out, with how it is told apart. */
export interface Node<A> {
  /** Its name: it keeps its place for as long as this and its weight stay. */
  readonly key: string
  /** How much of the keys it takes, against the others: a whole number, 1 to 1000. Default 1. */
  readonly weight?: number
  readonly value: A
}

/** Keys spread over nodes, made by {@link make}. It never changes: when nodes come or go there is a new one. */
export interface HashRing<A> {
  /** The nodes, each once, by key. */
  readonly nodes: ReadonlyArray<Required<Node<A>>>
  /** Where a node begins on the circle, ascending. */
  readonly points: Float64Array
  /** The node of each point, as an index into `nodes`. */
  readonly owners: Uint32Array
}

/** Places on the circle for each unit of weight. */
export const pointsPerWeight = 128

/** Of a digest of 64 bytes: 48 bits each, so that two places practically never meet. */
const pointsPerDigest = 8

// SHA-512, not effect/HashRing's hash, which lays short numbers beside each other: all of them on one node.
const placesOf = (text: string, count: number): ReadonlyArray<number> => {
  const digest = hash("sha512", text, "buffer")
  return Array.from({ length: count }, (_, i) => digest.readUIntBE(i * 8, 6))
}

/**
 * A ring of nodes.
 *
 * - `nodes`: in any order; of two with one key the later one counts. None is fine: no key has a node then
 *
 * Two processes with the same keys and weights have the same ring. A node that comes takes its share of the keys from the
 * others, one that goes leaves its own to them; every other key stays where it is. Throws a RangeError for a weight that
 * is none.
 */
export const make = <A>(nodes: Iterable<Node<A>>): HashRing<A> => {
  const known = new Map<string, Required<Node<A>>>()
  for (const { key, value, weight = 1 } of nodes) {
    if (!Number.isInteger(weight) || weight < 1 || weight > 1000) throw new RangeError("a weight is 1 to 1000")
    known.set(key, { key, value, weight })
  }
  // Of two nodes with one place the first has it: by key, so that the order in which they were told does not count.
  const all = [...known.values()].toSorted((a, b) => (a.key < b.key ? -1 : 1))
  const places = all.flatMap(({ key, weight }, owner) =>
    Array.from({ length: (weight * pointsPerWeight) / pointsPerDigest }, (_, i) =>
      placesOf(`${i}:${key}`, pointsPerDigest).map((place) => ({ owner, place }))
    ).flat()
  )
  const sorted = places.toSorted((a, b) => a.place - b.place)
  return {
    nodes: all,
    points: Float64Array.from(sorted, ({ place }) => place),
    owners: Uint32Array.from(sorted, ({ owner }) => owner)
  }
}

/** The first point that is not before a place; the first of all behind the last. */
const pointAt = (points: Float64Array, place: number): number => {
  let low = 0
  let high = points.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (points[middle]! < place) low = middle + 1
    else high = middle
  }
  return low === points.length ? 0 : low
}

/** The first point of a key. */
const startOf = (points: Float64Array, key: string): number => pointAt(points, placesOf(key, 1)[0]!)

/** The node of a key, undefined when the ring has none. */
export const get = <A>({ nodes, owners, points }: HashRing<A>, key: string): A | undefined =>
  nodes[owners[startOf(points, key)] ?? -1]?.value

const amountOf = (value: number, what: string): number => {
  if (Number.isFinite(value) && value >= 0) return value
  throw new RangeError(`${what} is a finite number, 0 or more`)
}

/**
 * The node of a key, or when that is full the next one on the ring which is not: consistent hashing with bounded loads
 * (Mirrokni, Thorup, Zadimoghaddam). Keys of a full node go to several others, and come back when it has room.
 *
 * - `load`: how much a node carries now: calls, players, whatever the caller counts; 0 or more, and finite
 * - `slack`: by how much a node may carry more than its share, 0 or more, and finite: with 0.25 a node is full at one and a quarter
 *   times the average of its weight, rounded up
 *
 * Undefined when the ring has no nodes. Where loads are too large to be told from one more, and no node has room, it is
 * the one that carries least for its weight. Throws a RangeError for a load or a slack that is none.
 */
export const getBounded = <A>(
  { nodes, owners, points }: HashRing<A>,
  key: string,
  load: (value: A) => number,
  slack: number
): A | undefined => {
  const weights = nodes.reduce((sum, { weight }) => sum + weight, 0)
  const loads = nodes.map(({ value }) => amountOf(load(value), "a load"))
  const total = loads.reduce((sum, one) => sum + one, 1)
  const share = 1 + amountOf(slack, "a slack")
  let least: { readonly value: A; readonly relative: number } | undefined
  const start = startOf(points, key)
  for (let i = 0; i < owners.length; i++) {
    const owner = owners[(start + i) % owners.length]!
    const { value, weight } = nodes[owner]!
    if (loads[owner]! < Math.ceil((share * total * weight) / weights)) return value
    const relative = loads[owner]! / weight
    if (least === undefined || relative < least.relative) least = { value, relative }
  }
  return least?.value
}

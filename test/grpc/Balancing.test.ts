// How a client chooses among instances, and what a target stands for.
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type { Grpc } from "xdooria/grpc"
import * as Balance from "../../src/grpc/internal/client/balance.ts"
import { Instance } from "../../src/grpc/internal/client/instance.ts"
import { lookup } from "../../src/grpc/internal/client/lookup.ts"
import * as Target from "../../src/grpc/internal/client/target.ts"
import type { Connection } from "../../src/grpc/internal/transport.ts"

const connection: Connection = {
  connectivity: () => "ready",
  onChange: () => () => {},
  connect: () => {},
  open: () => {
    throw new Error("not called")
  },
  close: () => {}
}

const instances = (count: number, weight: (i: number) => number = () => 1) =>
  Array.from({ length: count }, (_, i) => new Instance(`10.0.0.${i}:50051`, weight(i), connection, true))

const balancer = (kind: NonNullable<Grpc.ClientOptions["balancing"]>, seed: number) =>
  Effect.map(Random.Random, (random) => Balance.make(kind, () => random.nextDoubleUnsafe())).pipe(
    Random.withSeed(seed),
    Effect.runSync
  )

const choice: Balance.Choice = { now: 0, patience: 0, key: undefined, avoid: undefined }

/** How many of so many calls each instance gets. */
const spread = (balance: Balance.Balancer, among: ReadonlyArray<Instance>, calls: number, open = false) => {
  const counts = new Map(among.map((instance) => [instance, 0]))
  for (let i = 0; i < calls; i++) {
    const chosen = balance(among, choice)!
    counts.set(chosen, counts.get(chosen)! + 1)
    if (open) chosen.open++
  }
  return [...counts.values()]
}

describe("round_robin", () => {
  it("takes all in turn", () => {
    assert.deepStrictEqual(spread(balancer("round_robin", 1), instances(3), 300), [100, 100, 100])
  })

  it("takes them by their weights, well mixed", () => {
    const weighted = instances(3, (i) => [5, 1, 4][i]!)
    const balance = balancer("round_robin", 1)
    assert.deepStrictEqual(spread(balance, weighted, 100), [50, 10, 40])
    const turns = Array.from({ length: 20 }, () => weighted.indexOf(balance(weighted, choice)!)).join("")
    assert.notMatch(turns, /000|222/)
  })

  it("passes over those that are gone, ejected or have just failed", () => {
    const all = instances(4)
    all[0]!.ready = false
    all[1]!.ejectedUntil = 10
    all[2]!.serving = false
    const balance = balancer("round_robin", 1)
    assert.deepStrictEqual(spread(balance, all, 10), [0, 0, 0, 10])
    assert.isUndefined(balance(all, { ...choice, avoid: all[3] }))
    assert.strictEqual(balance(all, { ...choice, now: 10, avoid: all[3] }), all[1])
  })
})

describe("pick_first", () => {
  it("stays with the first that works, also when an earlier one comes back", () => {
    const all = instances(3)
    const balance = balancer("pick_first", 1)
    all[0]!.ready = false
    assert.strictEqual(balance(all, choice), all[1])
    all[0]!.ready = true
    assert.strictEqual(balance(all, choice), all[1])
    all[1]!.ready = false
    assert.strictEqual(balance(all, choice), all[0])
    assert.strictEqual(balance(all.slice(2), choice), all[2])
  })
})

describe("least_outstanding", () => {
  it("keeps the calls that are open even", () => {
    const counts = spread(balancer("least_outstanding", 1), instances(5), 1000, true)
    assert.isAtMost(Math.max(...counts) - Math.min(...counts), 10)
  })

  it("leaves alone one that does not get on", () => {
    const all = instances(3)
    all[1]!.open = 100
    assert.isAtMost(spread(balancer("least_outstanding", 1), all, 300)[1]!, 0)
  })

  it("goes by weight", () => {
    const [light, heavy] = spread(
      balancer("least_outstanding", 1),
      instances(2, (i) => [1, 3][i]!),
      1000,
      true
    )
    assert.isTrue(heavy! / light! > 2.5 && heavy! / light! < 3.5)
  })
})

describe("consistent_hash", () => {
  const keys = Array.from({ length: 5000 }, (_, i) => `player-${i}`)
  const homes = (among: ReadonlyArray<Instance>) => {
    const balance = balancer("consistent_hash", 1)
    return keys.map((key) => balance(among, { ...choice, key })!.address)
  }

  for (const n of [2, 3, 5, 8, 13, 21]) {
    it(`moves about one of ${n + 1} keys when instance ${n + 1} comes, and those to it only`, () => {
      const all = instances(n + 1)
      const [before, after] = [homes(all.slice(0, n)), homes(all)]
      const moved = keys.flatMap((_, i) => (before[i] === after[i] ? [] : [after[i]]))
      assert.isTrue(moved.every((address) => address === all[n]!.address))
      const share = moved.length / keys.length
      assert.isTrue(share > 0.75 / (n + 1) && share < 1.3 / (n + 1), `${share}`)
    })
  }

  it("moves only the keys of one that is not available, and brings them back", () => {
    const all = instances(5)
    const before = homes(all)
    all[2]!.ready = false
    const without = homes(all)
    assert.isTrue(before.every((home, i) => home === all[2]!.address || home === without[i]))
    assert.isFalse(without.includes(all[2]!.address))
    all[2]!.ready = true
    assert.deepStrictEqual(homes(all), before)
  })

  it("gives every instance its share, by weight", () => {
    const among = instances(4, (i) => [1, 1, 2, 4][i]!)
    const counts = among.map(({ address }) => homes(among).filter((home) => home === address).length / keys.length)
    for (const [i, share] of [0.125, 0.125, 0.25, 0.5].entries()) {
      assert.isTrue(Math.abs(counts[i]! - share) < 0.03, `${counts[i]} of ${share}`)
    }
  })

  it("spreads calls without a key", () => {
    assert.deepStrictEqual(spread(balancer("consistent_hash", 1), instances(3), 30), [10, 10, 10])
  })
})

describe("a target", () => {
  const first = (target: string) =>
    Stream.runHead(Target.resolve(Target.parse(target) ?? [], lookup)).pipe(
      Effect.map((found) => (found._tag === "Some" ? found.value : []))
    )

  it.live("is one address or several, each an instance", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* first("ipv4:127.0.0.1:1,10.0.0.1:2"), [
        { address: "127.0.0.1:1", authority: "127.0.0.1:1" },
        { address: "10.0.0.1:2", authority: "10.0.0.1:2" }
      ])
      assert.deepStrictEqual(yield* first("[::1]:1"), [{ address: "[::1]:1", authority: "[::1]:1" }])
      assert.deepStrictEqual(yield* first("unix:/tmp/x"), [{ address: "unix:/tmp/x", authority: "unix:/tmp/x" }])
    })
  )

  it.live("that is a name is all its addresses, under that name", () =>
    Effect.gen(function* () {
      const located = yield* first("dns:///localhost:50051")
      assert.isTrue(located.some(({ address }) => address === "127.0.0.1:50051" || address === "[::1]:50051"))
      assert.isTrue(located.every(({ authority }) => authority === "localhost:50051"))
      assert.deepStrictEqual(yield* first("game.invalid:1"), [])
    })
  )

  it("needs ports, and no more than letters", () => {
    for (const target of ["", "\n", "game", "game:", "game:99999", "a:1,b", "dns://8.8.8.8/a:1", "::1:1"]) {
      assert.isUndefined(Target.parse(target), target)
    }
  })
})

// What elections and puts promise while leases are revoked and replies are lost: npm run faults -- F19 --seed 1
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import { Leader } from "xdooria/registry"
import type { Store } from "../../src/registry/internal/store.ts"
import * as Fault from "../faults/Fault.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import { eventually } from "../support/RedisBackends.ts"
import { etcdAddress, figures, newName, over, prefixOf, quiet, roomAt, storeAt, until } from "./FaultKit.ts"

const room = "registry"

const leadersOf = (store: Store, name: string) =>
  Effect.map(store.list(`/xdooria/meta/leaders/${name}/`), ({ entries }) =>
    entries.toSorted((a, b) => (a.createRevision < b.createRevision ? -1 : 1))
  )

const revoked = Fault.scenario({
  id: "F19",
  room,
  title: "an operator revokes the leases of those who lead and who wait: nobody leads without a key",
  servers: ["etcd"],
  scaled: { candidates: 3, rounds: 8 },
  full: { candidates: 3, rounds: 100 },
  run: ({ candidates, rounds }, seed) =>
    Effect.gen(function* () {
      const address = yield* etcdAddress
      const store = yield* storeAt(address)
      const name = yield* newName
      let elected = 0
      let zombies = 0
      let overlapMs = 0
      let highest = 0n
      /** Since when each leads. */
      const leading = new Map<bigint, number>()
      const term = (leader: Leader["Service"], id: string) =>
        Leader.lead(name, { id })((leadership) =>
          Effect.acquireUseRelease(
            Effect.map(Clock.currentTimeMillis, (now) => {
              elected++
              if (leadership.token <= highest) zombies++
              highest = leadership.token
              leading.set(leadership.token, now)
            }),
            () => Effect.never,
            () =>
              Effect.map(Clock.currentTimeMillis, (now) => {
                leading.delete(leadership.token)
                for (const since of leading.values()) overlapMs = Math.max(overlapMs, now - since)
              })
          )
        ).pipe(Effect.provideService(Leader, leader))
      for (let one = 0; one < candidates; one++) {
        const { leader } = yield* roomAt(address, { ttl: Duration.seconds(5) })
        yield* Effect.forkScoped(term(leader, `candidate-${one}`))
      }
      const settled = Effect.gen(function* () {
        const keys = yield* leadersOf(store, name)
        return keys.length === candidates && leading.has(keys[0]!.createRevision) && leading.size === 1
      })
      let slowest = 0
      for (let round = 0; round < rounds; round++) {
        slowest = Math.max(slowest, yield* until("one leads, others wait", settled, "10 seconds"))
        const keys = yield* leadersOf(store, name)
        // The leader, one who waits, or both.
        const chosen = yield* Random.nextIntBetween(0, 2)
        const victims = chosen === 2 ? keys.slice(0, 2) : keys.slice(chosen, chosen + 1)
        yield* Effect.forEach(victims, ({ lease }) => store.revoke(lease))
        const isGone = Effect.sync(() => victims.every(({ createRevision }) => !leading.has(createRevision)))
        yield* until("the leader knows", isGone, "5 seconds")
        // Whoever leads now has a key, and no older one is there.
        const now = [...leading.keys()]
        const there = yield* leadersOf(store, name)
        for (const token of now) {
          if (leading.has(token) && there[0]?.createRevision !== token) zombies++
        }
      }
      return { ...figures, acked: elected, phantom: zombies, extra: { slowest, overlapMs } }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ acked, extra }, { rounds }) => [
    ...(acked > rounds / 3 ? [] : [`${acked} elections only`]),
    ...over("one leads", extra!["slowest"]!, 5_000, 0),
    // The operator's doing, not a lease that ran out: who led hears of it as soon as who comes after it.
    ...over("who led ended", extra!["overlapMs"]!, 1_000, 0)
  ]
})

const repliesLost = Fault.scenario({
  id: "F20",
  room,
  title: "the reply to a put is lost: it is applied once, or known to be ours",
  servers: ["etcd"],
  scaled: { rounds: 6 },
  full: { rounds: 60 },
  run: ({ rounds }, seed) =>
    Effect.gen(function* () {
      const address = yield* etcdAddress
      const proxy = yield* FaultProxy.make({ ...address, seed })
      const store = yield* storeAt(address)
      const { leader, registry } = yield* roomAt(proxy, { request: 1_000 })
      let lost = 0
      let duplicated = 0
      let fired = 0
      let slowest = 0
      /** An entry may be put again by who has put it: it is the same entry. A key that decides who leads may not. */
      let again = 0
      for (let round = 0; round < rounds; round++) {
        const name = yield* newName
        const rule = yield* proxy.onRequest(
          (bytes) => bytes.includes(name) && bytes.includes("10.0.0.1:1"),
          "cutAfterReply"
        )
        const healing = yield* Effect.forkChild(
          Effect.andThen(rule.first, Effect.andThen(Effect.sleep(10), proxy.heal))
        )
        const [spent] = yield* Effect.timed(
          Effect.scoped(
            Effect.gen(function* () {
              const registration = yield* registry.register({ name, address: "10.0.0.1:1" })
              yield* Fiber.join(healing)
              const second = yield* proxy.onRequest((bytes) => bytes.includes("candidate"), "cutAfterReply")
              const healed = yield* Effect.forkChild(
                Effect.andThen(second.first, Effect.andThen(Effect.sleep(10), proxy.heal))
              )
              const leadership = yield* leader.elect(name, { id: "candidate" })
              yield* Fiber.join(healed)
              fired += (yield* rule.fired) + (yield* second.fired)
              yield* eventually(
                "it is registered",
                Effect.map(registration.state, ({ _tag }) => _tag === "Registered")
              )
              const entries = (yield* store.list(prefixOf(name))).entries
              const keys = yield* leadersOf(store, name)
              if (entries.length === 0 || !keys.some(({ createRevision }) => createRevision === leadership.token))
                lost++
              if (entries.length > 1 || keys.length > 1) duplicated++
              if (entries[0]?.modRevision !== entries[0]?.createRevision) again++
            })
          )
        )
        slowest = Math.max(slowest, Math.round(Duration.toMillis(spent)))
        const left = Effect.all([store.list(prefixOf(name)), leadersOf(store, name)])
        yield* until(
          "nothing is left",
          Effect.map(left, ([{ entries }, keys]) => entries.length + keys.length === 0),
          "5 seconds"
        )
        const [{ entries }, keys] = yield* left
        duplicated += entries.length + keys.length
      }
      return { ...figures, acked: 2 * rounds, lost, duplicated, extra: { fired, slowest, again } }
    }).pipe(quiet),
  judge: ({ extra }, { rounds }) => [
    ...(extra!["fired"]! >= 2 * rounds ? [] : [`${extra!["fired"]} replies were lost, of ${2 * rounds}`]),
    ...over("a registration and an election", extra!["slowest"]!, 5_000, 0)
  ]
})

export default [revoked, repliesLost]

// What room registry promises while etcd is away, cut off or forgets, and while others die: npm run faults -- F14 --seed 1
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { layerLive } from "xdooria/registry/live"
import type { Entry } from "../../src/registry/internal/store.ts"
import * as Fault from "../faults/Fault.ts"
import { makeNoise } from "../redis/FaultKit.ts"
import * as Child from "../support/Child.ts"
import * as EtcdServer from "../support/EtcdServer.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as History from "../support/History.ts"
import { eventually } from "../support/RedisBackends.ts"
import {
  addressesFrom,
  endpointOf,
  etcdAddress,
  figures,
  newName,
  over,
  prefixOf,
  quiet,
  roomAt,
  same,
  storeAt,
  until,
  viewOf
} from "./FaultKit.ts"
import type { Report, Settings } from "./Provider.ts"

const room = "registry"

const killed = Fault.scenario({
  id: "F13",
  room,
  title: "instances are killed and leave every view, and no other does",
  servers: ["etcd"],
  scaled: { instances: 20, dead: 3, watchers: 5, ttlMillis: 2_000 },
  full: { instances: 20, dead: 5, watchers: 5, ttlMillis: 5_000 },
  run: ({ dead, instances, ttlMillis, watchers }) =>
    Effect.gen(function* () {
      const address = yield* etcdAddress
      const noise = yield* makeNoise
      const name = yield* newName
      const options = { ttl: Duration.millis(ttlMillis) }
      const { registry } = yield* roomAt(address, options)
      const staying = addressesFrom(1, instances - dead).toSorted()
      yield* Effect.forEach(staying, (one) => registry.register({ name, address: one }), { concurrency: 10 })
      const settings: Settings = {
        endpoint: endpointOf(address),
        ttlMillis,
        name,
        addresses: addressesFrom(100, dead)
      }
      const child = yield* Child.start<Report>(new URL("Provider.ts", import.meta.url), settings)
      const views = yield* Effect.forEach(Array.from({ length: watchers }), () =>
        Effect.flatMap(roomAt(address, options), (one) => viewOf(one.registry, name))
      )
      yield* child.reports.first(() => true)
      yield* eventually(
        "all are seen",
        Effect.sync(() => views.every((view) => view.addresses().length === instances))
      )
      yield* child.signal("SIGKILL")
      let missed = 0
      const goneMs = yield* until(
        "they are gone",
        Effect.sync(() => {
          for (const view of views) if (!staying.every((one) => view.addresses().includes(one))) missed++
          return views.every((view) => same(view.addresses(), staying))
        }),
        ttlMillis * 3
      )
      return { ...figures, acked: instances, lost: missed, extra: { goneMs, noiseMs: yield* noise.worst } }
    }).pipe(quiet),
  judge: ({ extra }, { ttlMillis }) =>
    over("gone from all views", extra!["goneMs"]!, ttlMillis + 2_000, extra!["noiseMs"]!)
})

/** What a value says of the operation that put it. */
const idsOf = (name: string, one: number) => `${name}#${one}`

const catchUp = Fault.scenario({
  id: "F14",
  room,
  title: "a watch that is far behind is cut twice and misses nothing",
  servers: ["etcd"],
  scaled: { revisions: 1_200, cuts: [40_000, 150_000] },
  full: { revisions: 3_000, cuts: [40_000, 250_000, 40_000, 250_000] },
  run: ({ cuts, revisions }, seed) =>
    Effect.gen(function* () {
      const address = yield* etcdAddress
      const proxy = yield* FaultProxy.make({ ...address, seed })
      const direct = yield* storeAt(address)
      const behind = yield* storeAt(proxy)
      const history = yield* History.make
      const name = yield* newName
      const { registry } = yield* roomAt(proxy)
      const view = yield* viewOf(registry, name)
      yield* eventually(
        "the view is there",
        Effect.map(registry.discover(name), () => true)
      )
      const { lease } = yield* direct.grant(60_000)
      yield* Effect.addFinalizer(() => Effect.ignore(direct.revoke(lease)))
      const { revision } = yield* direct.list(prefixOf(name))

      yield* proxy.blackhole
      const instances = Math.ceil(revisions / 20)
      const put = (one: number) => {
        const addr = `10.0.${(one % instances) >> 8}.${(one % instances) & 255}:1`
        const id = idsOf(name, one)
        const value = JSON.stringify({ Name: name, Addr: addr, Metadata: { id } })
        return Effect.andThen(direct.put({ key: `${prefixOf(name)}${addr}`, value, lease }), history.acked(id))
      }
      yield* Effect.forEach(Array.from({ length: revisions }), (_, one) => put(one), { concurrency: 40, discard: true })

      const applied: Array<string> = []
      let from = revision + 1n
      let dials = 0
      let backwards = 0
      const take = (entry: Entry) => {
        if (entry.modRevision < from) backwards++
        from = entry.modRevision + 1n
        applied.push((JSON.parse(entry.value) as { Metadata: { id: string } }).Metadata.id)
      }
      const hear = Stream.suspend(() => {
        dials++
        return behind.watch(prefixOf(name), from)
      }).pipe(
        Stream.runForEach((watched) =>
          Effect.sync(() => {
            if (watched._tag !== "Changes") return
            for (const change of watched.changes) if (change._tag === "Put") take(change.entry)
          })
        )
      )
      yield* proxy.heal
      yield* proxy.cut
      yield* proxy.closeAfter(cuts[0]!)
      const hearing = yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.ignore(hear), Effect.sleep(20))))
      for (const bytes of [...cuts.slice(1), undefined]) {
        const before = dials
        const isCut = Effect.sync(() => dials > Math.max(1, before))
        yield* until("it was cut", isCut, "3 seconds")
        if (bytes !== undefined) yield* proxy.closeAfter(bytes)
      }
      yield* proxy.heal
      yield* history.healed
      const convergeMs = yield* until(
        "all is heard",
        Effect.map(direct.list(prefixOf(name)), ({ entries }) => {
          const listed = entries.map(({ key }) => key.slice(prefixOf(name).length)).toSorted()
          return applied.length >= revisions && same(view.addresses(), listed)
        }),
        "10 seconds"
      )
      yield* Fiber.interrupt(hearing)
      return { ...(yield* history.verdict(applied)), recoverMs: 0, extra: { convergeMs, dials, backwards } }
    }).pipe(quiet),
  judge: ({ acked, extra }, { revisions }) => [
    ...(acked === revisions ? [] : [`${acked} of ${revisions} puts`]),
    ...(extra!["dials"]! >= 3 ? [] : [`it was cut ${extra!["dials"]! - 1} times`]),
    ...(extra!["backwards"] === 0 ? [] : [`${extra!["backwards"]} revisions went back`]),
    ...over("view and watch are whole", extra!["convergeMs"]!, 5_000, 0)
  ]
})

const compacted = Fault.scenario({
  id: "F15",
  room,
  title: "what a watch has missed is compacted away, and it is whole again",
  servers: ["etcd"],
  scaled: { rounds: 1, revisions: 20 },
  full: { rounds: 5, revisions: 20 },
  run: ({ revisions, rounds }, seed) =>
    Effect.gen(function* () {
      const node = yield* EtcdServer.start()
      const proxy = yield* FaultProxy.make({ host: node.host, port: node.port, seed })
      const name = yield* newName
      const { registry } = yield* roomAt(proxy, { request: 500 })
      const { registry: other } = yield* roomAt(node)
      const view = yield* viewOf(registry, name)
      let worst = 0
      for (let round = 0; round < rounds; round++) {
        const scope = yield* Scope.make()
        yield* proxy.blackhole
        const registering = (address: string) => Scope.provide(other.register({ name, address }), scope)
        yield* Effect.forEach(addressesFrom(1, revisions), registering)
        yield* EtcdServer.compact(node)
        yield* proxy.heal
        yield* proxy.cut
        const wanted = addressesFrom(1, revisions).toSorted()
        const holds = Effect.sync(() => same(view.addresses(), wanted))
        worst = Math.max(worst, yield* until("the view is whole", holds, "10 seconds"))
        yield* Scope.close(scope, Exit.void)
        yield* eventually(
          "they have left",
          Effect.map(other.discover(name), ({ endpoints }) => endpoints.length === 0)
        )
      }
      return { ...figures, acked: rounds * revisions, recoverMs: worst }
    }).pipe(quiet),
  judge: ({ recoverMs }) => over("the view is whole", recoverMs, 5_000, 0)
})

const partitioned = Fault.scenario({
  id: "F16",
  room,
  title: "an instance is cut off for longer than its lease, and is back with a new one",
  servers: ["etcd"],
  scaled: { ttlMillis: 2_000, request: 500, cutMillis: 3_200 },
  full: { ttlMillis: 5_000, request: 2_000, cutMillis: 15_000 },
  run: ({ cutMillis, request, ttlMillis }, seed) =>
    Effect.gen(function* () {
      const address = yield* etcdAddress
      const proxy = yield* FaultProxy.make({ ...address, seed })
      const noise = yield* makeNoise
      const name = yield* newName
      const store = yield* storeAt(address)
      const { registry } = yield* roomAt(proxy, { ttl: Duration.millis(ttlMillis), request })
      const { registry: other } = yield* roomAt(address)
      const view = yield* viewOf(other, name)
      const registration = yield* registry.register({ name, address: "10.0.0.1:1" })
      yield* eventually(
        "it is seen",
        Effect.sync(() => view.addresses().length === 1)
      )
      const [before] = (yield* store.list(prefixOf(name))).entries
      yield* proxy.blackhole
      const started = yield* Clock.currentTimeMillis
      const goneMs = yield* until(
        "it is gone",
        Effect.sync(() => view.addresses().length === 0),
        ttlMillis * 3
      )
      yield* Effect.sleep(Math.max(0, started + cutMillis - (yield* Clock.currentTimeMillis)))
      const whileCut = (yield* registration.state)._tag
      yield* proxy.heal
      const recoverMs = yield* until(
        "it is back",
        Effect.sync(() => view.addresses().length === 1),
        "10 seconds"
      )
      const entries = (yield* store.list(prefixOf(name))).entries
      yield* eventually(
        "it knows",
        Effect.map(registration.state, ({ _tag }) => _tag === "Registered")
      )
      return {
        ...figures,
        acked: 1,
        recoverMs,
        duplicated: Math.max(0, entries.length - 1),
        lost: entries.length === 0 ? 1 : 0,
        extra: {
          goneMs,
          noiseMs: yield* noise.worst,
          isNewLease: entries[0]?.lease !== before?.lease ? 1 : 0,
          knewThatItWasInvisible: whileCut === "Invisible" ? 1 : 0
        }
      }
    }).pipe(quiet),
  judge: ({ extra, recoverMs }, { ttlMillis }) => [
    ...over("gone", extra!["goneMs"]!, ttlMillis + 2_000, extra!["noiseMs"]!),
    ...over("back", recoverMs, 3_000, extra!["noiseMs"]!),
    ...(extra!["isNewLease"] === 1 ? [] : ["it came back on the old lease"]),
    ...(extra!["knewThatItWasInvisible"] === 1 ? [] : ["it believed to be registered while it was not"])
  ]
})

const away = Fault.scenario({
  id: "F18",
  room,
  title: "etcd is away: what is known stays, and a start fails in time",
  servers: ["etcd"],
  scaled: { awayMillis: 1_500, dialMillis: 1_000, request: 500 },
  full: { awayMillis: 60_000, dialMillis: 5_000, request: 2_000 },
  run: ({ awayMillis, dialMillis, request }) =>
    Effect.gen(function* () {
      const node = yield* EtcdServer.start()
      const noise = yield* makeNoise
      const name = yield* newName
      const { registry } = yield* roomAt(node, { request })
      const view = yield* viewOf(registry, name)
      const registration = yield* registry.register({ name, address: "10.0.0.1:1" })
      yield* eventually(
        "it is seen",
        Effect.sync(() => view.addresses().length === 1)
      )
      yield* node.kill()
      const started = yield* Clock.currentTimeMillis
      const staleMs = yield* until(
        "it says so",
        Effect.sync(() => view.isStale()),
        "10 seconds"
      )
      const etcd = { endpoints: [endpointOf(node)] as const, dialTimeout: Duration.millis(dialMillis) }
      const [spent, failure] = yield* Effect.timed(Effect.flip(Layer.build(layerLive({ etcd }))))
      let gone = 0
      while ((yield* Clock.currentTimeMillis) < started + awayMillis) {
        if (view.addresses().length !== 1) gone++
        yield* Effect.sleep(20)
      }
      yield* node.restart
      const isBack = Effect.map(
        Effect.all([
          registration.state,
          Effect.orElseSucceed(
            Effect.map(registry.discover(name), (one) => one.endpoints.length),
            () => 0
          )
        ]),
        ([state, count]) => state._tag === "Registered" && count === 1 && !view.isStale()
      )
      const recoverMs = yield* until("all is as before", isBack, "20 seconds")
      const isTyped = "reason" in failure && failure.reason._tag === "Unavailable"
      return {
        ...figures,
        acked: 1,
        lost: gone,
        recoverMs,
        extra: {
          staleMs,
          startFailedMs: Math.round(Duration.toMillis(spent)),
          isTyped: isTyped && failure.message.includes(endpointOf(node)) ? 1 : 0,
          noiseMs: yield* noise.worst
        }
      }
    }).pipe(quiet),
  judge: ({ extra, recoverMs }, { dialMillis, request }) => [
    ...over("stale", extra!["staleMs"]!, 3 * request, extra!["noiseMs"]!),
    ...over("a start failed", extra!["startFailedMs"]!, dialMillis + 500, extra!["noiseMs"]!),
    ...over("all as before", recoverMs, 3_000, extra!["noiseMs"]!),
    ...(extra!["isTyped"] === 1 ? [] : ["a start did not fail with Unavailable and the member's name"])
  ]
})

export default [killed, catchUp, compacted, partitioned, away]

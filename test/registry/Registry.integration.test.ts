import { assert, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import { randomUUID } from "node:crypto"
import { ConfigTest } from "xdooria/config"
import { type EtcdSettings, type Leader, Registry, type RegistryError, type RegistrySettings } from "xdooria/registry"
import { layerLive, RegistryLive } from "xdooria/registry/live"
import * as EtcdServer from "../support/EtcdServer.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as Ports from "../support/Ports.ts"
import * as RealServer from "../support/RealServer.ts"
import { heard, suite } from "./RegistryContract.ts"

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const endpointsOf = (nodes: ReadonlyArray<{ readonly port: number }>) =>
  nodes.map(({ port }) => `127.0.0.1:${port}`) as [string, ...Array<string>]

const live = (
  nodes: ReadonlyArray<{ readonly port: number }>,
  etcd: Partial<EtcdSettings> = {},
  registry: Partial<RegistrySettings> = {}
) => layerLive({ etcd: { endpoints: endpointsOf(nodes), ...etcd }, registry })

const registryOf = <E>(layer: Layer.Layer<Registry | Leader, E>) =>
  Effect.map(Layer.build(layer), (context) => Context.get(context, Registry))

const newName = Effect.sync(() => `service-${randomUUID()}`)

const isUnavailable = (error: unknown, ...named: ReadonlyArray<number>): void => {
  const { message, reason } = error as RegistryError
  assert.strictEqual(reason._tag, "Unavailable")
  for (const port of named) assert.include(message, `127.0.0.1:${port}`)
}

RealServer.suite("etcd", "RegistryLive", (address) => {
  suite("on etcd", live([address]), { clock: "live" })

  it.live("fails in time, and names them, when no member answers", () =>
    Effect.gen(function* () {
      const ports = [yield* Ports.free, yield* Ports.free]
      const down = live(
        ports.map((port) => ({ port })),
        { dialTimeout: Duration.millis(300) }
      )
      isUnavailable(yield* Effect.flip(registryOf(down)), ...ports)
      const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
      yield* proxy.blackhole
      isUnavailable(yield* Effect.flip(registryOf(live([proxy], { dialTimeout: Duration.millis(300) }))), proxy.port)
    })
  )

  it.live("starts without a member where none is required, and is found when there is one", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
      yield* proxy.blackhole
      const requestTimeout = Duration.millis(300)
      const name = yield* newName
      const registry = yield* registryOf(live([proxy], { requestTimeout }, { required: false }))
      const registration = yield* registry.register({ name, address: "10.0.0.1:1" })
      assert.strictEqual((yield* registration.state)._tag, "Invisible")
      isUnavailable(yield* Effect.flip(registry.discover(name)), proxy.port)
      yield* proxy.heal
      yield* Stream.runHead(Stream.filter(registration.changes, ({ _tag }) => _tag === "Registered"))
      assert.strictEqual((yield* registry.discover(name)).endpoints.length, 1)
    }).pipe(quiet)
  )

  it.live("reads where etcd is from the configuration", () =>
    Effect.gen(function* () {
      const config = ConfigTest({ etcd: { endpoints: endpointsOf([address]) }, registry: { ttl: 5 } })
      const registry = yield* registryOf(Layer.provide(RegistryLive, config))
      assert.deepStrictEqual((yield* registry.discover(yield* newName)).endpoints, [])
    })
  )
})

RealServer.suite("etcdNext", "RegistryLive", (address) => {
  suite("on a newer release", live([address]), { clock: "live" })
})

RealServer.suite("etcdCluster", "RegistryLive", ({ nodes }) => {
  suite("on three members", live(nodes), { clock: "live" })

  it.live("goes on when the leader is killed: what was registered is never out of the view", () =>
    Effect.gen(function* () {
      const cluster = yield* EtcdServer.cluster()
      const name = yield* newName
      const registry = yield* registryOf(live(cluster.nodes, { requestTimeout: Duration.seconds(1) }))
      yield* registry.register({ name, address: "10.0.0.1:1" })
      const views = yield* heard(registry.watch(name))
      while ((yield* views.next).endpoints.length === 0);
      const killed = yield* cluster.leader
      yield* killed.kill()
      const later = yield* registry
        .register({ name, address: "10.0.0.2:1" })
        .pipe(Effect.retry({ while: ({ isRetryable }) => isRetryable }))
      for (let count = 1; count < 2;) {
        const { endpoints } = yield* views.next
        assert.isAtLeast(endpoints.length, 1)
        count = endpoints.length
      }
      yield* killed.restart
      yield* cluster.settled
      assert.strictEqual((yield* later.state)._tag, "Registered")
      assert.strictEqual((yield* registry.discover(name)).endpoints.length, 2)
    }).pipe(quiet)
  )
})

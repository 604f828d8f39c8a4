import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { ConfigTest } from "xdooria/config"
import { Health } from "xdooria/health"
import { HealthLive } from "xdooria/health/live"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import { EtcdConfig, layerEmbedded, layerStatic, Registry, RegistryConfig, RegistryStatic } from "xdooria/registry"
import { addressesOf, heard, suite, tagOf } from "./RegistryContract.ts"

suite("RegistryEmbedded", layerEmbedded(), { clock: "test" })

const name = "game-service"

describe("RegistryConfig", () => {
  const faults = (values: typeof RegistryConfig.schema.Encoded) =>
    Effect.map(Schema.decodeEffect(RegistryConfig.schema)(values), (decoded) =>
      RegistryConfig.check(decoded, "prod").map(({ field }) => field)
    )

  it.effect("has defaults for everything", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* faults({}), [])
      const etcd = yield* Schema.decodeEffect(EtcdConfig.schema)({})
      assert.deepStrictEqual(EtcdConfig.check(etcd, "prod"), [])
    })
  )

  it.effect("refuses times that are none, or too long", () =>
    Effect.gen(function* () {
      for (const ttl of [0, 1, 2.5, 3_601]) assert.deepStrictEqual(yield* faults({ ttl }), ["ttl"])
      for (const resync of [0, 0.5, 61]) assert.deepStrictEqual(yield* faults({ resync }), ["resync"])
    })
  )

  const refused: ReadonlyArray<typeof RegistryConfig.schema.Encoded> = [
    { weight: 0 },
    { weight: 101 },
    { panicThreshold: -0.1 },
    { panicThreshold: 1.1 },
    { instances: ["10.0.0.1:1"] },
    { instances: ["game-service=10.0.0.1"] },
    { instances: ["=10.0.0.1:1"] },
    { instances: ["a/b=10.0.0.1:1"] }
  ]
  for (const values of refused) {
    it.effect(`refuses ${JSON.stringify(values)}`, () =>
      Effect.map(Effect.exit(faults(values)), ({ _tag }) => assert.strictEqual(_tag, "Failure"))
    )
  }
})

/** The gauges of the room, by name and service. */
const gauges = Effect.map(Metric.snapshot, (all) =>
  Object.fromEntries(
    all.flatMap((one) =>
      one.type === "Gauge" && one.id.startsWith("registry_")
        ? [[`${one.id} ${one.attributes?.["service"]}`, Number(one.state.value)]]
        : []
    )
  )
)

describe("what operators see of it", () => {
  it.effect("is a component of health, a metric and a line for each change", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const reporter = yield* Health.Reporter
      const recorder = yield* LogRecorder
      const { next } = yield* heard(reporter.changes)
      assert.strictEqual((yield* next).size, 0)
      const scope = yield* Scope.make()
      const service = "seen-service"
      const one = yield* Scope.provide(registry.register({ name: service, address: "10.0.0.1:1" }), scope)
      assert.deepStrictEqual((yield* next).get("registry"), { status: "up" })
      assert.strictEqual((yield* gauges)[`registry_registered ${service}`], 1)

      const other = yield* Scope.make()
      const { next: state } = yield* heard(one.changes)
      yield* Scope.provide(registry.register({ name: service, address: "10.0.0.1:1" }), other)
      yield* Effect.repeat(state, { until: ({ _tag }) => _tag === "Lost" })
      assert.deepStrictEqual((yield* next).get("registry"), {
        status: "degraded",
        detail: "seen-service at 10.0.0.1:1 is lost"
      })
      yield* Scope.close(other, Exit.void)
      yield* Effect.repeat(state, { until: ({ _tag }) => _tag === "Registered" })
      yield* Effect.repeat(next, { until: (states) => states.get("registry")?.status === "up" })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* next).size, 0)
      assert.strictEqual((yield* gauges)[`registry_registered ${service}`], 0)
      const lines = yield* Effect.map(recorder.lines, (all) => all.map(({ msg }) => msg))
      // Those of the two registrations come in any order.
      assert.sameMembers(
        lines.filter((line) => line.includes(service)),
        [
          "registry: seen-service at 10.0.0.1:1 is registered",
          "registry: seen-service at 10.0.0.1:1 is registered",
          "registry: seen-service at 10.0.0.1:1 is lost: another process has registered its address",
          "registry: seen-service at 10.0.0.1:1 is invisible: its entry is gone",
          "registry: seen-service at 10.0.0.1:1 is registered"
        ]
      )
    }).pipe(Effect.provide(layerEmbedded().pipe(Layer.provideMerge(Layer.mergeAll(HealthLive, LoggerTest)))))
  )

  it.effect("has how many instances are known, for as long as somebody watches", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const service = "counted-service"
      const scope = yield* Scope.make()
      yield* registry.register({ name: service, address: "10.0.0.1:1" })
      yield* registry.register({ name: service, address: "10.0.0.2:1" })
      const { next } = yield* Scope.provide(heard(registry.watch(service)), scope)
      yield* next
      const seen = yield* gauges
      assert.strictEqual(seen[`registry_endpoints ${service}`], 2)
      assert.strictEqual(seen[`registry_stale ${service}`], 0)
      assert.strictEqual(seen[`registry_skipped ${service}`], 0)
      yield* Scope.close(scope, Exit.void)
    }).pipe(Effect.provide(layerEmbedded()))
  )
})

describe("RegistryStatic", () => {
  const instances = ["game-service=10.0.0.2:1", "game-service=10.0.0.1:1", "game-service=10.0.0.2:1", "auth=h:2"]

  it.effect("knows what the configuration names", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      assert.deepStrictEqual(addressesOf(yield* registry.discover(name)), ["10.0.0.1:1", "10.0.0.2:1"])
      assert.deepStrictEqual(addressesOf(yield* registry.discover("nobody")), [])
      const { next } = yield* heard(registry.watch(name))
      assert.deepStrictEqual(yield* next, yield* registry.discover(name))
      assert.strictEqual(registry.resolver(name), registry.resolver(name))
      const resolved = yield* heard(registry.resolver(name))
      assert.deepStrictEqual(addressesOf({ endpoints: yield* resolved.next }), ["10.0.0.1:1", "10.0.0.2:1"])
      const none = yield* heard(registry.resolver("nobody"))
      assert.deepStrictEqual(yield* none.next, [])
      assert.strictEqual(yield* tagOf(registry.discover("a/b")), "InvalidName")
      assert.strictEqual(yield* tagOf(Stream.runHead(registry.watch("a/b"))), "InvalidName")
    }).pipe(Effect.provide(RegistryStatic.pipe(Layer.provide(ConfigTest({ registry: { instances } })))))
  )

  it.effect("says of a registration that it has no effect, and whether others find it", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const recorder = yield* LogRecorder
      const known = yield* registry.register({ name, address: "10.0.0.1:1" })
      assert.deepStrictEqual(yield* known.state, { _tag: "Registered", revision: 0n })
      yield* known.pause
      yield* known.resume
      const { next } = yield* heard(known.changes)
      assert.strictEqual((yield* next)._tag, "Registered")
      const unknown = yield* registry.register({ name, address: "10.0.0.9:1" })
      assert.strictEqual((yield* unknown.state)._tag, "Invisible")
      assert.deepStrictEqual(addressesOf(yield* registry.discover(name)), ["10.0.0.1:1", "10.0.0.2:1"])
      assert.strictEqual(yield* tagOf(Effect.scoped(registry.register({ name, address: "x" }))), "InvalidInstance")
      const lines = yield* recorder.lines
      assert.deepStrictEqual(
        lines.map(({ level }) => String(level).toUpperCase()),
        ["INFO", "WARN"]
      )
    }).pipe(Effect.provide(layerStatic({ instances }).pipe(Layer.provideMerge(LoggerTest))))
  )
})

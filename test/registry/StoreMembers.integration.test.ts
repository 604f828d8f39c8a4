// What the store on etcd does about members that are down, frozen or cut off, about users, and about TLS.
import { assert, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { fileURLToPath } from "node:url"
import { InvalidConfig } from "../../src/config/ConfigError.ts"
import { EtcdConfig, type EtcdSettings, Registry, RegistryConfig } from "../../src/registry/Registry.ts"
import { Refused, Unavailable } from "../../src/registry/RegistryError.ts"
import { encode, keyOf, prefixOf } from "../../src/registry/internal/codec.ts"
import * as Etcd from "../../src/registry/internal/etcd.ts"
import * as Room from "../../src/registry/internal/room.ts"
import * as EtcdServer from "../support/EtcdServer.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as Ports from "../support/Ports.ts"
import { eventually } from "../support/RedisBackends.ts"
import * as RealServer from "../support/RealServer.ts"
import { heard } from "./RegistryContract.ts"
import { changesOf, newPrefix, put, watching } from "./StoreContract.ts"

const defaults: EtcdSettings = Schema.decodeSync(EtcdConfig.schema)({})

const requestTimeout = Duration.millis(500)

const storeAt = (ports: ReadonlyArray<number>, options: Partial<EtcdSettings> = {}) => {
  const endpoints = ports.map((port) => `127.0.0.1:${port}`) as [string, ...Array<string>]
  return Etcd.make({ ...defaults, requestTimeout, endpoints, ...options })
}

const pathOf = (name: string): string => fileURLToPath(new URL(`../grpc/tls/${name}`, import.meta.url))

const tls: EtcdServer.Tls = {
  certFile: pathOf("server.pem"),
  keyFile: pathOf("one.key"),
  caFile: pathOf("ca.pem")
}

const idle = 60_000

/** A watch that fails is opened again, until one tells something. */
const tellsAgain = (store: Etcd.Etcd, prefix: string, from: bigint) =>
  eventually(
    "a watch tells something",
    Effect.gen(function* () {
      const { failure, next } = yield* watching(store, prefix, from)
      return yield* Effect.raceFirst(Effect.as(changesOf(next, 1), true), Effect.as(failure, false))
    })
  )

/** Whether a request of HTTP/2 carries a text: of small ones the bodies are not compressed. */
const carries = (text: string) => (bytes: Buffer) => bytes.includes(text)

RealServer.suite("etcd", "The store on etcd", (address) => {
  const proxied = Effect.gen(function* () {
    const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
    return { proxy, store: yield* storeAt([proxy.port]), direct: yield* storeAt([address.port]) }
  })

  it.live("passes over a member that is down, and says of each why when all are", () =>
    Effect.gen(function* () {
      const [down, other] = [yield* Ports.free, yield* Ports.free]
      for (let round = 0; round < 4; round++) {
        const store = yield* storeAt([down, address.port])
        assert.isTrue((yield* store.list(yield* newPrefix)).revision > 0n)
        const { lease } = yield* store.grant(idle)
        yield* put(store, `${yield* newPrefix}k`, "", lease)
        yield* store.revoke(lease)
      }
      const store = yield* storeAt([down, other])
      const error = yield* Effect.flip(store.grant(idle))
      assert.instanceOf(error, Unavailable)
      assert.include(error.message, `127.0.0.1:${down}: `)
      assert.include(error.message, `127.0.0.1:${other}: `)
      assert.include(error.message, "ECONNREFUSED")
      assert.instanceOf(yield* (yield* watching(store, "/", 1n)).failure, Unavailable)
    })
  )

  it.live("does not put twice what was put when the reply was lost", () =>
    Effect.gen(function* () {
      const { direct, proxy, store } = yield* proxied
      const prefix = yield* newPrefix
      const { lease } = yield* store.grant(idle)
      for (const condition of [undefined, { key: `${prefix}k`, createRevision: 0n }]) {
        const rule = yield* proxy.onRequest(carries(`${prefix}k`), "cutAfterReply")
        const answer = yield* Effect.result(
          store.put({ key: `${prefix}k`, value: "1", lease, ...(condition === undefined ? {} : { condition }) })
        )
        assert.instanceOf(answer._tag === "Failure" && answer.failure, Unavailable)
        assert.strictEqual(yield* rule.fired, 1)
        yield* proxy.heal
        const [entry] = (yield* direct.list(prefix)).entries
        assert(entry !== undefined)
        assert.strictEqual(entry.modRevision, entry.createRevision)
        yield* store.remove(entry)
      }
      yield* store.revoke(lease)
    })
  )

  it.live("grants one lease when the reply was lost and it asks again", () =>
    Effect.gen(function* () {
      const { direct, proxy } = yield* proxied
      // Both lead to the same server; the second is asked when the first did not answer.
      const behind = yield* FaultProxy.make({ ...address, port: address.port, seed: 2 })
      const store = yield* storeAt([proxy.port, behind.port])
      yield* store.ping
      const [first, second] = (yield* proxy.connections) > 0 ? [proxy, behind] : [behind, proxy]
      yield* first.dropReplies
      const { lease, ttlMillis } = yield* store.grant(idle)
      assert.strictEqual(ttlMillis, idle)
      assert.strictEqual(yield* second.accepted, 1)
      assert.strictEqual(yield* direct.keepAlive(lease), idle)
      yield* direct.revoke(lease)
    })
  )

  it.live("gives up a watch whose connection is lost or says nothing, and tells on a new one what it missed", () =>
    Effect.gen(function* () {
      const { direct, proxy, store } = yield* proxied
      const prefix = yield* newPrefix
      const { lease } = yield* direct.grant(idle)
      let from = yield* put(direct, `${prefix}k`, "1", lease)
      for (const fault of [proxy.cut, proxy.blackhole]) {
        const watch = yield* watching(store, prefix, from)
        assert.deepStrictEqual(yield* watch.next, { _tag: "Progress", revision: from - 1n })
        yield* changesOf(watch.next, 1)
        yield* fault
        assert.instanceOf(yield* watch.failure, Unavailable)
        from = yield* put(direct, `${prefix}k`, "2", lease)
        yield* proxy.heal
      }
      yield* direct.revoke(lease)
    })
  )
})

RealServer.suite("etcd", "The store on an etcd of its own", () => {
  it.live("goes on with a member that answers while another is frozen", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* EtcdServer.start(), yield* EtcdServer.start()]
      const store = yield* storeAt([one.port, two.port])
      yield* store.ping
      for (const node of [one, two]) {
        yield* node.pause
        yield* store.ping
        yield* node.resume
      }
    })
  )

  it.live("logs in, and again when its token is no longer known", () =>
    Effect.gen(function* () {
      const password = Redacted.make("canary4f1")
      const node = yield* EtcdServer.start({ password: "secret", args: ["--auth-token-ttl", "1"] })
      const prefix = yield* newPrefix
      yield* node.command("role", "add", "game")
      yield* node.command("role", "grant-permission", "game", "--prefix=true", "readwrite", prefix)
      yield* node.command("user", "add", "game:canary4f1")
      yield* node.command("user", "grant-role", "game", "game")
      const store = yield* storeAt([node.port], { username: "game", password })
      yield* store.ping
      const { lease } = yield* store.grant(idle)
      const from = yield* put(store, `${prefix}k`, "1", lease)

      // Tokens are known to the process that gave them.
      yield* node.restart
      yield* eventually("it is back", Effect.isSuccess(store.list(prefix)))
      const { failure, next } = yield* watching(store, prefix, from)
      yield* changesOf(next, 1)
      const denied = yield* Effect.flip(store.list("/elsewhere/"))
      assert.instanceOf(denied, Refused)
      assert.include(denied.message, "permission denied")

      // What a watch is not told: that its token has ended, and another has not been asked for.
      yield* node.command("auth", "disable")
      yield* node.command("auth", "enable")
      yield* node.restart
      assert.instanceOf(yield* failure, Unavailable)
      yield* tellsAgain(store, prefix, from)

      const wrong = yield* storeAt([node.port], { username: "game", password: Redacted.make("other") })
      const refused = yield* Effect.flip(wrong.ping)
      assert.instanceOf(refused, Refused)
      assert.notInclude(refused.message, "other")
      const nobody = yield* storeAt([node.port])
      assert.instanceOf(yield* Effect.flip(nobody.list(prefix)), Refused)
    })
  )

  it.live(
    "lists and watches beside values that are too large for a message, together or by themselves",
    () =>
      Effect.gen(function* () {
        const node = yield* EtcdServer.start({ args: ["--max-request-bytes", String(128 * 1024 * 1024)] })
        const store = yield* storeAt([node.port], { requestTimeout: Duration.seconds(20) })
        const settings = yield* Schema.decodeEffect(RegistryConfig.schema)({})
        const registry = Context.get(yield* Room.make(store, settings), Registry)
        const { next } = yield* heard(registry.watch("game"))
        const see = (endpoints: number, skipped: number) =>
          eventually(
            "the view is right",
            Effect.map(Stream.runHead(registry.watch("game")), (seen) => {
              assert(Option.isSome(seen))
              return seen.value.endpoints.length === endpoints && seen.value.skipped === skipped && !seen.value.isStale
            })
          )
        assert.deepStrictEqual((yield* next).endpoints, [])
        const enter = (address: string) => put(store, keyOf("game", address), encode("game", address, {}), "0")
        const first = yield* enter("10.0.0.1:1")
        yield* enter("10.0.0.3:1")
        yield* see(2, 0)
        const megabyte = "x".repeat(1024 * 1024)
        for (const [i, megabytes] of [30, 30, 30, 70].entries()) {
          yield* put(store, keyOf("game", `10.0.0.2:${i + 1}`), megabyte.repeat(megabytes), "0")
        }
        yield* see(2, 4)
        assert.deepInclude(yield* registry.discover("game"), { skipped: 4, held: 0 })
        // What cannot be told is listed.
        const watch = yield* watching(store, prefixOf("game"), first)
        assert.instanceOf(yield* watch.failure, Unavailable)
        yield* enter("10.0.0.4:1")
        yield* see(3, 4)
      }),
    60_000
  )

  it.live("needs no token where etcd knows no users", () =>
    Effect.gen(function* () {
      const node = yield* EtcdServer.start()
      const store = yield* storeAt([node.port], { username: "game", password: Redacted.make("x") })
      yield* store.ping
    })
  )

  it.live("checks who the members are, and shows who it is", () =>
    Effect.gen(function* () {
      const client = { certFile: pathOf("client.pem"), keyFile: pathOf("one.key") }
      const node = yield* EtcdServer.start({ tls: { ...tls, client } })
      const mutual = {
        tls: "mutual",
        tlsCaFile: tls.caFile,
        tlsCertFile: client.certFile,
        tlsKeyFile: client.keyFile
      } as const
      const store = yield* storeAt([node.port], mutual)
      yield* store.ping
      const { lease } = yield* store.grant(idle)
      const prefix = yield* newPrefix
      const from = yield* put(store, `${prefix}k`, "1", lease)
      yield* changesOf((yield* watching(store, prefix, from)).next, 1)
      yield* store.revoke(lease)

      const wrong: ReadonlyArray<Partial<EtcdSettings>> = [
        {},
        { tls: "server", tlsCaFile: tls.caFile },
        { ...mutual, tlsCaFile: pathOf("other-ca.pem") },
        { ...mutual, tlsCertFile: pathOf("self-signed.pem") }
      ]
      for (const options of wrong) {
        assert.instanceOf(yield* Effect.flip((yield* storeAt([node.port], options)).ping), Unavailable)
      }
      for (const options of [
        { ...mutual, tlsCaFile: "/nowhere" },
        { ...mutual, tlsKeyFile: pathOf("two.key") }
      ]) {
        assert.instanceOf(yield* Effect.flip(storeAt([node.port], options)), InvalidConfig)
      }
    })
  )
})

RealServer.suite("etcdCluster", "The store on three members", () => {
  it.live("goes on after the leader was killed, and while a member is cut off", () =>
    Effect.gen(function* () {
      const { leader, nodes } = yield* EtcdServer.cluster()
      const store = yield* storeAt(nodes.map(({ port }) => port))
      const prefix = yield* newPrefix
      const { lease } = yield* store.grant(idle)
      const from = yield* put(store, `${prefix}k`, "1", lease)
      yield* (yield* leader).kill()
      yield* eventually("it puts again", Effect.isSuccess(put(store, `${prefix}k`, "2", lease)))
      assert.isTrue((yield* store.keepAlive(lease)) > idle / 2)
      yield* tellsAgain(store, prefix, from)

      // One of two that are left cannot decide anything, and says so.
      const second = yield* leader
      yield* second.pause
      assert.instanceOf(yield* Effect.flip(store.list(prefix)), Unavailable)
      yield* second.resume
      yield* eventually("it lists again", Effect.isSuccess(store.list(prefix)))
    })
  )
})

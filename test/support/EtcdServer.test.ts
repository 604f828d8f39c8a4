import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Unavailable } from "../infra/Server.ts"
import * as EtcdServer from "./EtcdServer.ts"
import * as RealServer from "./RealServer.ts"

const isRunning = (pid: number): boolean => existsSync(`/proc/${pid}/cwd`)

const valueOf = (node: EtcdServer.Node, key: string) => node.command("get", key, "--print-value-only")

const refusalOf = (node: EtcdServer.Node, ...words: ReadonlyArray<string>) =>
  Effect.map(Effect.flip(node.command(...words)), ({ message }) => message)

const pathOf = (name: string): string => fileURLToPath(new URL(`../grpc/tls/${name}`, import.meta.url))

const tls: EtcdServer.Tls = {
  certFile: pathOf("server.pem"),
  keyFile: pathOf("one.key"),
  caFile: pathOf("ca.pem")
}

RealServer.suite("etcd", "EtcdServer", () => {
  it.live("comes back with its data after a crash, and leaves nothing", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const node = yield* Scope.provide(EtcdServer.start(), scope)
      const first = node.pid
      assert.strictEqual(yield* node.command("put", "key", "value"), "OK\n")
      yield* node.kill()
      assert.isFalse(isRunning(first))
      assert.instanceOf(yield* Effect.flip(node.command("get", "key")), Unavailable)

      yield* node.restart
      assert.notStrictEqual(node.pid, first)
      assert.strictEqual(yield* valueOf(node, "key"), "value\n")

      yield* Scope.close(scope, Exit.void)
      assert.isFalse(isRunning(node.pid))
      assert.isFalse(existsSync(node.folder))
    })
  )

  it.live("answers nothing while it is paused", () =>
    Effect.gen(function* () {
      const node = yield* EtcdServer.start()
      yield* node.pause
      assert.instanceOf(yield* Effect.flip(node.command("get", "key")), Unavailable)
      yield* node.resume
      assert.strictEqual(yield* node.command("put", "key", "value"), "OK\n")
    })
  )

  it.live("forgets its past, and ends a lease with its keys", () =>
    Effect.gen(function* () {
      const node = yield* EtcdServer.start()
      yield* node.command("put", "key", "1")
      yield* node.command("put", "key", "2")
      yield* EtcdServer.compact(node)
      assert.include(yield* refusalOf(node, "get", "key", "--rev", "2"), "has been compacted")
      assert.strictEqual(yield* valueOf(node, "key"), "2\n")

      const granted = yield* node.command("lease", "grant", "60")
      yield* node.command("put", "leased", "1", "--lease", /lease (\w+)/.exec(granted)![1]!)
      yield* EtcdServer.revokeLeaseOf(node, "leased")
      assert.strictEqual(yield* valueOf(node, "leased"), "")
    })
  )

  it.live("asks clients for a password, or a certificate", () =>
    Effect.gen(function* () {
      const guarded = yield* EtcdServer.start({ password: "secret" })
      yield* guarded.command("user", "add", "game:other")
      assert.strictEqual(yield* guarded.command("put", "key", "value"), "OK\n")
      assert.include(yield* refusalOf(guarded, "get", "key", "--user", "game:other"), "permission denied")

      const client = { certFile: pathOf("client.pem"), keyFile: pathOf("one.key") }
      const mutual = yield* EtcdServer.start({ tls: { ...tls, client } })
      assert.strictEqual(yield* mutual.command("put", "key", "value"), "OK\n")
      const stranger = ["--cert", pathOf("self-signed.pem"), "--key", pathOf("one.key")]
      assert.instanceOf(yield* Effect.flip(mutual.command("get", "key", ...stranger)), Unavailable)
      const encrypted = yield* EtcdServer.start({ tls })
      assert.strictEqual(yield* encrypted.command("put", "key", "value"), "OK\n")
      assert.instanceOf(
        yield* Effect.flip(encrypted.command("get", "key", "--cacert", pathOf("other-ca.pem"))),
        Unavailable
      )
    })
  )

  it.live("says what the server says about its arguments", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(EtcdServer.start({ args: ["--election-timeout", "1"] }))
      assert.include(error.message, "election-timeout[1ms]")
    })
  )
})

RealServer.suite("etcdCluster", "EtcdServer", () => {
  it.live("has another leader when the one that was is killed, and is whole again after it is back", () =>
    Effect.gen(function* () {
      const { leader, nodes, settled } = yield* EtcdServer.cluster()
      assert.strictEqual(nodes.length, 3)
      const first = yield* leader
      yield* first.command("put", "key", "value")
      yield* first.kill()
      const second = yield* leader.pipe(
        Effect.orElseSucceed(() => first),
        Effect.repeat({ until: (now) => now !== first, schedule: Schedule.spaced("100 millis") })
      )
      assert.strictEqual(yield* valueOf(second, "key"), "value\n")
      yield* first.restart
      yield* settled
      assert.strictEqual(yield* leader, second)
    })
  )
})

RealServer.suite("etcdNext", "EtcdServer", ({ program }) => {
  it.live("is another release", () =>
    Effect.gen(function* () {
      const node = yield* EtcdServer.start({ program, password: "secret" })
      assert.match(yield* node.command("endpoint", "status", "-w", "fields"), /"Version" : "3\.7\.3"/)
      yield* EtcdServer.compact(node)
    })
  )
})

import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Health } from "xdooria/health"
import * as HealthLive from "xdooria/health/live"
import { Channel, Command, EventStream, Key, Redis, type RedisFailure, type RedisOptions } from "xdooria/redis"
import { layerLive } from "xdooria/redis/live"
import { pathOf } from "../pg/TlsServer.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as Ports from "../support/Ports.ts"
import * as Recorder from "../support/Recorder.ts"
import * as RealServer from "../support/RealServer.ts"
import * as RedisServer from "../support/RedisServer.ts"
import { eventually } from "../support/RedisBackends.ts"

type Address = { readonly host: string; readonly port: number }

const at = ({ host, port }: Address): Partial<RedisOptions> => ({ addrs: [`${host}:${port}`] })

const build = (options: Partial<RedisOptions>) =>
  Effect.map(Layer.build(layerLive(options)), (context) => Context.get(context, Redis))

/** Why a client does not start. */
const refusal = (options: Partial<RedisOptions>) =>
  Effect.map(Effect.flip(Effect.scoped(build(options))), (error) => {
    assert.strictEqual(error._tag, "RedisFailure")
    return error as RedisFailure
  }).pipe(Effect.provideService(References.MinimumLogLevel, "Error"))

const quiet = Effect.provideService(References.MinimumLogLevel, "Error")

const tagOf = <A, R>(effect: Effect.Effect<A, RedisFailure, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)

const key = Result.getOrThrow(Key.make("live", "k"))

const channel = Result.getOrThrow(Channel.make("live", Schema.String)("c"))

const increment = (redis: Redis["Service"]) => redis.run(Command.incrBy(key, 1))

/** A command as it would be made by hand. */
const raw = (name: string, ...args: ReadonlyArray<string>) => Command.make(name, args, (reply) => Result.succeed(reply))

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(effect), ([spent, value]) => [Duration.toMillis(spent), value] as const)

RealServer.suite("redis", "RedisLive", (address) => {
  describe("at start", () => {
    it.live("fails after start_timeout when nothing listens", () =>
      Effect.gen(function* () {
        const port = yield* Ports.free
        const error = yield* refusal({ addrs: [`127.0.0.1:${port}`], startTimeout: Duration.millis(300) })
        assert.deepInclude(error.reason, { _tag: "Unavailable", detail: "ECONNREFUSED" })
        assert.strictEqual(error.at, `127.0.0.1:${port}`)
      })
    )

    it.live("fails after start_timeout when nothing answers", () =>
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
        yield* proxy.blackhole
        const times = { connectTimeout: Duration.millis(50), startTimeout: Duration.millis(300) }
        const error = yield* refusal({ ...at({ host: "127.0.0.1", port: proxy.port }), ...times })
        assert.deepInclude(error.reason, { _tag: "Unavailable", detail: "no answer within connect_timeout" })
      })
    )

    it.live("waits for a server that comes later", () =>
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
        yield* proxy.blackhole
        const options = { ...at({ host: "127.0.0.1", port: proxy.port }), connectTimeout: Duration.millis(50) }
        const starting = yield* Effect.forkChild(build(options))
        yield* eventually(
          "dialled again",
          Effect.map(proxy.accepted, (accepted) => accepted >= 2)
        )
        yield* proxy.heal
        const redis = yield* Fiber.join(starting)
        assert.isNumber((yield* redis.run(Command.time)).millis)
      }).pipe(quiet)
    )

    it.live("fails at once for two addresses that are no cluster, and for a database that is not there", () =>
      Effect.gen(function* () {
        const { host, port } = address
        const error = yield* refusal({ addrs: [`${host}:${port}`, `localhost:${port}`] })
        assert.deepInclude(error.reason, { _tag: "Rejected", code: "ERR" })
        assert.deepInclude((yield* refusal({ ...at(address), db: 99 })).reason, { _tag: "Rejected", code: "ERR" })
      })
    )

    it.live("works in the database that it is told", () =>
      Effect.gen(function* () {
        const keyPrefix = "db3:"
        const three = yield* build({ ...at(address), db: 3, keyPrefix })
        const zero = yield* build({ ...at(address), keyPrefix })
        yield* three.run(Command.set(key, "x"))
        assert.isUndefined(yield* zero.run(Command.get(key)))
        assert.strictEqual(yield* three.run(Command.del(key)), 1)
      })
    )
  })

  it.live("refuses calls when its scope has closed, and ends those that were on their way", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
      const redis = yield* Scope.provide(build(at({ host: "127.0.0.1", port: proxy.port })), scope)
      yield* redis.run(Command.time)
      yield* proxy.blackhole
      const pending = yield* Effect.forkChild(Effect.flip(redis.run(Command.time)))
      yield* Effect.yieldNow
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(pending)).reason._tag, "Timeout")
      assert.strictEqual(yield* tagOf(redis.run(Command.time)), "Closed")
      assert.strictEqual(yield* tagOf(redis.transaction([Command.get(key)])), "Closed")
      assert.strictEqual(yield* tagOf(redis.watch([key], () => Effect.succeed([]))), "Closed")
      assert.strictEqual(yield* tagOf(Effect.scoped(redis.reserve())), "Closed")
      assert.strictEqual(yield* tagOf(Stream.runDrain(redis.scan("live"))), "Closed")
      assert.strictEqual(yield* tagOf(Stream.runDrain(redis.subscribe(channel))), "Closed")
      const [result] = yield* redis.batch([Command.get(key)])
      assert.strictEqual(yield* tagOf(Effect.fromResult(result)), "Closed")
    })
  )

  it.live("ends what runs for long when its scope closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const redis = yield* Scope.provide(build({ ...at(address), poolSize: 2 }), scope)
      const stream = EventStream.make(key, Schema.String)
      const heard = yield* Deferred.make<void>()
      const consuming = yield* Effect.forkChild(
        Effect.flip(
          Effect.provideService(
            EventStream.consume(stream, { group: "g", consumer: "c" }, () => Effect.void),
            Redis,
            redis
          )
        )
      )
      const hearing = yield* Effect.forkChild(
        Effect.flip(Stream.runForEach(redis.subscribe(channel), () => Deferred.succeed(heard, undefined)))
      )
      yield* Deferred.await(heard)
      yield* eventually(
        "the group is there",
        Effect.map(Effect.result(redis.run(Command.xinfoGroups(key))), Result.isSuccess)
      )
      yield* redis.run(Command.del(key))
      yield* Effect.scoped(redis.reserve())
      const blocking = yield* Effect.forkChild(
        Effect.flip(
          Effect.scoped(Effect.flatMap(redis.reserve(), (own) => own.run(Command.blpop(key, "left", 60_000))))
        ),
        { startImmediately: true }
      )
      const waiting = yield* Effect.forkChild(Effect.flip(Effect.scoped(redis.reserve())), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(hearing)).reason._tag, "Closed")
      assert.strictEqual((yield* Fiber.join(consuming)).reason._tag, "Closed")
      assert.strictEqual((yield* Fiber.join(waiting)).reason._tag, "Closed")
      // It may have taken a value.
      assert.include(["OutcomeUnknown", "Closed"], (yield* Fiber.join(blocking)).reason._tag)
    })
  )

  describe("with access control", () => {
    const server = RedisServer.start({ args: ["--requirepass", "canary8f2"] })

    it.live("fails at once with a wrong password, without one, and for an unknown user; and repeats none", () =>
      Effect.gen(function* () {
        const options = at(yield* server)
        const wrong = yield* refusal({ ...options, password: Redacted.make("canary9a1") })
        assert.deepInclude(wrong.reason, { _tag: "Authentication", code: "WRONGPASS" })
        const none = yield* refusal(options)
        assert.deepInclude(none.reason, { _tag: "Authentication", code: "NOAUTH" })
        const user = yield* refusal({ ...options, username: "canaryuser", password: Redacted.make("canary8f2") })
        assert.deepInclude(user.reason, { _tag: "Authentication", code: "WRONGPASS" })
        for (const error of [wrong, none, user]) {
          assert.notMatch(error.message + String(error.stack) + JSON.stringify(error), /canary/)
        }
      })
    )

    it.live("is the user that it is told, who may do what he may", () =>
      Effect.gen(function* () {
        const node = yield* server
        const password = Redacted.make("canary8f2")
        const admin = yield* build({ ...at(node), password })
        yield* admin.run(raw("ACL", "SETUSER", "game", "on", ">canary9a1", "~live:*", "+@read", "+@write", "+eval"))
        // Neither PING nor EXEC: it starts nevertheless.
        const redis = yield* build({ ...at(node), username: "game", password: Redacted.make("canary9a1") })
        yield* redis.run(Command.set(key, "x"))
        assert.strictEqual(yield* tagOf(redis.run(raw("CONFIG", "GET", "*"))), "PermissionDenied")
        const other = Result.getOrThrow(Key.make("other", "k"))
        assert.strictEqual(yield* tagOf(redis.run(Command.get(other))), "PermissionDenied")
        // Without MULTI the commands would be done one by one.
        assert.strictEqual(
          yield* tagOf(redis.transaction([Command.set(key, "y"), Command.get(key)])),
          "PermissionDenied"
        )
        assert.strictEqual(yield* redis.run(Command.get(key)), "x")
        assert.strictEqual(
          yield* tagOf(redis.watch([key], () => Effect.succeed([Command.set(key, "y")]))),
          "PermissionDenied"
        )
        assert.strictEqual(yield* redis.run(Command.get(key)), "x")
        // Without EXEC the connection would queue what others run.
        yield* admin.run(raw("ACL", "SETUSER", "game", "+multi"))
        assert.strictEqual(yield* tagOf(redis.transaction([Command.set(key, "y")])), "PermissionDenied")
        assert.strictEqual(yield* redis.run(Command.get(key)), "x")
        yield* admin.run(raw("ACL", "SETUSER", "game", "+exec"))
        assert.deepStrictEqual(yield* redis.transaction([Command.set(key, "y"), Command.get(key)]), [undefined, "y"])
      })
    )

    it.live("does not say that nothing was done where MULTI is refused after it was allowed", () =>
      Effect.gen(function* () {
        const node = yield* server
        const password = Redacted.make("canary8f2")
        const admin = yield* build({ ...at(node), password })
        yield* admin.run(raw("ACL", "SETUSER", "game", "on", ">canary9a1", "~live:*", "+@all"))
        const redis = yield* build({ ...at(node), username: "game", password: Redacted.make("canary9a1"), poolSize: 1 })
        const twice = [Command.incrBy(key, 1), Command.incrBy(key, 1)] as const
        const watched = redis.watch([key], () => Effect.succeed(twice))
        yield* watched
        yield* redis.transaction(twice)
        yield* admin.run(raw("ACL", "SETUSER", "game", "-multi"))
        for (const effect of [redis.transaction(twice), watched]) {
          const failure = yield* Effect.flip(effect)
          assert.strictEqual(failure.reason._tag, "OutcomeUnknown")
          assert.isFalse(failure.isSafeToRetry)
        }
        const after = yield* redis.run(Command.get(key))
        // From here on it is asked first.
        assert.strictEqual(yield* tagOf(redis.transaction(twice)), "PermissionDenied")
        assert.strictEqual(yield* tagOf(watched), "PermissionDenied")
        assert.strictEqual(yield* redis.run(Command.get(key)), after)
      })
    )

    it.live("tells that the password was changed, and goes on when it is back", () =>
      Effect.gen(function* () {
        const node = yield* server
        const admin = yield* build({ ...at(node), password: Redacted.make("canary8f2") })
        const user = (password: string) =>
          admin.run(raw("ACL", "SETUSER", "game", "on", "resetpass", `>${password}`, "~*", "&*", "+@all"))
        yield* user("canary9a1")
        const reporter = yield* Health.Reporter
        const states = yield* Recorder.make<string>()
        yield* Effect.forkScoped(
          Stream.runForEach(reporter.changes, (all) => {
            const state = all.get("redis")
            return states.record(state?.status === "down" ? state.detail : (state?.status ?? "none"))
          })
        )
        const redis = yield* build({ ...at(node), username: "game", password: Redacted.make("canary9a1") })
        const gaps = yield* Recorder.make<string>()
        const hearing = yield* Effect.forkChild(
          Stream.runForEach(redis.subscribe(channel), ({ _tag }) => gaps.record(_tag))
        )
        yield* gaps.atLeast(1)
        yield* user("canary5c3")
        yield* admin.run(raw("CLIENT", "KILL", "USER", "game"))
        yield* eventually(
          "calls say so",
          Effect.map(Effect.result(increment(redis)), (result) => {
            return Result.isFailure(result) && result.failure.reason._tag === "Authentication"
          })
        )
        yield* states.first((state) => state.includes("password"))
        yield* user("canary9a1")
        yield* gaps.atLeast(2)
        yield* eventually("calls work", Effect.map(Effect.result(increment(redis)), Result.isSuccess))
        assert.isUndefined(hearing.pollUnsafe())
        yield* Fiber.interrupt(hearing)
      }).pipe(Effect.provide(HealthLive.HealthLive), quiet)
    )
  })

  describe("with TLS", () => {
    const server = (certificate: string) =>
      Effect.map(
        RedisServer.start({
          tls: true,
          args: [
            ["--tls-cert-file", pathOf(certificate)],
            ["--tls-key-file", pathOf("localhost.key")],
            ["--tls-ca-cert-file", pathOf("ca.pem")],
            ["--tls-auth-clients", "no"]
          ].flat()
        }),
        ({ port }): Partial<RedisOptions> => ({ addrs: [`localhost:${port}`], tls: "verify-full" })
      )
    const tlsCaFile = pathOf("ca.pem")

    it.live("checks the certificate, or takes any", () =>
      Effect.gen(function* () {
        const options = yield* server("localhost.pem")
        const verified = yield* build({ ...options, tlsCaFile })
        assert.isNumber((yield* verified.run(Command.time)).millis)
        yield* build({ ...options, tls: "require" })
        // Everything that the room dials is the same: this too.
        yield* Effect.scoped(Effect.flatMap(verified.reserve(), (own) => own.run(Command.time)))
      })
    )

    it.live("fails at once with a certificate that is unknown, expired, or for another host", () =>
      Effect.gen(function* () {
        const options = yield* server("localhost.pem")
        const unknown = yield* refusal(options)
        assert.deepInclude(unknown.reason, { _tag: "TlsFailed", detail: "SELF_SIGNED_CERT_IN_CHAIN" })
        const address = options.addrs![0].replace("localhost", "127.0.0.1")
        const host = yield* refusal({ ...options, addrs: [address], tlsCaFile })
        assert.deepInclude(host.reason, { _tag: "TlsFailed", detail: "ERR_TLS_CERT_ALTNAME_INVALID" })
        const expired = yield* refusal({ ...(yield* server("expired.pem")), tlsCaFile })
        assert.deepInclude(expired.reason, { _tag: "TlsFailed", detail: "CERT_HAS_EXPIRED" })
      })
    )

    it.live("fails when the server has none, and without a readable file", () =>
      Effect.gen(function* () {
        const plain = yield* refusal({ ...at(address), tls: "require", startTimeout: Duration.millis(300) })
        assert.include(["TlsFailed", "Unavailable"], plain.reason._tag)
        const options: Partial<RedisOptions> = { ...at(address), tls: "verify-full", tlsCaFile: "/nowhere/ca.pem" }
        const missing = yield* Effect.flip(Effect.scoped(build(options)))
        assert.strictEqual(missing._tag, "InvalidConfig")
        assert.include(missing.message, "redis.tls_ca_file")
      })
    )
  })

  describe("when the link is bad", () => {
    const behind = (options: Partial<RedisOptions> = {}) =>
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
        const keyPrefix = `link${proxy.port}:`
        yield* Effect.addFinalizer(() =>
          Effect.scoped(
            Effect.flatMap(build({ ...at(address), keyPrefix }), (redis) => redis.run(Command.del(key)))
          ).pipe(Effect.orDie)
        )
        const redis = yield* build({ ...at({ host: "127.0.0.1", port: proxy.port }), keyPrefix, ...options })
        return { proxy, redis }
      })

    it.live("settles in time: a write that was sent is of unknown outcome, a read timed out", () =>
      Effect.gen(function* () {
        const { proxy, redis } = yield* behind({ commandTimeout: Duration.millis(300) })
        yield* increment(redis)
        yield* proxy.blackhole
        const all = {
          write: tagOf(increment(redis)),
          read: tagOf(redis.run(Command.get(key))),
          transaction: tagOf(redis.transaction([Command.incrBy(key, 1)])),
          batch: Effect.map(redis.batch([Command.incrBy(key, 1), Command.get(key)]), (results) =>
            results
              .map((result: Result.Result<unknown, RedisFailure>) =>
                Result.isFailure(result) ? result.failure.reason._tag : ""
              )
              .join()
          )
        }
        const [spent, tags] = yield* timed(Effect.all(all, { concurrency: "unbounded" }))
        assert.deepStrictEqual(tags, {
          write: "OutcomeUnknown",
          read: "Timeout",
          // It was to be asked first whether there are transactions.
          transaction: "Unavailable",
          batch: "OutcomeUnknown,Timeout"
        })
        assert.isAbove(spent, 250)
        yield* proxy.heal
      }).pipe(quiet)
    )

    it.live("never sends again what was sent: a lost reply is OutcomeUnknown, and the write is there once", () =>
      Effect.gen(function* () {
        const { proxy, redis } = yield* behind()
        yield* increment(redis)
        const rule = yield* proxy.onRequest((bytes) => bytes.includes("INCRBY"), "cutAfterReply")
        assert.strictEqual(yield* tagOf(increment(redis)), "OutcomeUnknown")
        yield* rule.first
        yield* proxy.heal
        assert.strictEqual(yield* redis.run(Command.get(key)), "2")
        const exec = yield* proxy.onRequest(
          (bytes) => bytes.includes("EXEC") && bytes.includes("INCRBY"),
          "cutAfterReply"
        )
        assert.strictEqual(yield* tagOf(redis.transaction([Command.incrBy(key, 1)])), "OutcomeUnknown")
        assert.strictEqual(yield* exec.fired, 1)
        yield* proxy.heal
        assert.strictEqual(yield* redis.run(Command.get(key)), "3")
      }).pipe(quiet)
    )

    it.live("repeats what is idempotent until there is an answer", () =>
      Effect.gen(function* () {
        const { proxy, redis } = yield* behind()
        yield* increment(redis)
        const rule = yield* proxy.onRequest((bytes) => bytes.includes("GET"), "cutAfterReply")
        const value = yield* Effect.forkChild(redis.run(Command.get(key)))
        yield* rule.first
        yield* proxy.heal
        assert.strictEqual(yield* Fiber.join(value), "1")
      }).pipe(quiet)
    )

    it.live("finds a dead peer, without any call, and connects again", () =>
      Effect.gen(function* () {
        const { proxy, redis } = yield* behind()
        const before = yield* proxy.accepted
        yield* proxy.blackhole
        yield* eventually(
          "dialled again",
          Effect.map(proxy.accepted, (accepted) => accepted > before)
        )
        yield* proxy.heal
        yield* eventually(
          "up",
          Effect.map(redis.native, (nodes) => nodes.some(({ status }) => status === "ready"))
        )
        assert.strictEqual(yield* increment(redis), 1)
      }).pipe(quiet)
    )

    it.live("tells health and the log when the server goes and comes back", () =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const logger = Logger.make<unknown, void>(({ message }) => void lines.push(String(message)))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const reporter = yield* Health.Reporter
            const states = yield* Recorder.make<string>()
            yield* Effect.forkScoped(
              Stream.runForEach(reporter.changes, (all) => states.record(all.get("redis")?.status ?? "none"))
            )
            const { proxy } = yield* behind()
            yield* states.first((state) => state === "up")
            yield* proxy.blackhole
            yield* states.first((state) => state === "down")
            yield* proxy.heal
            yield* states.atLeast(2, (state) => state === "up")
          })
        ).pipe(Effect.provide(Layer.mergeAll(HealthLive.HealthLive, Logger.layer([logger]))))
        assert.isTrue(
          lines.some((line) => /^redis 127\.0\.0\.1:\d+: down: /.test(line)),
          lines.join("\n")
        )
        assert.isTrue(
          lines.some((line) => /^redis 127\.0\.0\.1:\d+: up again$/.test(line)),
          lines.join("\n")
        )
      })
    )
  })
})

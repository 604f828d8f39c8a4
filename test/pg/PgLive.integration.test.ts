import { assert, describe, it } from "@effect/vitest"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import * as Stream from "effect/Stream"
import { Health } from "xdooria/health"
import * as HealthLive from "xdooria/health/live"
import { Pg, type PgError } from "xdooria/pg"
import { layerLive } from "xdooria/pg/live"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as Ports from "../support/Ports.ts"
import * as RealServer from "../support/RealServer.ts"
import { eventually, isInterrupted, sessionsThatAre, tagOf } from "./contract/Contract.ts"
import { type Address, addressOf, fresh } from "./Database.ts"
import * as TlsServer from "./TlsServer.ts"

const one = SqlClient.SqlClient.use((sql) => sql`SELECT 1 AS one`)

/** Why a client does not start. */
const refusal = (options: Partial<Pg.PgOptions>) =>
  Effect.map(Effect.flip(Effect.scoped(Layer.build(layerLive(options)))), (error) => {
    assert.strictEqual(error._tag, "PgError")
    return error as PgError
  }).pipe(Effect.provideService(References.MinimumLogLevel, "Error"))

/** A client behind a proxy, and the proxy. */
const behindProxy = (address: Address, options: Partial<Pg.PgOptions> = {}) =>
  Effect.gen(function* () {
    const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
    const context = yield* Layer.build(layerLive({ ...address, host: "127.0.0.1", port: proxy.port, ...options }))
    return { proxy, context }
  })

/** The sessions that so many statements at once run in. */
const pids = (n: number) =>
  Effect.all(
    Array.from({ length: n }, () =>
      SqlClient.SqlClient.use((sql) => sql<{ pid: number }>`SELECT pg_backend_pid() AS pid FROM pg_sleep(0.02)`)
    ),
    { concurrency: "unbounded" }
  ).pipe(Effect.map((rows) => new Set(rows.map(([row]) => row!.pid))))

/** The address of a server with TLS before the real one, and options for it. */
const withTls = (
  address: Address,
  certificate: string | undefined,
  tls: Pg.PgOptions["tls"],
  rest: Partial<Pg.PgOptions> = {}
) =>
  Effect.map(TlsServer.make(address, certificate), ({ port }) => ({
    ...address,
    host: "localhost",
    port,
    tls,
    ...rest
  }))

const isCommit = (bytes: Buffer) => bytes.includes("COMMIT")

RealServer.suite("postgres", "PgLive", (server) => {
  const address = addressOf(server)

  describe("at start", () => {
    it.live("fails at once when the password is wrong, and does not repeat it", () =>
      Effect.gen(function* () {
        const error = yield* refusal({ ...address, password: Redacted.make("canary8f2") })
        assert.include({ ...error.reason }, { _tag: "Authentication", code: "28P01" })
        assert.strictEqual(error.at, `${address.host}:${address.port}/${address.database}`)
        assert.include(error.message, error.at!)
        assert.notInclude(error.message + String(error.stack) + JSON.stringify(error), "canary8f2")
      })
    )

    it.live("fails at once without a password, for an unknown user and for an unknown database", () =>
      Effect.gen(function* () {
        const none = yield* refusal({ ...address, password: Redacted.make("") })
        assert.strictEqual(none.reason._tag, "Authentication")
        assert.strictEqual((yield* refusal({ ...address, user: "nobody_here" })).reason._tag, "Authentication")
        assert.strictEqual((yield* refusal({ ...address, database: "nowhere" })).reason._tag, "DatabaseNotFound")
      })
    )

    it.live("fails after start_timeout when nothing listens", () =>
      Effect.gen(function* () {
        const port = yield* Ports.free
        const error = yield* refusal({ ...address, port, startTimeout: Duration.millis(200) })
        assert.include({ ...error.reason }, { _tag: "Unavailable", detail: "ECONNREFUSED" })
      })
    )

    it.live("fails after start_timeout when nothing answers", () =>
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
        yield* proxy.blackhole
        const times = { connectTimeout: Duration.millis(50), startTimeout: Duration.millis(300) }
        const error = yield* refusal({ ...address, port: proxy.port, ...times })
        assert.include({ ...error.reason }, { _tag: "Unavailable", detail: "no answer within connect_timeout" })
      })
    )

    it.live("waits for a server that comes later", () =>
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
        yield* proxy.blackhole
        const options = { ...address, port: proxy.port, connectTimeout: Duration.millis(50) }
        const client = yield* Effect.forkChild(Effect.provide(one, layerLive(options)))
        yield* eventually(proxy.accepted, (accepted) => accepted >= 2)
        yield* proxy.heal
        assert.deepStrictEqual(yield* Fiber.join(client), [{ one: 1 }])
      }).pipe(Effect.provideService(References.MinimumLogLevel, "Error"))
    )
  })

  describe("with TLS", () => {
    const authority = { tlsCaFile: TlsServer.pathOf("ca.pem") }

    it.live("connects, runs, cancels and closes", () =>
      Effect.gen(function* () {
        const verified = yield* withTls(address, "localhost.pem", "verify-full", authority)
        const anyone = yield* withTls(address, "expired.pem", "require")
        for (const chosen of [verified, anyone]) {
          yield* Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            assert.deepStrictEqual(yield* one, [{ one: 1 }])
            const slow = yield* Effect.forkChild(sql`SELECT pg_sleep(4), ${chosen.port}::int`)
            yield* eventually(
              sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_stat_activity
                WHERE query LIKE ${"SELECT pg_sleep(4), $%"} AND state = 'active'`,
              ([row]) => row!.n > 0
            )
            yield* Fiber.interrupt(slow)
            assert.deepStrictEqual(yield* one, [{ one: 1 }])
          }).pipe(Effect.provide(layerLive(chosen)))
        }
      })
    )

    it.live("fails at once when the certificate is not to be trusted, or the server has none", () =>
      Effect.gen(function* () {
        const details = []
        for (const chosen of [
          yield* withTls(address, "localhost.pem", "verify-full"),
          yield* withTls(address, "expired.pem", "verify-full", authority),
          yield* withTls(address, "localhost.pem", "verify-full", { ...authority, host: "127.0.0.1" }),
          yield* withTls(address, undefined, "require")
        ]) {
          const { reason } = yield* refusal(chosen)
          details.push(reason._tag === "TlsFailed" ? reason.detail : reason._tag)
        }
        assert.deepStrictEqual(details, [
          "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
          "CERT_HAS_EXPIRED",
          "ERR_TLS_CERT_ALTNAME_INVALID",
          "the server does not offer it"
        ])
      })
    )

    it.live("names the file of authorities that cannot be read", () =>
      Effect.gen(function* () {
        const built = Layer.build(layerLive({ ...address, tls: "verify-full", tlsCaFile: "/nowhere/ca.pem" }))
        const error = yield* Effect.flip(Effect.scoped(built))
        assert.strictEqual(error._tag, "InvalidConfig")
        assert.include(error.message, "/nowhere/ca.pem")
        assert.include(error.message, "ENOENT")
      })
    )
  })

  describe("on a lost link", () => {
    it.live("does not know what became of a COMMIT whose reply was lost, and does not run it again", () =>
      Effect.gen(function* () {
        const { context, proxy } = yield* behindProxy(yield* fresh(address))
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`CREATE TABLE kept (id int)`
          const rule = yield* proxy.onRequest(isCommit, "cutAfterReply")
          const insert = Pg.transaction(sql`INSERT INTO kept VALUES (1)`, { isolation: "serializable" })
          assert.strictEqual(yield* tagOf(insert), "OutcomeUnknown")
          assert.strictEqual(yield* rule.fired, 1)
          yield* proxy.heal
          assert.deepStrictEqual(yield* sql`SELECT * FROM kept`, [{ id: 1 }])
        }).pipe(Effect.provide(context))
      })
    )

    it.live("knows that a transaction was not committed when the COMMIT did not get through before the cut", () =>
      Effect.gen(function* () {
        const { context, proxy } = yield* behindProxy(yield* fresh(address))
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`CREATE TABLE kept (id int)`
          const body = Effect.andThen(sql`INSERT INTO kept VALUES (1)`, proxy.cut)
          const reasons = [
            yield* tagOf(Pg.transaction(Effect.andThen(body, one))),
            yield* tagOf(Pg.transaction(Effect.andThen(Pg.transaction(body), one)))
          ]
          assert.deepStrictEqual(reasons, ["Unavailable", "Unavailable"])
          assert.deepStrictEqual(yield* sql`SELECT * FROM kept`, [])
        }).pipe(Effect.provide(context))
      })
    )

    it.live("does not leave a transaction open whose BEGIN was interrupted", () =>
      Effect.gen(function* () {
        const { context, proxy } = yield* behindProxy(yield* fresh(address), { maxConns: 1 })
        const sent = yield* Deferred.make<void>()
        const isBegin = (bytes: Buffer) => {
          if (bytes.includes("BEGIN")) Deferred.doneUnsafe(sent, Effect.void)
          return false
        }
        yield* proxy.onRequest(isBegin, "cut")
        const fiber = yield* Effect.forkChild(Effect.provide(Pg.transaction(one), context))
        yield* Deferred.await(sent)
        // The reply comes before the driver would cancel, so the server has an open transaction now.
        yield* Fiber.interrupt(fiber)
        // Within one transaction it is always the same time.
        const now = SqlClient.SqlClient.use((sql) => sql<{ at: string }>`SELECT now()::text AS at FROM pg_sleep(0.001)`)
        const [first, second] = yield* Effect.provide(Effect.all([now, now]), context)
        assert.notDeepEqual(first, second)
      })
    )

    it.live("does not go on with a transaction whose statement was interrupted, even if the cancel was lost", () =>
      Effect.gen(function* () {
        const { context, proxy } = yield* behindProxy(yield* fresh(address))
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`CREATE TABLE kept (id int)`
          const lost = yield* proxy.onRequest(
            (bytes) => bytes.length === 16 && bytes.readInt32BE(4) === 80877102,
            "cut"
          )
          const body = Effect.gen(function* () {
            const slow = yield* Effect.forkChild(sql`SELECT pg_sleep(0.03)`)
            yield* Effect.sleep("5 millis")
            yield* Fiber.interrupt(slow)
            yield* sql`INSERT INTO kept VALUES (1)`
          })
          assert.strictEqual(yield* tagOf(Pg.transaction(body)), "TransactionAborted")
          assert.strictEqual(yield* lost.fired, 1)
          assert.deepStrictEqual(yield* sql`SELECT * FROM kept`, [])
        }).pipe(Effect.provide(context))
      })
    )

    // What is in flight, or about to be, when the link dies and the caller has enough of waiting.
    const body = Effect.andThen(one, Effect.never)
    const cases: Record<
      string,
      (proxy: FaultProxy.FaultProxy) => Effect.Effect<unknown, unknown, SqlClient.SqlClient>
    > = {
      "a statement": (proxy) => Effect.andThen(proxy.blackhole, one),
      "a statement of a transaction": (proxy) => Pg.transaction(Effect.andThen(proxy.blackhole, one)),
      "a BEGIN": (proxy) => Effect.andThen(proxy.blackhole, Pg.transaction(one)),
      "a COMMIT": (proxy) => Pg.transaction(Effect.andThen(one, proxy.blackhole)),
      "a ROLLBACK": (proxy) => Pg.transaction(body.pipe(Effect.onInterrupt(() => proxy.blackhole))),
      "a savepoint": (proxy) => Pg.transaction(Effect.andThen(proxy.blackhole, Pg.transaction(one))),
      "a stream": (proxy) =>
        SqlClient.SqlClient.use((sql) =>
          Stream.runForEach(
            sql`SELECT repeat('x', 10000) FROM generate_series(1, 100000)`.stream,
            () => proxy.blackhole
          )
        )
    }
    for (const [what, use] of Object.entries(cases)) {
      it.live(`lets a caller go who is interrupted at ${what}, and serves the next one`, () =>
        Effect.gen(function* () {
          const times = { connectTimeout: Duration.millis(300) }
          const { context, proxy } = yield* behindProxy(yield* fresh(address), { maxConns: 1, minConns: 0, ...times })
          const [spent, exit] = yield* use(proxy).pipe(
            Effect.timeoutOption("300 millis"),
            Effect.exit,
            Effect.timed,
            Effect.provide(context)
          )
          // Generous for a busy machine; the driver alone takes 6 s. The scenario F37 measures it.
          assert.isBelow(Duration.toMillis(spent), 3_000)
          assert.isTrue(Exit.isSuccess(exit) && exit.value._tag === "None")
          yield* proxy.heal
          const again = Effect.retry(Effect.provide(one, context), { times: 20 })
          assert.deepStrictEqual(yield* again, [{ one: 1 }])
          assert.strictEqual(yield* Effect.provide(sessionsThatAre("idle in transaction"), context), 0)
        })
      )
    }

    it.live("ends a statement that gets no reply in its time", () =>
      Effect.gen(function* () {
        const times = { statementTimeout: Duration.millis(100) }
        const { context, proxy } = yield* behindProxy(yield* fresh(address), times)
        yield* proxy.dropReplies
        const reason = yield* Effect.flip(Effect.provide(Pg.run(one), context))
        assert.include({ ...(reason as PgError).reason }, { _tag: "OutcomeUnknown", detail: "no reply" })
      })
    )

    it.live("closes, with statements and a listener in use", () =>
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
        const scope = yield* Scope.make()
        const context = yield* Scope.provide(
          Layer.build(layerLive({ ...address, port: proxy.port, minConns: 2 })),
          scope
        )
        const listening = yield* Effect.forkChild(
          PgClient.PgClient.use((pg) => pg.listen("never")).pipe(
            Effect.andThen(Effect.never),
            Effect.scoped,
            Effect.provide(context)
          )
        )
        yield* eventually(proxy.connections, (n) => n >= 2)
        yield* proxy.blackhole
        const stuck = yield* Effect.forkChild(Effect.provide(one, context))
        yield* Effect.yieldNow
        yield* Fiber.interruptAll([listening, stuck])
        yield* Scope.close(scope, Exit.void)
        // It does not look at its sockets before.
        yield* proxy.heal
        yield* eventually(proxy.connections, (n) => n === 0)
      })
    )
  })

  describe("the pool", () => {
    it.live("keeps min_conns sessions, and ends those above it that are idle for too long", () =>
      Effect.gen(function* () {
        const sizes = { minConns: 2, maxConns: 6, maxIdleTime: Duration.millis(1) }
        const { context, proxy } = yield* behindProxy(yield* fresh(address), sizes)
        yield* eventually(proxy.connections, (n) => n === 2)
        yield* Effect.provide(pids(6), context)
        assert.isAbove(yield* proxy.connections, 2)
        yield* eventually(proxy.connections, (n) => n === 2)
      })
    )

    it.live("replaces a session that has lived long enough", () =>
      Effect.gen(function* () {
        const database = yield* fresh(address)
        const short = yield* Layer.build(layerLive({ ...database, maxConnLifetime: Duration.millis(1) }))
        const long = yield* Layer.build(layerLive(database))
        const distinct = (context: typeof short) =>
          Effect.map(
            Effect.replicateEffect(Effect.provide(pids(1), context), 3),
            (sets) => new Set(sets.flatMap((set) => [...set])).size
          )
        assert.strictEqual(yield* distinct(short), 3)
        assert.strictEqual(yield* distinct(long), 1)
      })
    )

    it.live("closes every connection with its scope", () =>
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
        yield* Effect.provide(pids(5), layerLive({ ...address, port: proxy.port }))
        yield* eventually(proxy.connections, (n) => n === 0)
      })
    )

    it.live("leaves a caller interrupted who was interrupted", () =>
      Effect.gen(function* () {
        const context = yield* Layer.build(layerLive({ ...address, maxConns: 1 }))
        const fiber = yield* Effect.forkChild(
          Effect.provide(Pg.transaction(Effect.andThen(one, Effect.never)), context)
        )
        yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        assert.isTrue(isInterrupted(yield* Fiber.await(fiber)))
      })
    )
  })

  describe("health", () => {
    it.live("is told when the server goes and comes back, and forgets it when it is closed", () =>
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
        const reporter = yield* Health.Reporter
        const states = yield* Ref.make<ReadonlyArray<string>>([])
        const follow = yield* Stream.runForEach(reporter.changes, (all) => {
          const state = all.get("pg")
          return Ref.update(states, (seen) => [...seen, state === undefined ? "none" : state.status])
        }).pipe(Effect.forkChild)
        const scope = yield* Scope.make()
        const options = { ...address, port: proxy.port, connectTimeout: Duration.millis(100) }
        yield* Scope.provide(Layer.build(layerLive(options)), scope)
        const last = Effect.map(Ref.get(states), (seen) => seen.at(-1))
        yield* eventually(last, (state) => state === "up")
        yield* proxy.blackhole
        yield* proxy.cut
        yield* eventually(last, (state) => state === "down")
        yield* proxy.heal
        yield* eventually(last, (state) => state === "up")
        yield* Scope.close(scope, Exit.void)
        yield* eventually(last, (state) => state === "none")
        assert.deepStrictEqual(yield* Ref.get(states), ["none", "up", "down", "up", "none"])
        yield* Fiber.interrupt(follow)
      }).pipe(Effect.provide(HealthLive.HealthLive), Effect.provideService(References.MinimumLogLevel, "Error"))
    )
  })
})

// What room pg promises while the server or the link to it fails: npm run faults -- F34 --seed 1
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Ref from "effect/Ref"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import { randomUUID } from "node:crypto"
import { Pg, type PgError } from "xdooria/pg"
import { layerLive } from "xdooria/pg/live"
import * as Server from "../../src/pg/internal/Server.ts"
import * as Fault from "../faults/Fault.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as History from "../support/History.ts"
import * as Recorder from "../support/Recorder.ts"
import { isMissing, servers } from "../support/Servers.ts"
import { addressOf, fresh } from "./Database.ts"

const quiet = Effect.provideService(References.MinimumLogLevel, "Error")

const clientOf = (options: Partial<Pg.PgOptions>) =>
  Effect.map(Layer.build(layerLive(options)), (context) => Context.get(context, SqlClient.SqlClient))

/** A database of its own on the real server. */
const realDatabase = Effect.suspend(() => {
  const server = servers.postgres
  return isMissing(server) ? Effect.die(new Error(server.missing)) : fresh(addressOf(server))
})

const isReason = (error: unknown, tag: PgError["reason"]["_tag"]): boolean => (error as PgError).reason._tag === tag

/** Runs an effect in so many fibers, again and again until the scope closes or `stop` runs. */
const load = <E>(fibers: number, one: Effect.Effect<unknown, E>) =>
  Effect.gen(function* () {
    const stopped = yield* Ref.make(false)
    const loop = Effect.repeat(one, { until: () => Ref.get(stopped) })
    const running = yield* Effect.forEach(Array.from({ length: fibers }), () => Effect.forkScoped(loop))
    return {
      stop: Effect.andThen(Ref.set(stopped, true), Effect.andThen(Fiber.awaitAll(running), Fiber.joinAll(running)))
    }
  })

const bank = (sql: SqlClient.SqlClient, accounts: number) => ({
  create: Effect.andThen(
    sql`CREATE TABLE accounts AS SELECT id, 1000 AS balance FROM generate_series(1, ${accounts}) AS id`,
    sql`CREATE TABLE transfers (id uuid)`
  ),
  sum: Effect.map(sql<{ sum: bigint }>`SELECT sum(balance) AS sum FROM accounts`, ([row]) => Number(row!.sum)),
  applied: Effect.map(sql<{ id: string }>`SELECT id FROM transfers`, (rows) => rows.map(({ id }) => id)),
  isApplied: (id: string) => Effect.map(sql`SELECT 1 FROM transfers WHERE id = ${id}`, (rows) => rows.length > 0),
  /** Moves money between two accounts. The id is written along: by it one finds out what became of it. */
  transfer: (id: string) =>
    Effect.gen(function* () {
      const [from, to, amount] = yield* Effect.all([
        Random.nextIntBetween(1, accounts),
        Random.nextIntBetween(1, accounts),
        Random.nextIntBetween(1, 10)
      ])
      yield* Pg.transaction(
        Effect.gen(function* () {
          yield* sql`INSERT INTO transfers VALUES (${id})`
          yield* sql`UPDATE accounts SET balance = balance - ${amount} WHERE id = ${from}`
          yield* sql`UPDATE accounts SET balance = balance + ${amount} WHERE id = ${to}`
        })
      ).pipe(Effect.provideService(SqlClient.SqlClient, sql))
    })
})

type Bank = ReturnType<typeof bank>

const patiently = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.retry(effect, { schedule: Schedule.spaced("20 millis") })

/** One transfer to its end, as a careful client does it: what failed safely is tried again, what is unknown looked up. */
const carefully = (bank: Bank, history: History.History): Effect.Effect<void, never> =>
  Effect.suspend(() => {
    const id = randomUUID()
    const attempt: Effect.Effect<void> = Effect.suspend(() => Effect.result(bank.transfer(id))).pipe(
      Effect.flatMap((result) => {
        if (result._tag === "Success") return history.acked(id)
        if (result.failure.isSafeToRetry) {
          return history.failed(id).pipe(Effect.andThen(Effect.sleep("20 millis")), Effect.andThen(attempt))
        }
        return history.unknown(id).pipe(
          Effect.andThen(Effect.orDie(patiently(bank.isApplied(id)))),
          Effect.flatMap((applied) => (applied ? Effect.void : attempt))
        )
      })
    )
    return attempt
  })

const fewest = 30

const killed = Fault.scenario({
  id: "F34",
  room: "pg",
  servers: ["postgres"],
  title: "the server is killed under load and started again",
  scaled: { fibers: 16, beforeMillis: 400, afterMillis: 600, kills: 1 },
  full: { fibers: 50, beforeMillis: 3_000, afterMillis: 3_000, kills: 5 },
  run: ({ afterMillis, beforeMillis, fibers, kills }, seed) =>
    Effect.gen(function* () {
      const files = yield* Server.prepareServer
      const life = yield* Ref.make(yield* Scope.fork(yield* Effect.scope))
      const first = yield* Scope.provide(Server.launchServer(files), yield* Ref.get(life))
      const pid = yield* Ref.make(first.pid)
      const sql = yield* clientOf(first)
      const accounts = bank(sql, 100)
      yield* accounts.create
      const total = yield* accounts.sum
      const history = yield* History.make
      const { stop } = yield* load(fibers, carefully(accounts, history))
      for (let kill = 0; kill < kills; kill++) {
        yield* Effect.sleep(beforeMillis)
        process.kill(yield* Ref.get(pid), "SIGKILL")
        yield* Scope.close(yield* Ref.get(life), Exit.void)
        const scope = yield* Scope.fork(yield* Effect.scope)
        yield* Ref.set(life, scope)
        // The new one refuses to start until the last process of the old one has noticed.
        const again = yield* patiently(Scope.provide(Server.launchServer(files), scope))
        yield* Ref.set(pid, again.pid)
        yield* history.healed
        yield* Effect.sleep(afterMillis)
      }
      yield* stop
      const verdict = yield* history.verdict(yield* accounts.applied)
      return { ...verdict, extra: { missing: total - (yield* accounts.sum) } }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ acked, extra, recoverMs }) => [
    ...(extra!["missing"] === 0 ? [] : [`${extra!["missing"]} of the money is missing`]),
    ...(recoverMs <= 3_000 ? [] : [`first success ${recoverMs} ms after the server was back, not within 3000`]),
    // Enough that the kill met some of them; how many there are is up to the machine.
    ...(acked >= fewest ? [] : [`only ${acked} transfers`])
  ]
})

/** Finds COMMITs among the messages to the server: the first on a session has the text, later ones a name for it. */
const commits = (every: number): ((bytes: Buffer) => boolean) => {
  const names = new Set<string>()
  let seen = 0
  return (bytes) => {
    const text = bytes.toString("latin1")
    // oxlint-disable-next-line no-control-regex -- strings end with NUL in the protocol
    const parsed = /(effect_[0-9a-f]+_\d+)\0COMMIT\0/.exec(text)
    if (parsed !== null) names.add(parsed[1]!)
    const isCommit = parsed !== null || [...names].some((name) => text.includes(`\0${name}\0`))
    return isCommit && ++seen % every === 0
  }
}

const cutAtCommit = Fault.scenario({
  id: "F36",
  room: "pg",
  title: "the reply to a COMMIT is lost",
  servers: ["postgres"],
  scaled: { transfers: 100, fibers: 10 },
  full: { transfers: 500, fibers: 10 },
  run: ({ fibers, transfers }, seed) =>
    Effect.gen(function* () {
      const address = yield* realDatabase
      const proxy = yield* FaultProxy.make({ ...address, seed })
      const sql = yield* clientOf({ ...address, host: "127.0.0.1", port: proxy.port })
      const accounts = bank(sql, 100)
      yield* accounts.create
      const total = yield* accounts.sum
      const history = yield* History.make
      const rule = yield* proxy.onRequest(commits(5), "cutAfterReply")
      const unresolved = yield* Ref.make(0)
      const one = Effect.suspend(() => {
        const id = randomUUID()
        return Effect.matchEffect(accounts.transfer(id), {
          onSuccess: () => history.acked(id),
          onFailure: (error) =>
            isReason(error, "OutcomeUnknown")
              ? // The proxy let it through: it must have been applied, and is found by its id.
                Effect.andThen(
                  history.unknown(id),
                  Effect.flatMap(patiently(accounts.isApplied(id)), (applied) =>
                    Ref.update(unresolved, (n) => n + (applied ? 0 : 1))
                  )
                )
              : history.failed(id)
        })
      })
      yield* Effect.forEach(Array.from({ length: transfers }), () => one, { concurrency: fibers, discard: true })
      const fired = yield* rule.fired
      yield* proxy.heal
      const verdict = yield* history.verdict(yield* accounts.applied)
      const missing = total - (yield* accounts.sum)
      return { ...verdict, extra: { fired, unresolved: yield* Ref.get(unresolved), missing } }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ extra, unknown }) => [
    ...(unknown > 0 && unknown === extra!["fired"] ? [] : [`${unknown} unknown of ${extra!["fired"]} lost replies`]),
    ...(extra!["unresolved"] === 0 ? [] : [`${extra!["unresolved"]} were committed and not found`]),
    ...(extra!["missing"] === 0 ? [] : [`${extra!["missing"]} of the money is missing`])
  ]
})

const blackhole = Fault.scenario({
  id: "F37",
  room: "pg",
  title: "nothing passes the link for a while, and nobody is told",
  servers: ["postgres"],
  scaled: { holeMillis: 1_500, perSecond: 50 },
  full: { holeMillis: 20_000, perSecond: 100 },
  run: ({ holeMillis, perSecond }, seed) =>
    Effect.gen(function* () {
      const address = yield* realDatabase
      const proxy = yield* FaultProxy.make({ ...address, seed })
      const sql = yield* clientOf({ ...address, host: "127.0.0.1", port: proxy.port })
      const accounts = bank(sql, 100)
      yield* accounts.create
      const history = yield* History.make
      const answers = yield* Recorder.make<number>()
      const longest = yield* Ref.make(0)
      const noise = yield* Ref.make(0)
      const timedOut = yield* Ref.make(0)
      // A transfer now and then: BEGIN, COMMIT and ROLLBACK must let go too.
      const call = Effect.gen(function* () {
        const id = randomUUID()
        const isTransfer = (yield* Random.next) < 0.3
        const begun = yield* Clock.currentTimeMillis
        const statement: Effect.Effect<unknown, unknown> = isTransfer ? accounts.transfer(id) : sql`SELECT 1`
        const exit = yield* Effect.exit(Effect.timeout(statement, "1 second"))
        const now = yield* Clock.currentTimeMillis
        yield* Ref.update(longest, (max) => Math.max(max, now - begun))
        if (Exit.isSuccess(exit)) {
          yield* answers.record(now)
          if (isTransfer) yield* history.acked(id)
        } else if (Cause.isTimeoutError(Cause.squash(exit.cause))) {
          yield* Ref.update(timedOut, (n) => n + 1)
        }
      })
      // How late a timeout fires here that has nothing to wait for: the machine's own share.
      const idle = Effect.gen(function* () {
        const [spent] = yield* Effect.timed(Effect.timeoutOption(Effect.never, "1 second"))
        yield* Ref.update(noise, (max) => Math.max(max, Math.round(Duration.toMillis(spent) - 1_000)))
      })
      const calls = yield* FiberSet.make()
      const clock = yield* Effect.forkScoped(
        Effect.schedule(
          Effect.andThen(FiberSet.run(calls, call), FiberSet.run(calls, idle)),
          Schedule.spaced(1000 / perSecond)
        )
      )
      yield* Effect.sleep("300 millis")
      yield* proxy.blackhole
      yield* Effect.sleep(holeMillis)
      yield* proxy.heal
      const healed = yield* Clock.currentTimeMillis
      const next = yield* Effect.timeoutOption(
        answers.first((at) => at >= healed),
        "10 seconds"
      )
      yield* Fiber.interrupt(clock)
      yield* FiberSet.awaitEmpty(calls)
      const verdict = yield* history.verdict(yield* accounts.applied)
      return {
        ...verdict,
        recoverMs: next._tag === "Some" ? next.value - healed : Infinity,
        extra: {
          longestMs: yield* Ref.get(longest),
          noiseMs: yield* Ref.get(noise),
          timedOut: yield* Ref.get(timedOut)
        }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ extra, recoverMs }) => [
    ...(extra!["longestMs"]! - extra!["noiseMs"]! <= 1_200
      ? []
      : [`a caller with a timeout of 1 s was held for ${extra!["longestMs"]} ms`]),
    ...(extra!["timedOut"]! > 0 ? [] : ["no caller met the hole"]),
    ...(recoverMs <= 3_000 ? [] : [`first success ${recoverMs} ms after the heal, not within 3000`])
  ]
})

const interrupts = Fault.scenario({
  id: "F38",
  room: "pg",
  title: "callers are interrupted at random",
  servers: ["postgres"],
  scaled: { calls: 400, fibers: 6, maxConns: 8 },
  full: { calls: 10_000, fibers: 6, maxConns: 10 },
  run: ({ calls, fibers, maxConns }, seed) =>
    Effect.gen(function* () {
      const address = yield* realDatabase
      const observer = yield* clientOf({ ...address, maxConns: 1 })
      const sql = yield* clientOf({ ...address, maxConns, minConns: maxConns, acquireTimeout: Duration.seconds(60) })
      const accounts = bank(sql, 100)
      yield* accounts.create
      const total = yield* accounts.sum
      const history = yield* History.make
      const strays = yield* Ref.make<ReadonlyArray<string>>([])
      const stray = (error: unknown) => Ref.update(strays, (all) => [...all, String(error)])

      const interrupted = Effect.gen(function* () {
        const id = randomUUID()
        const kind = yield* Random.nextIntBetween(0, 2)
        const slow = sql`SELECT pg_sleep(${(yield* Random.next) * 0.03}::float8)`
        const mixed: ReadonlyArray<Effect.Effect<unknown, unknown>> = [slow, sql`SELECT 1`, accounts.transfer(id)]
        const fiber = yield* Effect.forkChild(mixed[kind]!)
        // Some are left in peace, so that on a slow machine too not everything is interrupted.
        if ((yield* Random.next) < 0.9) {
          yield* Effect.sleep((yield* Random.next) * 20)
          yield* Fiber.interrupt(fiber)
        }
        const exit = yield* Fiber.await(fiber)
        if (Exit.isFailure(exit)) {
          if (!Cause.hasInterruptsOnly(exit.cause)) yield* stray(Cause.squash(exit.cause))
          if (kind === 2) yield* history.unknown(id)
        } else if (kind === 2) yield* history.acked(id)
      })
      // Callers that nobody interrupts, in the same sessions: none of them may notice.
      const bystander = Effect.catch(Pg.run(sql`SELECT pg_sleep(0.001)`), stray)
      const { stop } = yield* load(2, bystander)

      const sessions = observer<{ state: string | null }>`
        SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
          AND backend_type = 'client backend'`
      const most = yield* Ref.make(0)
      const watch = yield* Effect.forkScoped(
        Effect.repeat(
          Effect.flatMap(sessions, (rows) => Ref.update(most, (max) => Math.max(max, rows.length))),
          Schedule.spaced("5 millis")
        )
      )
      yield* Effect.forEach(Array.from({ length: calls }), () => interrupted, { concurrency: fibers, discard: true })
      yield* stop
      yield* Fiber.interrupt(watch)
      const busy = Effect.map(sessions, (rows) => rows.filter(({ state }) => state !== "idle").length)
      const left = yield* Effect.timeoutOption(
        Effect.repeat(busy, { until: (n) => n === 0, schedule: Schedule.spaced("10 millis") }),
        "1 second"
      )
      const verdict = yield* history.verdict(yield* accounts.applied)
      const missing = total - (yield* accounts.sum)
      for (const error of yield* Ref.get(strays)) yield* Effect.logError(error)
      return {
        ...verdict,
        extra: {
          strays: (yield* Ref.get(strays)).length,
          stillBusy: left._tag === "Some" ? 0 : yield* busy,
          mostSessions: yield* Ref.get(most),
          missing
        }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ acked, extra, unknown }, { maxConns }) => [
    ...(extra!["strays"] === 0 ? [] : [`${extra!["strays"]} errors to callers that were not interrupted`]),
    ...(extra!["stillBusy"] === 0 ? [] : [`${extra!["stillBusy"]} sessions still busy after a second`]),
    ...(extra!["mostSessions"]! <= maxConns ? [] : [`${extra!["mostSessions"]} sessions, more than ${maxConns}`]),
    ...(extra!["missing"] === 0 ? [] : [`${extra!["missing"]} of the money is missing`]),
    ...(acked > 0 && unknown > 0 ? [] : [`${acked} transactions came through and ${unknown} were interrupted`])
  ]
})

export default [killed, cutAtCommit, blackhole, interrupts]

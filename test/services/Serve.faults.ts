import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fault from "../faults/Fault.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import { isMissing, servers } from "../support/Servers.ts"
import * as TemporaryDatabase from "../support/TemporaryDatabase.ts"
import * as ServeProcess from "./ServeProcess.ts"

/** What is wrong with the end of a process; nothing, when it is right. */
type Complaints = ReadonlyArray<string>

const complain = (what: string, conditions: Readonly<Record<string, boolean>>): Complaints =>
  Object.entries(conditions)
    .filter(([, isRight]) => !isRight)
    .map(([condition]) => `${what}: ${condition}`)

/** SIGTERM at some moment of the start: an orderly end, or the signal's own before there is anything to close. */
const duringStart = (delay: number): Effect.Effect<Complaints, never, Scope.Scope> =>
  Effect.gen(function* () {
    const serve = yield* ServeProcess.start(["--infra", "embedded"])
    yield* Effect.sleep(delay)
    yield* serve.kill("SIGTERM")
    const { code, signal, millis } = yield* serve.ended
    return complain(`SIGTERM ${delay} ms after the start (code ${code}, signal ${signal}, ${millis} ms)`, {
      "ends with code 0, or by the signal": code === 0 || signal === "SIGTERM",
      "ends within 10 s": millis <= 10_000,
      "leaves nothing": serve.leftovers().length === 0
    })
  })

/** A service whose servers nothing reaches any more. */
const onBlackholedServers = Effect.gen(function* () {
  const { etcd, postgres, redis } = servers
  if (isMissing(postgres)) return yield* Effect.die(postgres.missing)
  if (isMissing(redis)) return yield* Effect.die(redis.missing)
  if (isMissing(etcd)) return yield* Effect.die(etcd.missing)
  const { database, password, user } = yield* TemporaryDatabase.make(postgres)
  const toPostgres = yield* FaultProxy.make({ host: postgres.host, port: postgres.port, seed: 1 })
  const toRedis = yield* FaultProxy.make({ host: redis.host, port: redis.port, seed: 1 })
  const toEtcd = yield* FaultProxy.make({ host: etcd.host, port: etcd.port, seed: 1 })
  const serve = yield* ServeProcess.start(["--infra", "live", "--services", "game"], {
    XDOORIA_DATABASE_HOST: "127.0.0.1",
    XDOORIA_DATABASE_PORT: String(toPostgres.port),
    XDOORIA_DATABASE_USER: user,
    XDOORIA_DATABASE_PASSWORD: password,
    XDOORIA_DATABASE_DATABASE: database,
    XDOORIA_REDIS_ADDRS: `127.0.0.1:${toRedis.port}`,
    XDOORIA_ETCD_ENDPOINTS: `127.0.0.1:${toEtcd.port}`,
    XDOORIA_AUTH_SECRET: "a-secret-of-tests-alone-0123456789"
  })
  yield* serve.address
  yield* Effect.all([toPostgres.blackhole, toRedis.blackhole, toEtcd.blackhole])
  return serve
})

const onBlackhole: Effect.Effect<Complaints, never, Scope.Scope> = Effect.gen(function* () {
  const serve = yield* onBlackholedServers
  yield* serve.kill("SIGTERM")
  const { code, millis } = yield* serve.ended
  return complain(`SIGTERM with the servers away (code ${code}, ${millis} ms)`, {
    "ends with code 0": code === 0,
    "ends within 10 s": millis <= 10_000
  })
})

const twice: Effect.Effect<Complaints, never, Scope.Scope> = Effect.gen(function* () {
  const serve = yield* onBlackholedServers
  yield* serve.kill("SIGTERM")
  // Together with the first: what Ctrl-C does under npm.
  yield* serve.kill("SIGINT")
  const pressedAgain = Effect.andThen(Effect.sleep("510 millis"), serve.kill("SIGTERM"))
  yield* Effect.forkScoped(pressedAgain)
  const { code, millis } = yield* serve.ended
  return complain(`SIGTERM twice (code ${code}, ${millis} ms)`, {
    "ends at once, with code 1, or in order before the second": code === 1 || code === 0,
    "ends within a second of the second": millis <= 1_510
  })
})

export default [
  Fault.scenario({
    id: "F66",
    room: "services",
    title: "SIGTERM during the start, twice, and with the servers away",
    servers: ["postgres", "redis", "etcd"],
    scaled: { delays: [700] },
    full: { delays: Array.from({ length: 30 }, (_, i) => i * 100) },
    run: ({ delays }) =>
      Effect.gen(function* () {
        const rounds = [...delays.map(duringStart), onBlackhole, twice]
        const complaints = yield* Effect.forEach(rounds, Effect.scoped, { concurrency: 2 })
        return {
          acked: complaints.filter((round) => round.length === 0).length,
          lost: 0,
          duplicated: 0,
          unknown: 0,
          maxOutageMs: 0,
          recoverMs: 0,
          complaints: complaints.flat()
        }
      }),
    judge: ({ complaints }) => complaints
  })
]

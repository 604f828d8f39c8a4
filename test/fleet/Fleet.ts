// A fleet as an operator runs it: each service a process of its own, on real servers that are the fleet's alone. Its
// instances can be killed, frozen and rolled.
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as EtcdServer from "../support/EtcdServer.ts"
import * as Ports from "../support/Ports.ts"
import * as RedisServer from "../support/RedisServer.ts"
import type { Addresses } from "../support/Servers.ts"
import * as TemporaryDatabase from "../support/TemporaryDatabase.ts"
import * as ServeProcess from "../services/ServeProcess.ts"

/** A service of the fleet. */
export type ServiceName = "auth" | "game" | "gateway"

/** One process, which comes back at the same address. */
export interface Instance {
  readonly service: ServiceName
  readonly address: string
  readonly output: () => string
  /** Ends it at once. */
  readonly kill: Effect.Effect<void>
  /** Ends it in order; gives how long that took, in milliseconds, and its exit code. */
  readonly stop: Effect.Effect<ServeProcess.Ended>
  /** Starts it again after it has ended, and waits until it serves. */
  readonly start: Effect.Effect<void>
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
}

/** The servers that the fleet runs on, and its instances. */
export interface Fleet {
  readonly etcd: Effect.Success<ReturnType<typeof EtcdServer.start>>
  readonly redis: Effect.Success<ReturnType<typeof RedisServer.start>>
  readonly database: Addresses["postgres"]
  readonly instances: ReadonlyArray<Instance>
  /** A further instance, with variables of its own; it ends with the scope. */
  readonly add: (
    service: ServiceName,
    variables?: Readonly<Record<string, string>>
  ) => Effect.Effect<Instance, never, Scope.Scope>
}

/** The instances of a service. */
export const of = ({ instances }: Fleet, service: ServiceName): ReadonlyArray<Instance> =>
  instances.filter((instance) => instance.service === service)

const instanceOf = Effect.fnUntraced(function* (
  service: ServiceName,
  port: number,
  variables: Readonly<Record<string, string>>
) {
  const owner = yield* Effect.scope
  const begin = Effect.gen(function* () {
    const scope = yield* Scope.fork(owner)
    const flags = ["--services", service, "--env", "test", "--infra", "live"]
    const process = yield* ServeProcess.start(flags, { ...variables, XDOORIA_SERVER_PORT: String(port) }).pipe(
      Scope.provide(scope)
    )
    yield* process.address
    return { process, scope }
  })
  let running = yield* begin
  const signal = (name: NodeJS.Signals) => Effect.suspend(() => running.process.kill(name))
  const ended = Effect.suspend(() => Effect.tap(running.process.ended, () => Scope.close(running.scope, Exit.void)))
  const instance: Instance = {
    service,
    address: `127.0.0.1:${port}`,
    output: () => running.process.output(),
    kill: Effect.asVoid(Effect.andThen(signal("SIGKILL"), ended)),
    stop: Effect.andThen(signal("SIGTERM"), ended),
    start: Effect.map(begin, (next) => {
      running = next
    }),
    freeze: signal("SIGSTOP"),
    thaw: signal("SIGCONT")
  }
  return instance
})

/**
 * Starts a fleet; all of it ends with the scope.
 *
 * - `postgres`: the server that its databases are made on
 * - `services`: which, one for each instance
 * - `variables`: for all of them
 */
export const start = Effect.fnUntraced(function* (
  postgres: Addresses["postgres"],
  services: ReadonlyArray<ServiceName>,
  variables: Readonly<Record<string, string>> = {}
) {
  const [etcd, redis] = yield* Effect.all([EtcdServer.start(), RedisServer.start()], { concurrency: "unbounded" })
  const [accounts, players] = yield* Effect.all([TemporaryDatabase.make(postgres), TemporaryDatabase.make(postgres)])
  const shared = {
    XDOORIA_ETCD_ENDPOINTS: `127.0.0.1:${etcd.port}`,
    XDOORIA_REDIS_ADDRS: `127.0.0.1:${redis.port}`,
    XDOORIA_REDIS_PASSWORD: "",
    XDOORIA_DATABASE_HOST: postgres.host,
    XDOORIA_DATABASE_PORT: String(postgres.port),
    XDOORIA_DATABASE_USER: postgres.user,
    XDOORIA_DATABASE_PASSWORD: postgres.password,
    XDOORIA_AUTH_SECRET: "a secret of the tests, of 32 bytes and more",
    XDOORIA_GRPC_TRUSTED_PROXIES: "127.0.0.1",
    XDOORIA_LOG_LEVEL: "info",
    ...variables
  }
  const databases: Readonly<Record<ServiceName, string>> = {
    auth: accounts.database,
    game: players.database,
    gateway: players.database
  }
  const add = (service: ServiceName, own: Readonly<Record<string, string>> = {}) =>
    Effect.flatMap(Ports.free, (port) =>
      instanceOf(service, port, { ...shared, XDOORIA_DATABASE_DATABASE: databases[service], ...own })
    )
  // One after the other: two that migrate at once wait for each other anyway, and two cores have no more to give.
  const instances = yield* Effect.forEach(services, (service) => add(service))
  return { etcd, redis, database: players, instances, add } satisfies Fleet as Fleet
})

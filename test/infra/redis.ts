// Redis, from the programs that Debian packages.
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { join } from "node:path"
import * as RedisServer from "../support/RedisServer.ts"
import { isExecutable, run, type Server, Unavailable } from "./Server.ts"

/** Where a Redis is. */
export interface Redis {
  readonly host: string
  readonly port: number
  readonly password?: string
}

/** Where the six nodes of a cluster are; the port is the first one's. */
export interface RedisCluster {
  readonly port: number
  readonly nodes: ReadonlyArray<{ readonly host: string; readonly port: number }>
}

/** Where sentinels are, and what they call the primary that they watch; the port is the first one's. */
export interface RedisSentinel {
  readonly port: number
  readonly name: string
  readonly sentinels: ReadonlyArray<{ readonly host: string; readonly port: number }>
}

const packages = ["redis-server", "redis-tools"]
const programs = ["redis-server", "redis-cli"]

const isOnPath = (program: string): boolean =>
  (process.env["PATH"] ?? "").split(":").some((folder) => isExecutable(join(folder, program)))

const aptGet = (...args: ReadonlyArray<string>): Effect.Effect<string, Unavailable> =>
  run("apt-get", args, { env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } })

const check: Effect.Effect<void, Unavailable> = Effect.suspend(() => {
  const missing = programs.filter((program) => !isOnPath(program))
  if (missing.length === 0) return Effect.void
  const message = `not on the path: ${missing.join(", ")}; Debian has them in ${packages.join(", ")}`
  return Effect.fail(new Unavailable({ message }))
})

const install: Effect.Effect<void, Unavailable> = Effect.catch(check, ({ message }) => {
  if (process.getuid?.() !== 0 || !isOnPath("apt-get")) {
    const command = `sudo apt-get install --no-install-recommends ${packages.join(" ")}`
    return Effect.fail(new Unavailable({ message: `${message}: run \`${command}\`` }))
  }
  return aptGet("update").pipe(
    Effect.andThen(aptGet("install", "--yes", "--no-install-recommends", ...packages)),
    // The package starts a server of the system, and at each boot; nobody has asked for that one.
    Effect.andThen(Effect.ignore(run("service", ["redis-server", "stop"]))),
    Effect.andThen(Effect.ignore(run("update-rc.d", ["redis-server", "disable"]))),
    Effect.andThen(check)
  )
})

/** What was started stays, unless the start fails. */
const staying = <A>(start: Effect.Effect<A, Unavailable, Scope.Scope>): Effect.Effect<A, Unavailable> =>
  Effect.gen(function* () {
    yield* check
    const scope = yield* Scope.make()
    return yield* start.pipe(
      Scope.provide(scope),
      Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
    )
  })

export const redis: Server<Redis> = {
  install,
  start: (folder) =>
    Effect.map(staying(RedisServer.start({ folder })), ({ host, pid, port }) => ({
      address: { host, port },
      pids: [pid]
    })),
  stopSignal: "SIGTERM",
  compose: {
    service: "redis",
    portVariable: "XDOORIA_REDIS_PORT",
    port: 6379,
    address: (port) => ({ host: "127.0.0.1", port })
  }
}

const addressesOf = (nodes: ReadonlyArray<RedisServer.Node>) => nodes.map(({ host, port }) => ({ host, port }))

const pidsOf = (nodes: ReadonlyArray<RedisServer.Node>) => nodes.map(({ pid }) => pid)

export const redisCluster: Server<RedisCluster> = {
  install,
  start: (folder) =>
    Effect.map(staying(RedisServer.cluster({ folder })), ({ nodes }) => ({
      address: { port: nodes[0]!.port, nodes: addressesOf(nodes) },
      pids: pidsOf(nodes)
    })),
  stopSignal: "SIGTERM"
}

export const redisSentinel: Server<RedisSentinel> = {
  install,
  start: (folder) =>
    Effect.map(staying(RedisServer.sentinel({ folder })), ({ name, nodes, sentinels }) => ({
      address: { port: sentinels[0]!.port, name, sentinels: addressesOf(sentinels) },
      pids: pidsOf([...nodes, ...sentinels])
    })),
  stopSignal: "SIGTERM"
}

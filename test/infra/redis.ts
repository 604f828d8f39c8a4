// Redis, from the programs that Debian packages.
import * as Effect from "effect/Effect"
import * as RedisServer from "../support/RedisServer.ts"
import { debian } from "./debian.ts"
import type { Server } from "./Server.ts"

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

const { install, start } = debian({
  packages: ["redis-server", "redis-tools"],
  programs: ["redis-server", "redis-cli"],
  service: "redis-server"
})

export const redis: Server<Redis> = {
  install,
  start: (folder) =>
    Effect.map(start(RedisServer.start({ folder })), ({ host, pid, port }) => ({
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
    Effect.map(start(RedisServer.cluster({ folder })), ({ nodes }) => ({
      address: { port: nodes[0]!.port, nodes: addressesOf(nodes) },
      pids: pidsOf(nodes)
    })),
  stopSignal: "SIGTERM"
}

export const redisSentinel: Server<RedisSentinel> = {
  install,
  start: (folder) =>
    Effect.map(start(RedisServer.sentinel({ folder })), ({ name, nodes, sentinels }) => ({
      address: { port: sentinels[0]!.port, name, sentinels: addressesOf(sentinels) },
      pids: pidsOf([...nodes, ...sentinels])
    })),
  stopSignal: "SIGTERM"
}

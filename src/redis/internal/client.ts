import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Cluster, type ClusterOptions, Redis, type RedisOptions as DriverOptions } from "ioredis"
import type { RedisOptions } from "../Redis.ts"

/** The driver's client: one connection, or one to each node of a cluster. */
export type Client = Redis | Cluster

const addressOf = (address: string): { readonly host: string; readonly port: number } => {
  const colon = address.lastIndexOf(":")
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, "$1"), port: Number(address.slice(colon + 1)) }
}

const backoff = (times: number): number => Math.min(50 * 2 ** Math.min(times, 6), 1000)

const driverOptions = (options: RedisOptions) => {
  const password = Redacted.value(options.password)
  return {
    ...(options.username === "" ? {} : { username: options.username }),
    ...(password === "" ? {} : { password }),
    connectTimeout: Duration.toMillis(options.connectTimeout),
    // What was sent is never sent again behind the caller's back, and nothing waits where its caller cannot see it.
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    stringNumbers: false
  } satisfies DriverOptions
}

/** Makes the client that the options ask for. */
export const connect = (options: RedisOptions): Client => {
  const addresses = options.addrs.map(addressOf)
  const common = driverOptions(options)
  if (options.sentinelMaster !== "") {
    const sentinelPassword = Redacted.value(options.sentinelPassword)
    return new Redis({
      ...common,
      db: options.db,
      sentinels: addresses,
      name: options.sentinelMaster,
      ...(sentinelPassword === "" ? {} : { sentinelPassword }),
      retryStrategy: backoff,
      sentinelRetryStrategy: backoff
    })
  }
  if (addresses.length === 1) return new Redis({ ...common, ...addresses[0]!, db: options.db, retryStrategy: backoff })
  const { maxRetriesPerRequest: _, enableOfflineQueue: __, ...redisOptions } = common
  return new Cluster(addresses, {
    redisOptions,
    enableOfflineQueue: false,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    clusterRetryStrategy: backoff
  } satisfies ClusterOptions)
}

/** A client that ends with the scope. */
export const scoped = (make: () => Client): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const client = make()
      // Without a listener an error of the connection would end the process.
      client.on("error", () => {})
      return client
    }),
    (client) => Effect.sync(() => client.disconnect())
  )

import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as EffectRedis from "effect/persistence/Redis"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import * as Health from "../health/Health.ts"
import { tlsOf } from "../utils/Tls.ts"
import { effectRedis } from "./internal/effectRedis.ts"
import { batch } from "./internal/batch.ts"
import { Calls } from "./internal/Calls.ts"
import type { DialOptions } from "./internal/Connection.ts"
import { Nodes, type NodesOptions } from "./internal/Nodes.ts"
import { Pool } from "./internal/Pool.ts"
import { scan } from "./internal/scan.ts"
import { make as makeSubscribe } from "./internal/subscribe.ts"
import { transaction } from "./internal/Transaction.ts"
import { watch as watchKeys } from "./internal/watch.ts"
import { Redis, RedisConfig, type RedisOptions } from "./Redis.ts"
import { RedisFailure } from "./RedisError.ts"

const defaults: RedisOptions = Schema.decodeSync(RedisConfig.schema)({})

const kindOf = ({ addrs, sentinelMaster }: RedisOptions): NodesOptions["kind"] =>
  sentinelMaster !== "" ? "sentinel" : addrs.length > 1 ? "cluster" : "single"

const makeNodes = Effect.fnUntraced(function* (options: RedisOptions) {
  const { service } = yield* Config.Current
  const kind = kindOf(options)
  const dial: DialOptions = {
    username: options.username,
    password: options.password,
    tls: yield* tlsOf(options, "redis.tls_ca_file"),
    connectTimeout: Duration.toMillis(options.connectTimeout),
    name: service,
    db: options.db,
    primaryOnly: kind === "sentinel"
  }
  return yield* Nodes.make({
    addresses: options.addrs,
    kind,
    dial,
    primaryName: options.sentinelMaster,
    sentinel: { ...dial, username: "", password: options.sentinelPassword, db: 0, primaryOnly: false }
  })
})

/** Waits for all servers to be connected for the first time. What another try cannot mend fails at once. */
const awaitServers = (nodes: Nodes, at: string, startTimeout: Duration.Duration): Effect.Effect<void, RedisFailure> => {
  let told = ""
  const look = Effect.suspend(() => {
    const { problem } = nodes
    if (problem === undefined) return Effect.succeed(true)
    const error = new RedisFailure({ reason: problem, at })
    if (!problem.isRetryable) return Effect.fail(error)
    const isNew = nodes.hasTried && error.message !== told
    if (isNew) told = error.message
    return Effect.as(isNew ? Effect.logInfo(`waiting for ${error.message}`) : Effect.void, false)
  })
  return look.pipe(
    Effect.repeat({ until: (isDone) => isDone, schedule: Schedule.spaced("10 millis") }),
    Effect.timeoutOrElse({
      duration: startTimeout,
      orElse: () => Effect.fail(new RedisFailure({ reason: nodes.problemOf(undefined), at }))
    }),
    Effect.asVoid
  )
}

/** Tells `health` and the log when servers go and come back. Looks once a second. */
const watch = Effect.fnUntraced(function* (nodes: Nodes, at: string) {
  const reporter = yield* Health.Reporter
  let wasUp = true
  const tell = Effect.suspend(() => {
    const problem = nodes.problem?.message
    const isUp = problem === undefined
    const hasChanged = isUp !== wasUp
    wasUp = isUp
    const state: Health.HealthState = isUp ? { status: "up" } : { status: "down", detail: problem }
    const line = isUp ? Effect.logInfo(`redis ${at}: up again`) : Effect.logWarning(`redis ${at}: down: ${problem}`)
    return Effect.andThen(hasChanged ? line : Effect.void, reporter.report("redis", state))
  })
  yield* Effect.addFinalizer(() => reporter.forget("redis"))
  yield* tell
  yield* Effect.forkScoped(Effect.schedule(tell, Schedule.spaced("1 second")))
})

/**
 * Connects to the servers; what is not given has the default of RedisConfig.
 *
 * Fails with RedisFailure, `at` naming the servers, when they cannot be reached for `startTimeout`, and at once when they
 * refuse the user, the password, or TLS; with InvalidConfig when `tlsCaFile` cannot be read. Afterwards it reconnects for
 * ever and reports `redis` to health. The connections end with the scope.
 */
export const makeLive = (
  options: Partial<RedisOptions> = {}
): Effect.Effect<Redis["Service"], RedisFailure | InvalidConfig, Scope.Scope> =>
  Effect.gen(function* () {
    const values = { ...defaults, ...options }
    const { acquireTimeout, commandTimeout, keyPrefix, poolSize } = values
    const at = values.addrs.join(",")
    const nodes = yield* makeNodes(values)
    yield* awaitServers(nodes, at, values.startTimeout)
    yield* watch(nodes, at)
    const calls = yield* Calls.make(nodes, keyPrefix, commandTimeout)
    const pool = new Pool(nodes, { prefix: keyPrefix, size: poolSize, acquireTimeout, commandTimeout })
    const subscribe = yield* makeSubscribe(nodes, values)
    // The last to be added is the first to run: whatever ends then knows why.
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        nodes.isClosed = true
        pool.close()
      })
    )
    return Redis.of({
      run: calls.run,
      // Their replies are those of the commands, one by one.
      batch: (commands) => batch(calls, commands) as never,
      transaction: (commands) => transaction(calls, commands) as never,
      reserve: pool.reserve,
      subscribe,
      // Its replies too are those of its commands.
      watch: watchKeys(keyPrefix, pool) as never,
      scan: scan(nodes, keyPrefix, commandTimeout),
      keyPrefix,
      native: Effect.sync(() => nodes.natives)
    })
  })

/** Both: the room's, and Effect's on the same connections. */
const both = (options: Partial<RedisOptions>) =>
  Effect.map(makeLive(options), (redis) =>
    Context.make(Redis, redis).pipe(
      Context.add(EffectRedis.Redis, effectRedis(redis, kindOf({ ...defaults, ...options }) === "cluster"))
    )
  )

/** As {@link RedisLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = (
  options: Partial<RedisOptions> = {}
): Layer.Layer<Redis | EffectRedis.Redis, RedisFailure | InvalidConfig> => Layer.effectContext(both(options))

/**
 * The servers of section `redis`, see {@link makeLive}; also as Effect's Redis, for its rate limiter, caches, queues and
 * circuit breakers.
 */
export const RedisLive: Layer.Layer<Redis | EffectRedis.Redis, RedisFailure | InvalidConfig> = Layer.effectContext(
  Effect.flatMap(Config.get(RedisConfig), both)
)

import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import * as Command from "./Command.ts"
import { type Client, connect, scoped } from "./internal/client.ts"
import { lost } from "./internal/classify.ts"
import { send } from "./internal/send.ts"
import { make as makeSubscribe } from "./internal/subscribe.ts"
import { Redis, RedisConfig, type RedisOptions, type Runner } from "./Redis.ts"
import { RedisFailure } from "./RedisError.ts"

const defaults: RedisOptions = Schema.decodeSync(RedisConfig.schema)({})

const startBackoff = Schedule.min([Schedule.exponential("20 millis"), Schedule.spaced("1 second")]).pipe(
  Schedule.jittered
)

const runnerOf = (client: Client, options: RedisOptions): Runner => ({
  run: (command) =>
    send(client, command, options.keyPrefix).pipe(
      Effect.retry({ while: (error) => error.isRetryable && error.isSafeToRetry, schedule: startBackoff }),
      Effect.timeoutOrElse({
        duration: options.commandTimeout,
        orElse: () =>
          Effect.fail(
            new RedisFailure({
              reason: lost("no reply in time", { wasSent: true, isIdempotent: command.isIdempotent }),
              command: command.name
            })
          )
      })
    )
})

const ping = Command.make("PING", [], Command.text, { idempotent: true })

/**
 * Connects to a server; what is not given has the default of RedisConfig.
 *
 * Fails with RedisFailure, `at` naming the servers, when none can be reached for `startTimeout`. Afterwards it reconnects
 * for ever. The connections end with the scope.
 */
export const makeLive = (
  options: Partial<RedisOptions> = {}
): Effect.Effect<Redis["Service"], RedisFailure | InvalidConfig, Scope.Scope> =>
  Effect.gen(function* () {
    const values = { ...defaults, ...options }
    const client = yield* scoped(() => connect(values))
    const { run } = runnerOf(client, values)
    yield* run(ping).pipe(
      Effect.retry({ while: (error) => error.isRetryable, schedule: startBackoff }),
      Effect.timeoutOrElse({
        duration: values.startTimeout,
        orElse: () =>
          Effect.fail(new RedisFailure({ reason: lost("no answer", { wasSent: false, isIdempotent: true }) }))
      }),
      Effect.mapError(({ reason }) => new RedisFailure({ reason, at: values.addrs.join(",") }))
    )
    return Redis.of({
      run,
      batch: (commands) =>
        Effect.forEach(commands, (command) => Effect.result(run(command)), { concurrency: "unbounded" }) as never,
      transaction: (commands) => Effect.forEach(commands, run) as never,
      reserve: Effect.map(
        scoped(() => connect(values)),
        (own) => runnerOf(own, values)
      ),
      subscribe: yield* makeSubscribe(client, values),
      keyPrefix: values.keyPrefix,
      native: client
    })
  })

/** As {@link RedisLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = (options: Partial<RedisOptions> = {}): Layer.Layer<Redis, RedisFailure | InvalidConfig> =>
  Layer.effect(Redis, makeLive(options))

/** The servers of section `redis`. See {@link makeLive}. */
export const RedisLive: Layer.Layer<Redis, RedisFailure | InvalidConfig> = Layer.effect(
  Redis,
  Effect.flatMap(Config.get(RedisConfig), makeLive)
)

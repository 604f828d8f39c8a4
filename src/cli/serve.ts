import * as PgClient from "@effect/sql-pg/PgClient"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Config from "../config/Config.ts"
import { GrpcConfig } from "../grpc/Grpc.ts"
import { GrpcServer } from "../grpc/GrpcServer.ts"
import { Leaderboard } from "../leaderboard/Leaderboard.ts"
import { RedisConfig } from "../redis/Redis.ts"
import { type Infra, type InfraKind, loadInfra } from "../services/infra.ts"
import { loadService, type ServiceName } from "../services/services.ts"
import * as flags from "./flags.ts"
import * as Process from "./Process.ts"

/** An embedded database ends with its process, and production data with it. */
class EmbeddedInProd extends Schema.TaggedError<EmbeddedInProd>("xdooria/cli/EmbeddedInProd")("EmbeddedInProd", {}) {
  override get message(): string {
    return "--infra embedded keeps nothing when it stops, so it does not run with --env prod: use --infra live"
  }
}

/** What closing takes beyond the drain of calls: handlers, pools, an embedded database, logs. */
const closing = Duration.seconds(3)

const infra = Flag.Literals("infra", ["embedded", "live"]).pipe(
  Flag.withDescription("Servers of our own that end with us (embedded; default in dev), or those of the configuration"),
  Flag.optional
)

const kindOf = (
  env: Config.Environment,
  chosen: Option.Option<InfraKind>
): Effect.Effect<InfraKind, EmbeddedInProd> => {
  const kind = Option.getOrElse(chosen, () => (env === "dev" ? "embedded" : "live"))
  return env === "prod" && kind === "embedded" ? Effect.fail(new EmbeddedInProd()) : Effect.succeed(kind)
}

/** Which servers a service runs on, of those that its root has: a service may do without any. */
export const placesOf = Effect.fnUntraced(function* (context: Context.Context<never>, kind: InfraKind) {
  const places: Array<string> = []
  const database = Context.getOption(context, PgClient.PgClient)
  if (Option.isSome(database)) {
    const { host, port, database: name } = database.value.config
    places.push(`PostgreSQL (${kind}) on ${host}:${port}/${name}`)
  }
  if (Option.isSome(Context.getOption(context, Leaderboard))) {
    const { addrs } = yield* Context.get(context, Config.Current).get(RedisConfig)
    places.push(kind === "live" ? `Redis (live) on ${addrs.join(", ")}` : "leaderboards (embedded) in memory")
  }
  return places
})

/** Starts one service in the scope of the caller; tells what runs where, and how to try it. */
const start = Effect.fnUntraced(function* (name: ServiceName, env: Config.Environment, kind: InfraKind, infra: Infra) {
  const { examples, main } = yield* loadService(name)
  // A memo map of its own: in one process, two services must not share what their configurations tell apart.
  const context = yield* Layer.build(Layer.fresh(main({ env, infra })))
  const grpc = yield* Context.get(context, Config.Current).get(GrpcConfig)
  yield* Process.serveUntilSignal(Duration.sum(Duration.sum(grpc.drainDelay, grpc.grace), closing))
  const address = yield* Context.get(context, GrpcServer).address
  const flag = address === flags.devAddress ? "" : `--addr ${address} `
  return {
    places: [
      `  ${name.padEnd(10)} gRPC on ${address}`,
      ...(yield* placesOf(context, kind)).map((place) => `  ${"".padEnd(10)} ${place}`)
    ],
    // A server in prod has no reflection, so there is nothing to try.
    calls: env === "prod" ? [] : examples.map((example) => `  npx xdooria call ${flag}${example}`)
  }
})

/** `xdooria serve`: runs services in this process until SIGINT or SIGTERM. */
export const serve = Command.make("serve", { services: flags.services, env: flags.env, infra }, (options) =>
  Effect.gen(function* () {
    yield* Process.serveUntilSignal(Duration.zero)
    const kind = yield* kindOf(options.env, options.infra)
    const makeInfra = yield* loadInfra(kind)
    const started = yield* Effect.forEach(options.services, (name) => start(name, options.env, kind, makeInfra()))
    const calls = started.flatMap(({ calls }) => calls)
    const lines = [
      `xdooria serves (${options.env}):`,
      ...started.flatMap(({ places }) => places),
      ...(calls.length === 0 ? [] : ["try, in another terminal:", ...calls]),
      "Ctrl-C stops it."
    ]
    yield* Console.log(lines.join("\n"))
    return yield* Effect.never
  }).pipe(Effect.scoped)
).pipe(Command.withDescription("Run services in this process until Ctrl-C"))

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
import { Auth } from "../auth/Auth.ts"
import * as Config from "../config/Config.ts"
import { type ConfigIssue, describeIssue, InvalidConfig, Rejected } from "../config/ConfigError.ts"
import { checkServices, makeLive } from "../config/ConfigLive.ts"
import { GrpcConfig } from "../grpc/Grpc.ts"
import { GrpcServer } from "../grpc/GrpcServer.ts"
import { Leaderboard } from "../leaderboard/Leaderboard.ts"
import { RedisConfig } from "../redis/Redis.ts"
import { EtcdConfig, Registry } from "../registry/Registry.ts"
import { Push } from "../services/gateway/Push.ts"
import { type Infra, type InfraKind, loadInfra } from "../services/infra.ts"
import { loadService, type Service, type ServiceName, serviceNames } from "../services/services.ts"
import { Session } from "../session/Session.ts"
import { orHowToMakeIt } from "./DatabaseMissing.ts"
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

/** A service that is about to start. */
interface Planned extends Service {
  readonly name: ServiceName
  readonly config: Config.CurrentConfig
}

const issuesOf = ({ reason }: InvalidConfig): ReadonlyArray<ConfigIssue> =>
  reason._tag === "Rejected" ? reason.issues : [{ ...reason, path: "" }]

/** The faults of several services as one error; one that they share, as of a variable, is told once. */
const together = (errors: ReadonlyArray<InvalidConfig>): InvalidConfig => {
  const issues = new Map(errors.flatMap(issuesOf).map((issue) => [describeIssue(issue), issue]))
  return new InvalidConfig({ reason: new Rejected({ issues: [...issues.values()] }) })
}

/** A port is one server's: of two services with one, in one process, the second would not start. */
const checkPorts = Effect.fnUntraced(function* (planned: ReadonlyArray<Planned>) {
  const taken = new Map<number, ServiceName>()
  for (const { config, name } of planned) {
    const { port } = yield* config.get(Config.ServerConfig)
    const other = taken.get(port)
    if (other !== undefined && port !== 0) {
      const issue: ConfigIssue = {
        source: Option.getOrElse(config.sourceOf("server.port"), () => "default"),
        path: "server.port",
        expected: "a port for each service of the process, or 0",
        actual: `${port} for ${other} and for ${name}`,
        hint: `set XDOORIA_${name.toUpperCase()}__SERVER_PORT for ${name} alone`
      }
      return yield* new InvalidConfig({ reason: new Rejected({ issues: [issue] }) })
    }
    taken.set(port, name)
  }
})

/** Reads what all services will read, before any of them starts: what is wrong with one stops all, and at once. */
const plan = (names: ReadonlyArray<ServiceName>, env: Config.Environment) =>
  Effect.validate(
    names,
    Effect.fnUntraced(function* (name): Effect.fn.Return<Planned, InvalidConfig> {
      const service = yield* loadService(name)
      return { ...service, name, config: yield* makeLive(name, { env, sections: service.sections }) }
    })
  ).pipe(Effect.mapError(together), Effect.tap(checkPorts))

const inMemory = [
  ["sessions", Session],
  ["tokens", Auth],
  ["messages", Push],
  ["leaderboards", Leaderboard],
  ["registry", Registry]
] as const

/** Which servers a service runs on, of those that its root has: a service may do without any. */
export const placesOf = Effect.fnUntraced(function* (context: Context.Context<never>, kind: InfraKind) {
  const places: Array<string> = []
  const has = <I, S>(room: Context.Service<I, S>) => Option.isSome(Context.getOption(context, room))
  const database = Context.getOption(context, PgClient.PgClient)
  if (Option.isSome(database)) {
    const { host, port, database: name } = database.value.config
    places.push(`PostgreSQL (${kind}) on ${host}:${port}/${name}`)
  }
  if (kind === "embedded") {
    const rooms = inMemory.filter(([, room]) => has(room as Context.Service<unknown, unknown>)).map(([what]) => what)
    return rooms.length === 0 ? places : [...places, `${rooms.join(", ")} (embedded) in memory`]
  }
  const { get } = Context.get(context, Config.Current)
  if (has(Session) || has(Auth) || has(Push) || has(Leaderboard)) {
    places.push(`Redis (live) on ${(yield* get(RedisConfig)).addrs.join(", ")}`)
  }
  if (has(Registry)) places.push(`etcd (live) on ${(yield* get(EtcdConfig)).endpoints.join(", ")}`)
  return places
})

/** Starts one service in the scope of the caller; tells where it is and what it runs on. */
const start = Effect.fnUntraced(function* (planned: Planned, kind: InfraKind, infra: Infra) {
  const { config, examples, main, name } = planned
  const { env } = config
  // A memo map of its own: in one process, two services must not share what their configurations tell apart.
  const context = yield* Effect.catch(Layer.build(Layer.fresh(main({ env, infra }))), orHowToMakeIt(name, env))
  const address = yield* Context.get(context, GrpcServer).address
  const places = [`gRPC on ${address}`, ...(yield* placesOf(context, kind))]
  return { name, address, examples, lines: places.map((place, i) => `  ${(i === 0 ? name : "").padEnd(10)} ${place}`) }
})

/** Players have one address, that of the gateway; without one each service has its own. */
const callsOf = (started: ReadonlyArray<Effect.Success<ReturnType<typeof start>>>): ReadonlyArray<string> => {
  const gateway = started.find(({ name }) => name === flags.gateway)
  return started.flatMap(({ address, examples }) => {
    const called = gateway?.address ?? address
    const flag = called === flags.devAddress ? "" : ` --addr ${called}`
    return examples.map((example) => `  ${example.replace("xdooria call", `npx xdooria call${flag}`)}`)
  })
}

/** `xdooria serve`: runs services in this process until SIGINT or SIGTERM. */
export const serve = Command.make("serve", { services: flags.services, env: flags.env, infra }, (options) =>
  Effect.gen(function* () {
    yield* Process.serveUntilSignal(Duration.zero)
    const kind = yield* kindOf(options.env, options.infra)
    for (const issue of checkServices(serviceNames)) yield* Console.error(`warning: ${describeIssue(issue)}`)
    const planned = yield* plan(options.services, options.env)
    // They stop one after the other, those that others call last.
    const drains = yield* Effect.forEach(planned, ({ config }) => config.get(GrpcConfig))
    const needed = drains.map(({ drainDelay, grace }) => Duration.sum(drainDelay, grace))
    yield* Process.serveUntilSignal(needed.reduce(Duration.sum, closing))
    const makeInfra = yield* loadInfra(kind)
    const started = yield* Effect.forEach(planned, (service) => start(service, kind, makeInfra()))
    // A server in prod has no reflection, so there is nothing to try.
    const calls = options.env === "prod" ? [] : callsOf(started)
    const lines = [
      `xdooria serves (${options.env}):`,
      ...started.flatMap(({ lines }) => lines),
      ...(calls.length === 0 ? [] : ["try, in another terminal:", ...calls]),
      "Ctrl-C stops it."
    ]
    yield* Console.log(lines.join("\n"))
    return yield* Effect.never
  }).pipe(Effect.scoped)
).pipe(Command.withDescription("Run services in this process until Ctrl-C"))

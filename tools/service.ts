// What a new service begins with. It is a service of its own from the first line: it has a method that needs to know its
// caller, a request that is checked, an error that callers can tell, a key in its configuration, and a test of each.

/** A service: its name in lower case and as in a class, and its port on the machine of a developer. */
export interface NewService {
  readonly name: string
  readonly Name: string
  readonly port: number
}

const proto = ({ name, Name }: NewService): string => `syntax = "proto3";

package ${name};

// The ${name} service.
service ${Name}Service {
  // Answers while the process can serve. Needs no identity.
  rpc HealthCheck(HealthCheckRequest) returns (HealthCheckResponse);
  // Gives back what the caller says, and who said it. INVALID_ARGUMENT when it is longer than the service takes.
  rpc Say(SayRequest) returns (SayResponse);
}

message HealthCheckRequest {}

message HealthCheckResponse {
  string status = 1;
}

message SayRequest {
  // 1 character or more
  string text = 1;
}

message SayResponse {
  string player_id = 1;
  string text = 2;
}
`

const errors = () => `import * as Schema from "effect/Schema"
import * as Grpc from "../../grpc/Grpc.ts"

/**
 * The text is longer than the service takes.
 *
 * - \`limit\`: how many characters it takes
 */
export class TextTooLong extends Grpc.TaggedError<TextTooLong>()(
  "TextTooLong",
  { limit: Schema.Int },
  { status: "INVALID_ARGUMENT" }
) {}
`

const api = ({ name, Name }: NewService) => `import * as Schema from "effect/Schema"
import { ${Name}ServiceService } from "../../gen/${name}.ts"
import * as Grpc from "../../grpc/Grpc.ts"
import { TextTooLong } from "./errors.ts"

/** The methods of the ${name} service: what each takes and the errors that it declares, for its server and every client. */
export const ${Name}Api = Grpc.api(${Name}ServiceService, {
  healthCheck: { idempotent: true, public: true },
  say: { request: Schema.Struct({ text: Schema.NonEmptyString }), errors: [TextTooLong], idempotent: true }
})
`

const handlers = ({ name, Name }: NewService) => `import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Config from "../../config/Config.ts"
import { Principal } from "../../grpc/Authenticator.ts"
import * as Grpc from "../../grpc/Grpc.ts"
import { ${Name}Api } from "./api.ts"
import { TextTooLong } from "./errors.ts"

/** Section \`${name}\`. */
export const ${Name}Config = Config.section("${name}", {
  maxLength: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10_000 })).pipe(
    Config.withDefault(200),
    Schema.annotate({ description: "Longest text, in characters, 1 to 10000" })
  )
})

/** The methods of the ${name} service. */
export const ${Name}Handlers = Grpc.handlers(
  ${Name}Api,
  Effect.gen(function* () {
    const { maxLength } = yield* Config.get(${Name}Config)
    return {
      healthCheck: () => Effect.succeed({ status: "SERVING" }),
      say: Effect.fnUntraced(function* ({ text }) {
        if (text.length > maxLength) return yield* new TextTooLong({ limit: maxLength })
        const { playerId } = yield* Principal
        return { playerId, text }
      })
    }
  })
)
`

const app = ({ name, Name }: NewService) => `import * as Layer from "effect/Layer"
import { descriptors } from "../../gen/descriptors.ts"
import { GrpcServer } from "../../grpc/GrpcServer.ts"
import { Registry } from "../../registry/Registry.ts"
import { ${Name}Api } from "./api.ts"
import { ${Name}Handlers } from "./handlers.ts"

/** What the ${name} service is, open: it asks for a gRPC server, who calls, and the registry. */
export const ${Name}App = Registry.layerSelf(${Name}Api.service).pipe(
  Layer.provideMerge(GrpcServer.serve(${Name}Handlers, { descriptors }))
)
`

const main = ({ name, Name }: NewService) => `import * as Layer from "effect/Layer"
import { Auth } from "../../auth/Auth.ts"
import { ConfigLive } from "../../config/ConfigLive.ts"
import { GrpcServerLive } from "../../grpc/GrpcServerLive.ts"
import { HealthLive } from "../../health/HealthLive.ts"
import { LoggerLive } from "../../logger/LoggerLive.ts"
import type { Service } from "../services.ts"
import { ${Name}App } from "./app.ts"
import { ${Name}Config } from "./handlers.ts"

/** It has no tables. */
export const migrations: Service["migrations"] = []

/** Beside the rooms' sections. */
export const sections: Service["sections"] = [${Name}Config]

/** For a newcomer to try. */
export const examples: Service["examples"] = [
  \`xdooria call --token "$TOKEN" ${name}.${Name}Service/Say '{"text":"hello"}'\`
]

/**
 * What the ${name} service runs on. Read bottom-up: each line may use all below it and closes before it.
 *
 * - \`env\`: which folder of config/ it reads
 * - \`infra\`: the tokens and the registry, real or embedded
 */
export const main: Service["main"] = ({ env, infra }) =>
  ${Name}App.pipe(
    Layer.provideMerge(GrpcServerLive),
    Layer.provideMerge(Auth.layerAuthenticator),
    Layer.provideMerge(Layer.merge(infra.auth, infra.registry)),
    Layer.provideMerge(Layer.merge(LoggerLive, HealthLive)),
    Layer.provideMerge(ConfigLive("${name}", { env, sections }))
  )
`

const test = ({ name, Name }: NewService) => `import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ConfigTest } from "xdooria/config"
import { Authenticator, GrpcEmbedded, GrpcError } from "xdooria/grpc"
import { LoggerTest } from "xdooria/logger"
import { Registry, RegistryEmbedded } from "xdooria/registry"
import { ${Name}Api } from "../../src/services/${name}/api.ts"
import { ${Name}App } from "../../src/services/${name}/app.ts"
import { ${Name}Config } from "../../src/services/${name}/handlers.ts"

const ${Name}Test = ${Name}App.pipe(
  Layer.provideMerge(GrpcEmbedded),
  Layer.provideMerge(RegistryEmbedded),
  Layer.provideMerge(Authenticator.layerStatic({ "token-of-ann": { playerId: "ann", roles: [], tokenId: "t1" } })),
  Layer.provideMerge(LoggerTest),
  Layer.provideMerge(
    ConfigTest({ server: { port: 0 }, grpc: { drain_delay: 0 }, ${name}: { max_length: 5 } }, { sections: [${Name}Config] })
  )
)

const ann = { metadata: { authorization: "Bearer token-of-ann" } }

layer(${Name}Test, { excludeTestServices: true })("the ${name} service", (it) => {
  it.effect("says that it serves, to anybody who finds it", () =>
    Effect.gen(function* () {
      const ${name} = yield* Registry.client(${Name}Api)
      assert.deepStrictEqual(yield* ${name}.healthCheck({}), { status: "SERVING" })
    })
  )

  it.effect("gives back what its caller says", () =>
    Effect.gen(function* () {
      const ${name} = yield* Registry.client(${Name}Api)
      assert.deepStrictEqual(yield* ${name}.say({ text: "hello" }, ann), { playerId: "ann", text: "hello" })
    })
  )

  it.effect("refuses a text that is too long, and says how long it may be", () =>
    Effect.gen(function* () {
      const ${name} = yield* Registry.client(${Name}Api)
      const error = yield* Effect.flip(${name}.say({ text: "hello!" }, ann))
      assert.deepInclude(error, { _tag: "TextTooLong", limit: 5 })
    })
  )

  it.effect("refuses a text that is empty, and a caller that it does not know", () =>
    Effect.gen(function* () {
      const ${name} = yield* Registry.client(${Name}Api)
      for (const [call, reason] of [
        [${name}.say({ text: "" }, ann), "InvalidArgument"],
        [${name}.say({ text: "hello" }), "Unauthenticated"]
      ] as const) {
        const error = yield* Effect.flip(call)
        assert.instanceOf(error, GrpcError)
        assert.strictEqual(error.reason._tag, reason)
      }
    })
  )
})
`

const heads = {
  dev: ({ name }: NewService) => `# The ${name} service on the machine of its developer. Every key: config/README.md`,
  test: ({ name }: NewService) =>
    `# The ${name} service where it is tried out before prod. Every key: config/README.md`,
  prod: ({ name }: NewService) => `# The ${name} service in production. Every key: config/README.md
# No secret is in here: the passwords come from XDOORIA_DATABASE_PASSWORD (without tables, leave section database out)
# and XDOORIA_REDIS_PASSWORD, the key that verifies tokens from XDOORIA_AUTH_SECRET (or auth.jwks_url,
# auth.verify_key_files), addresses of the site from XDOORIA_...`
}

const devAuth = `auth:
  # That of the auth service: it verifies what that one signs.
  secret: xdooria-dev-secret-of-32-bytes-or-more

`

const config = (env: keyof typeof heads, service: NewService): string => {
  const isProd = env === "prod"
  const host = isProd
    ? { line: `\n  host: "0.0.0.0"`, postgres: "postgres", redis: "redis", etcd: "etcd" }
    : { line: "", postgres: "localhost", redis: "localhost", etcd: "localhost" }
  const grpc = isProd
    ? `grpc:
  # The network between our services is private. Without this line a server without TLS does not start in prod.
  allow_insecure: true
  # The gateways call from there, and name who calls them: leave no address in here that players have.
  trusted_proxies:
    - 10.0.0.0/8
    - 172.16.0.0/12
    - 192.168.0.0/16
`
    : `grpc:
  # The gateway of this machine: it names who calls.
  trusted_proxies:
    - 127.0.0.0/8
    - "::1"
`
  return `${heads[env](service)}
server:
  name: ${service.name}-service${host.line}
  port: ${service.port}
  env: ${env}

${grpc}
# For when it has tables: each service has a database of its own.
database:
  host: ${host.postgres}
  port: 5432
  user: xdooria
${env === "dev" ? "  password: xdooria123\n" : ""}  database: xdooria_${service.name}
  max_conns: 20
  min_conns: 1
  max_idle_time: 300

redis:
  addrs:
    - ${host.redis}:6379
  db: 0
  pool_size: 10

etcd:
  endpoints:
    - ${host.etcd}:2379

${env === "dev" ? devAuth : ""}log:
  level: ${env === "test" ? "debug" : "info"}
  format: ${env === "dev" ? "console" : "json"}
`
}

/** The files of a service, by their path. */
export const files = (service: NewService): Readonly<Record<string, string>> => {
  const { name, Name } = service
  return {
    [`proto/${name}.proto`]: proto(service),
    [`src/services/${name}/errors.ts`]: errors(),
    [`src/services/${name}/api.ts`]: api(service),
    [`src/services/${name}/handlers.ts`]: handlers(service),
    [`src/services/${name}/app.ts`]: app(service),
    [`src/services/${name}/main.ts`]: main(service),
    [`config/dev/${name}.yaml`]: config("dev", service),
    [`config/test/${name}.yaml`]: config("test", service),
    [`config/prod/${name}.yaml`]: config("prod", service),
    [`test/services/${Name}.test.ts`]: test(service)
  }
}

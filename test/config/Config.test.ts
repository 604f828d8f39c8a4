import { assert, describe, it } from "@effect/vitest"
import * as EffectConfig from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Stream from "effect/Stream"
import { readFileSync } from "node:fs"
import { Config, ConfigTest, makeTest } from "xdooria/config"
import { checkFile, checkServices, ConfigLive, makeLive } from "xdooria/config/live"
import { describeSections } from "../../src/config/ConfigDocs.ts"
import { KafkaConfig, sections } from "../../src/config/sections.ts"
import { EtcdConfig } from "../../src/registry/Registry.ts"
import { GrpcConfig } from "../../src/grpc/Grpc.ts"
import { LogConfig } from "../../src/logger/Logger.ts"
import { PgConfig } from "../../src/pg/Pg.ts"
import { RedisConfig } from "../../src/redis/Redis.ts"
import { rejected, temporaryFile, unreadable } from "./support.ts"

const WorldConfig = Config.section("world", {
  size: Schema.Int.check(Schema.isGreaterThan(0)),
  seed: Config.Secret.pipe(Config.withDefault("seed for dev")),
  names: Schema.Array(Schema.String).pipe(Config.withDefault([])),
  weights: Schema.Array(Schema.Finite).pipe(Config.withDefault([1])),
  isOpen: Schema.Boolean.pipe(Config.withDefault(false)),
  motto: Schema.optionalKey(Schema.String),
  mode: Schema.Literals(["calm", "wild"]).pipe(Config.withDefault("calm"))
})

describe("Config without a layer", () => {
  it.effect("has the defaults of every section", () =>
    Effect.gen(function* () {
      const server = yield* Config.get(Config.ServerConfig)
      assert.deepStrictEqual(server, { name: "xdooria", host: "127.0.0.1", port: 50051, env: "dev" })
      const current = yield* Config.Current
      assert.deepStrictEqual(current.sourceOf("server.port"), Option.some("default"))
      const [value] = yield* Stream.runCollect(Stream.take(Config.changes(Config.ServerConfig), 1))
      assert.deepStrictEqual(value, server)
    })
  )

  it.effect("fails for a section that needs a value", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Config.get(WorldConfig))
      assert.include(error.message, "world")
      assert.isFalse(error.isRetryable)
      assert.isTrue(error.isSafeToRetry)
    })
  )
})

describe("ConfigLive", () => {
  it.effect("loads the plan's example as it is, and warns of what it ignores", () =>
    Effect.gen(function* () {
      const current = yield* makeLive("game", { file: "test/config/fixtures/game.yaml", environment: {} })
      assert.deepStrictEqual(yield* current.get(Config.ServerConfig), {
        name: "game-service",
        host: "127.0.0.1",
        port: 50051,
        env: "dev"
      })
      const database = yield* current.get(PgConfig)
      assert.strictEqual(database.host, "localhost")
      assert.strictEqual(Redacted.value(database.password), "xdooria123")
      assert.strictEqual(database.database, "xdooria_game")
      assert.strictEqual(database.maxConns, 20)
      assert.strictEqual(Duration.toSeconds(database.maxIdleTime), 300)
      const redis = yield* current.get(RedisConfig)
      assert.deepStrictEqual(redis.addrs, ["localhost:6379"])
      assert.strictEqual(redis.poolSize, 10)
      const etcd = yield* current.get(EtcdConfig)
      assert.deepStrictEqual(etcd.endpoints, ["localhost:2379"])
      assert.strictEqual(Duration.toSeconds(etcd.dialTimeout), 5)
      const kafka = yield* current.get(KafkaConfig)
      assert.deepStrictEqual(kafka.brokers, ["localhost:9092"])
      assert.strictEqual(kafka.maxInFlight, 200)
      assert.deepStrictEqual(yield* current.get(LogConfig), {
        level: "debug",
        format: "console",
        outputPath: "logs/game.log"
      })
      assert.deepStrictEqual(
        current.warnings.map(({ path, source }) => ({ path, source })),
        [{ path: "kafka.lookupd_addr", source: "test/config/fixtures/game.yaml:31" }]
      )
    })
  )

  it.effect("takes a variable over the file, the file over the default, and knows which won", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile("server:\n  name: game\n\ndatabase:\n  host: file\n  port: 5433\n")
      const current = yield* makeLive("game", {
        file,
        environment: { XDOORIA_DATABASE_HOST: "variable", XDOORIA_DATABASE_PORT: "", DATABASE_PORT: "1" }
      })
      const { host, port, user } = yield* current.get(PgConfig)
      assert.deepStrictEqual({ host, port, user }, { host: "variable", port: 5433, user: "xdooria" })
      assert.deepStrictEqual(
        ["database.host", "database.port", "database.max_conns", "server.name", "database.hots", "database.maxConns"]
          .map((path) => current.sourceOf(path))
          .map(Option.getOrNull),
        ["env XDOORIA_DATABASE_HOST", `${file}:6`, "default", `${file}:2`, null, null]
      )
    })
  )

  it.effect("reads config/<env>/<service>.yaml of the directory, for the environment that was chosen", () =>
    Effect.gen(function* () {
      const dev = yield* makeLive("game", { directory: "config", environment: {} })
      assert.strictEqual(dev.env, "dev")
      const test = yield* makeLive("game", { environment: { XDOORIA_ENV: "test" } })
      assert.strictEqual(test.env, "test")
      assert.deepStrictEqual(test.sourceOf("server.name"), Option.some("config/test/game.yaml:3"))
      const given = yield* makeLive("game", { env: "test", environment: { XDOORIA_ENV: "dev" } })
      assert.strictEqual((yield* given.get(Config.ServerConfig)).env, "test")
    })
  )

  it.effect("names the absent file and what to do", () =>
    Effect.gen(function* () {
      const reason = yield* unreadable(makeLive("nobody", { environment: {} }))
      assert.strictEqual(reason.source, "config/dev/nobody.yaml")
      assert.isTrue(reason.isSafeToRetry)
      assert.strictEqual(reason.actual, "no such file")
      assert.include(reason.message, "XDOORIA_ENV")
      const inFile = yield* unreadable(makeLive("game", { file: "package.json/game.yaml", environment: {} }))
      assert.strictEqual(inFile.actual, "no such file")
    })
  )

  it.effect("refuses an environment that there is not", () =>
    Effect.gen(function* () {
      const issues = yield* rejected(makeLive("game", { environment: { XDOORIA_ENV: "prodd" } }))
      assert.deepStrictEqual(issues, [
        {
          source: "env XDOORIA_ENV",
          path: "server.env",
          expected: `"dev", "test" or "prod"`,
          actual: `"prodd"`,
          hint: "did you mean prod?"
        }
      ])
    })
  )

  it.effect("refuses a file of another environment", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile("server:\n  env: prod\n")
      const [issue] = yield* rejected(makeLive("game", { file, environment: {} }))
      assert.strictEqual(issue?.source, `${file}:2`)
      assert.strictEqual(issue?.path, "server.env")
    })
  )

  it.effect("provides Effect's Config with the merged values, defaults included", () => {
    const values = Effect.gen(function* () {
      const host = yield* EffectConfig.String("host").pipe(EffectConfig.nested("database"))
      const maxConns = yield* EffectConfig.Int("max_conns").pipe(EffectConfig.nested("database"))
      const name = yield* EffectConfig.String("name").pipe(EffectConfig.nested("server"))
      return { host, maxConns, name, server: yield* Config.get(Config.ServerConfig) }
    })
    return Effect.gen(function* () {
      const file = yield* temporaryFile("server:\n  name: game\n")
      const { host, maxConns, name, server } = yield* Effect.provide(
        values,
        ConfigLive("game", { file, environment: { XDOORIA_DATABASE_MAX_CONNS: "7" } })
      )
      assert.deepStrictEqual({ host, maxConns, name }, { host: "localhost", maxConns: 7, name: "game" })
      assert.strictEqual(server.name, "game")
    })
  })

  it.effect("reads the variables of the process when it is given none", () =>
    Effect.gen(function* () {
      yield* Effect.acquireRelease(
        Effect.sync(() => (process.env["XDOORIA_SERVER_NAME"] = "of the process")),
        () => Effect.sync(() => delete process.env["XDOORIA_SERVER_NAME"])
      )
      const current = yield* makeLive("game", { env: "test" })
      assert.strictEqual((yield* current.get(Config.ServerConfig)).name, "of the process")
    })
  )

  it.effect("tells the present value of a section and stays open for further ones", () =>
    Effect.gen(function* () {
      const seen = yield* Config.changes(Config.ServerConfig).pipe(
        Stream.take(1),
        Stream.runCollect,
        Effect.provide(ConfigTest({ server: { port: 1234 } }))
      )
      assert.strictEqual(seen[0]?.port, 1234)
      const rest = Config.changes(Config.ServerConfig).pipe(
        Stream.drop(1),
        Stream.runDrain,
        Effect.provide(ConfigTest({})),
        Effect.forkChild({ startImmediately: true })
      )
      const fiber = yield* rest
      assert.isUndefined(fiber.pollUnsafe())
    })
  )
})

describe("checkFile", () => {
  it.effect("checks a file for the environment that it names", () =>
    Effect.gen(function* () {
      const current = yield* checkFile("config/test/game.yaml", { environment: {} })
      assert.strictEqual(current.env, "test")
      assert.strictEqual(current.service, "game")
      const file = yield* temporaryFile("log:\n  level: info\n")
      assert.strictEqual((yield* checkFile(file, { environment: {} })).env, "dev")
    })
  )

  it.effect("finds the committed files in order, the password of prod given", () =>
    Effect.gen(function* () {
      const environment = {
        XDOORIA_DATABASE_PASSWORD: "a secret of the site",
        XDOORIA_REDIS_PASSWORD: "another secret of the site"
      }
      for (const env of ["dev", "test", "prod"] as const) {
        const current = yield* checkFile(`config/${env}/game.yaml`, { environment })
        assert.strictEqual(current.env, env)
        assert.deepStrictEqual(current.warnings, [])
      }
      assert.notInclude(readFileSync("config/prod/game.yaml", "utf8"), "password:")
    })
  )
})

describe("prod", () => {
  const prod = {
    server: { env: "prod" },
    grpc: { allow_insecure: true },
    database: { password: "of the site" }
  }

  it.effect("takes secrets of the site", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* makeTest(prod)).env, "prod")
    })
  )

  it.effect("asks for the secret of a section only when something of it is given", () =>
    Effect.gen(function* () {
      yield* makeTest({ ...prod, database: {} })
      for (const environment of [{ XDOORIA_REDIS_ADDRS: "redis:6379" }, { XDOORIA_DATABASE_HOST: "postgres" }]) {
        const [issue] = yield* rejected(makeTest({ ...prod, database: {} }, { environment }))
        assert.match(issue?.path ?? "", /^(redis|database)\.password$/)
        assert.match(issue?.hint ?? "", /^set XDOORIA_/)
      }
    })
  )

  it.effect("refuses known secrets, plaintext gRPC without opt-in and the debug level, all at once", () =>
    Effect.gen(function* () {
      const values = {
        server: { env: "prod" },
        database: { password: "xdooria123" },
        redis: { db: 1 },
        log: { level: "debug" },
        world: { size: 1 }
      }
      const issues = yield* rejected(makeTest(values, { sections: [WorldConfig] }))
      assert.deepStrictEqual(
        issues.map(({ path }) => path),
        ["grpc.allow_insecure", "database.password", "redis.password", "log.level", "world.seed"]
      )
      assert.strictEqual(issues[1]?.actual, "<redacted>")
      assert.strictEqual(issues[1]?.hint, "set XDOORIA_DATABASE_PASSWORD")
      assert.strictEqual(issues[4]?.source, "default")
    })
  )

  it.effect("refuses a known secret that comes from a variable", () =>
    Effect.gen(function* () {
      const environment = { XDOORIA_REDIS_PASSWORD: "xdooria123" }
      const [issue] = yield* rejected(makeTest(prod, { environment }))
      assert.strictEqual(issue?.source, "env XDOORIA_REDIS_PASSWORD")
    })
  )

  it.effect("refuses them also in a field with a check, in a list, and in one that is decoded further", () =>
    Effect.gen(function* () {
      const Checked = Config.Secret.check(Schema.makeFilter((secret) => Redacted.value(secret) !== "bad"))
      const VaultConfig = Config.section("vault", {
        checked: Checked.pipe(Config.withDefault("checked for dev"), Schema.annotate({ description: "Checked" })),
        list: Schema.Array(Config.Secret).pipe(Config.withDefault(["first for dev", "second for dev"])),
        some: Schema.Tuple([Checked]).pipe(Config.withDefault(["some for dev"])),
        either: Schema.Union([Config.Secret, Schema.Boolean]).pipe(Config.withDefault(false)),
        maybe: Schema.optionalKey(Schema.NullOr(Config.Secret)),
        option: Schema.optionalKey(
          Schema.String.pipe(
            Schema.decodeTo(Schema.Option(Schema.Redacted(Schema.String)), {
              decode: SchemaGetter.transform((text: string) => Option.some(Redacted.make(text))),
              encode: SchemaGetter.transform(Option.match({ onNone: () => "", onSome: Redacted.value }))
            })
          )
        ),
        length: Schema.optionalKey(
          Config.Secret.pipe(
            Schema.decodeTo(Schema.Finite, {
              decode: SchemaGetter.transform((secret) => Redacted.value(secret).length),
              encode: SchemaGetter.transform((length) => Redacted.make("x".repeat(length)))
            })
          )
        )
      })
      const refused = (vault: Record<string, unknown>) =>
        Effect.map(rejected(makeTest({ ...prod, vault }, { sections: [VaultConfig] })), (issues) =>
          issues.map(({ actual, path }) => `${path} ${actual}`)
        )
      const own = { checked: "of the site", list: ["of", "", "the site"], some: ["of the site"] }
      const taken = yield* makeTest({ ...prod, vault: own }, { sections: [VaultConfig] })
      assert.isFalse((yield* taken.get(VaultConfig)).either)
      assert.deepStrictEqual(yield* refused({}), [
        "vault.checked <redacted>",
        "vault.list <redacted>",
        "vault.some <redacted>"
      ])
      assert.deepStrictEqual(yield* refused({ ...own, list: ["of the site", "second for dev"] }), [
        "vault.list <redacted>"
      ])
      const known = "xdooria123"
      assert.deepStrictEqual(
        yield* refused({
          checked: known,
          list: ["of the site", known],
          some: [known],
          either: known,
          maybe: known,
          option: known,
          length: known
        }),
        ["checked", "list", "some", "either", "maybe", "option", "length"].map((key) => `vault.${key} <redacted>`)
      )
      assert.deepStrictEqual(yield* refused({ ...own, checked: "bad", list: [123456, true] }), [
        "vault.checked <redacted>",
        "vault.list[0] <redacted>",
        "vault.list[1] <redacted>"
      ])
    })
  )

  it.effect("is the only environment that does", () =>
    Effect.gen(function* () {
      const values = { database: { password: "xdooria123" }, log: { level: "debug" } }
      const current = yield* makeTest(values, { env: "dev" })
      assert.isFalse((yield* current.get(GrpcConfig)).allowInsecure)
    })
  )
})

const read = (environment: Readonly<Record<string, string>>) =>
  Effect.flatMap(makeTest({ world: { size: 1 } }, { environment, sections: [WorldConfig] }), (current) =>
    current.get(WorldConfig)
  )

describe("a variable", () => {
  it.effect("is read by the type of its key", () =>
    Effect.gen(function* () {
      const world = yield* read({
        XDOORIA_WORLD_SIZE: " 12 ",
        XDOORIA_WORLD_SEED: " 12 ",
        XDOORIA_WORLD_NAMES: "a, b,c d ",
        XDOORIA_WORLD_WEIGHTS: "1,-2.5,1e3",
        XDOORIA_WORLD_IS_OPEN: "true",
        XDOORIA_WORLD_MOTTO: "50",
        XDOORIA_WORLD_MODE: "wild"
      })
      assert.deepStrictEqual(
        { ...world, seed: Redacted.value(world.seed) },
        {
          size: 12,
          seed: " 12 ",
          names: ["a", "b", "c d"],
          weights: [1, -2.5, 1000],
          isOpen: true,
          motto: "50",
          mode: "wild"
        }
      )
      assert.isFalse((yield* read({ XDOORIA_WORLD_IS_OPEN: "false" })).isOpen)
    })
  )

  it.effect("that does not fit is named", () =>
    Effect.gen(function* () {
      const issues = yield* rejected(
        read({
          XDOORIA_WORLD_SIZE: "0x10",
          XDOORIA_WORLD_WEIGHTS: "1,x",
          XDOORIA_WORLD_IS_OPEN: "yes",
          XDOORIA_WORLD_MODE: "wold"
        })
      )
      assert.deepStrictEqual(
        issues.map(({ actual, path, source }) => `${source} ${path} ${actual}`),
        [
          "env XDOORIA_WORLD_SIZE world.size a text of 4 characters",
          "env XDOORIA_WORLD_WEIGHTS world.weights[1] a text of 1 character",
          `env XDOORIA_WORLD_IS_OPEN world.is_open "yes"`,
          `env XDOORIA_WORLD_MODE world.mode "wold"`
        ]
      )
      assert.strictEqual(issues[3]?.hint, "did you mean wild?")
    })
  )

  it.effect("that is close to a key is refused", () =>
    Effect.gen(function* () {
      const issues = yield* rejected(read({ XDOORIA_WORLD_SIEZ: "3", XDOORIA_WRLD_SIZE: "3" }))
      assert.deepStrictEqual(
        issues.map(({ hint, source }) => `${source}: ${hint}`),
        [
          "env XDOORIA_WORLD_SIEZ: did you mean XDOORIA_WORLD_SIZE?",
          "env XDOORIA_WRLD_SIZE: did you mean XDOORIA_WORLD_SIZE?"
        ]
      )
    })
  )

  it.effect("of one service is over that of all, and another service's is not read", () =>
    Effect.gen(function* () {
      const current = yield* makeTest(
        { world: { size: 1 } },
        {
          service: "my-game",
          sections: [WorldConfig],
          environment: {
            XDOORIA_MY_GAME__WORLD_SIZE: "3",
            XDOORIA_WORLD_SIZE: "2",
            XDOORIA_MY_GAME__SERVER_PORT: "",
            XDOORIA_SERVER_PORT: "5",
            XDOORIA_SHOP__SERVER_NAME: "shop",
            XDOORIA_SHOP__STOCK_SIZE: "7"
          }
        }
      )
      const { name, port } = yield* current.get(Config.ServerConfig)
      assert.deepStrictEqual(
        { name, port, size: (yield* current.get(WorldConfig)).size },
        { name: "xdooria", port: 5, size: 3 }
      )
      assert.deepStrictEqual(
        ["world.size", "server.port"].map((path) => Option.getOrNull(current.sourceOf(path))),
        ["env XDOORIA_MY_GAME__WORLD_SIZE", "env XDOORIA_SERVER_PORT"]
      )
      assert.deepStrictEqual(current.warnings, [])
    })
  )

  it.effect("of one service that is close to a key is a fault too", () =>
    Effect.gen(function* () {
      const environment = {
        XDOORIA_GAME__WORLD_SIEZ: "1",
        XDOORIA_GAME_WORLD_SIZE: "1",
        XDOORIA_GAME__QUITE_OTHER: "1"
      }
      const issues = yield* rejected(
        makeTest({ world: { size: 1 } }, { service: "game", environment, sections: [WorldConfig] })
      )
      assert.deepStrictEqual(
        issues.map(({ hint, source }) => `${source}: ${hint}`),
        [
          "env XDOORIA_GAME__WORLD_SIEZ: did you mean XDOORIA_GAME__WORLD_SIZE?",
          "env XDOORIA_GAME_WORLD_SIZE: did you mean XDOORIA_GAME__WORLD_SIZE?"
        ]
      )
    })
  )

  it("of a service that there is not is told, with the nearest one", () => {
    const environment = {
      XDOORIA_GAEM__SERVER_PORT: "1",
      XDOORIA_MY_SHPO__LOG_LEVEL: "info",
      XDOORIA_CHESS__SERVER_PORT: "1",
      XDOORIA_GAME__SERVER_PORT: "1",
      XDOORIA_MY_SHOP__SERVER_PORT: "1",
      XDOORIA_GAM__SERVER_PORT: "",
      XDOORIA_SERVER_PORT: "1",
      OTHER_GAEM__SERVER_PORT: "1"
    }
    const issues = checkServices(["game", "my-shop"], environment)
    assert.deepStrictEqual(
      issues.map(({ hint, source }) => `${source}: ${hint}`),
      [
        "env XDOORIA_GAEM__SERVER_PORT: did you mean XDOORIA_GAME__SERVER_PORT?",
        "env XDOORIA_MY_SHPO__LOG_LEVEL: did you mean XDOORIA_MY_SHOP__LOG_LEVEL?",
        "env XDOORIA_CHESS__SERVER_PORT: known: GAME, MY_SHOP"
      ]
    )
  })

  it.effect("of others under our prefix is a warning", () =>
    Effect.gen(function* () {
      const links = {
        XDOORIA_REDIS_PORT: "tcp://10.0.0.1:6379",
        XDOORIA_REDIS_SERVICE_HOST: "10.0.0.1",
        XDOORIA_DATABASE_SERVICE_PORT: "5432",
        XDOORIA_DATABASE_PORT_5432_TCP_ADDR: "10.0.0.1",
        XDOORIA_GAME_PORT: "tcp://10.0.0.1:50051",
        XDOORIA_AUTH_PORT: "tcp://10.0.0.1:50052"
      }
      const current = yield* makeTest({}, { environment: { ...links, XDOORIA_ENV: "dev", OTHER: "x" } })
      assert.deepStrictEqual(
        current.warnings.map(({ source }) => source),
        Object.keys(links).map((name) => `env ${name}`)
      )
    })
  )
})

describe("a section", () => {
  it.effect("without a default asks for the value and says where", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile("server:\n  name: game\n")
      const issues = yield* rejected(makeLive("game", { file, environment: {}, sections: [WorldConfig] }))
      assert.deepStrictEqual(issues, [
        {
          source: file,
          path: "world.size",
          expected: "an integer, a value greater than 0",
          actual: "nothing",
          hint: `add it to ${file}, or set XDOORIA_WORLD_SIZE`
        }
      ])
    })
  )

  it.effect("has rules between its fields", () =>
    Effect.gen(function* () {
      const redis = { addrs: ["a:1", "b:2"], db: 3 }
      const [issue] = yield* rejected(makeTest({ redis }))
      assert.deepStrictEqual(issue, {
        source: "values",
        path: "redis.db",
        expected: "0, since several addresses are a cluster",
        actual: "3"
      })
      const one = yield* makeTest({ redis: { ...redis, addrs: ["a:1"] } })
      assert.strictEqual((yield* one.get(RedisConfig)).db, 3)
    })
  )

  it.effect("that the configuration was not read with is refused", () =>
    Effect.gen(function* () {
      const current = yield* makeTest({})
      const [issue] = yield* rejected(current.get(WorldConfig))
      assert.strictEqual(issue?.path, "world")
      assert.include(issue?.hint, "options.sections")
    })
  )

  it.effect("is decoded once: later reads are the same value", () =>
    Effect.gen(function* () {
      const current = yield* makeTest({})
      assert.strictEqual(yield* current.get(RedisConfig), yield* current.get(RedisConfig))
    })
  )
})

describe("an address", () => {
  it.effect("is host:port", () =>
    Effect.gen(function* () {
      const good: [string, ...Array<string>] = ["redis:6379", "10.0.0.1:1", "[::1]:65535", "redis-0.redis:6379"]
      const current = yield* makeTest({ redis: { addrs: good } })
      assert.deepStrictEqual((yield* current.get(RedisConfig)).addrs, good)
      const bad = ["redis", "redis:0", "redis:65536", ":6379", "redis:", "::1:6379", "u:p@redis:6379", "re dis:1", ""]
      const issues = yield* rejected(makeTest({ redis: { addrs: bad } }))
      assert.deepStrictEqual(
        issues.map(({ path }) => path),
        bad.map((_, index) => `redis.addrs[${index}]`)
      )
    })
  )
})

describe("ConfigTest", () => {
  it.effect("is for the environment that it is given, and never reads the variables of the process", () =>
    Effect.gen(function* () {
      yield* Effect.acquireRelease(
        Effect.sync(() => (process.env["XDOORIA_SERVER_NAME"] = "of the process")),
        () => Effect.sync(() => delete process.env["XDOORIA_SERVER_NAME"])
      )
      const current = yield* Config.Current.pipe(Effect.provide(ConfigTest({}, { env: "dev", service: "game" })))
      assert.strictEqual(current.service, "game")
      assert.strictEqual(current.env, "dev")
      assert.strictEqual((yield* current.get(Config.ServerConfig)).name, "xdooria")
      assert.strictEqual((yield* makeTest({})).env, "test")
    })
  )

  it.effect("fails as ConfigLive does", () =>
    Effect.gen(function* () {
      const [issue] = yield* rejected(Effect.provide(Effect.void, ConfigTest({ server: { port: 65536 } })))
      assert.strictEqual(issue?.path, "server.port")
    })
  )
})

describe("secrets", () => {
  it.effect("are redacted from the source on: no value, error or warning shows one", () =>
    Effect.gen(function* () {
      const canary = "canary-5d1f"
      const values = { redis: { password: canary }, database: { password: canary } }
      const context = yield* Layer.build(ConfigTest(values))
      const current = yield* Config.Current.pipe(Effect.provide(context))
      const shown = JSON.stringify([yield* current.get(RedisConfig), yield* current.get(PgConfig), current])
      assert.notInclude(shown, canary)
      assert.notInclude(String((yield* current.get(RedisConfig)).password), canary)
      for (const wrong of [
        { redis: { password: [canary] } },
        { redis: { password: { a: canary } } },
        { redis: { passwrd: canary } },
        { redis: canary },
        { [canary.slice(0, 3)]: canary },
        { server: { port: canary } },
        { server: { env: canary } },
        { log: { level: canary, format: canary, output_path: [canary] } },
        { redis: { addrs: canary } },
        { redis: { addrs: [canary], db: canary } },
        { etcd: { dial_timeout: canary } },
        { grpc: { allow_insecure: canary } }
      ] as ReadonlyArray<Record<string, Record<string, unknown>>>) {
        const error = yield* Effect.flip(makeTest(wrong))
        assert.notInclude(`${error.message} ${JSON.stringify(error)} ${String(error)} ${error.stack}`, canary)
      }
    })
  )
})

describe("config/README.md", () => {
  it("is what its sections say: npm run gen writes it", () => {
    assert.strictEqual(readFileSync("config/README.md", "utf8"), describeSections(sections))
  })

  it("says of every key whether it must be given, and shows no secret", () => {
    const rows = describeSections([WorldConfig])
      .split("\n")
      .filter((line) => line.startsWith("| `"))
      .map((line) => line.split(" | ").slice(0, 3).join(", "))
    assert.deepStrictEqual(rows, [
      "| `size`, an integer, a value greater than 0, must be given",
      "| `seed`, a text, secret, a secret for dev",
      "| `names`, a list, each a text, `[]`",
      "| `weights`, a list, each a number, `[1]`",
      "| `is_open`, true or false, `false`",
      "| `motto`, a text, none",
      '| `mode`, "calm" or "wild", `"calm"`'
    ])
    const keys = Schema.Array(Config.Secret)
    const lists = Config.section("lists", {
      keys: keys.pipe(Config.withDefault(["hunter2"])),
      none: keys.pipe(Config.withDefault([]))
    })
    const page = describeSections([lists])
    assert.include(page, "| `keys` | a list, each a text, secret | a secret for dev |")
    assert.include(page, "| `none` | a list, each a text, secret | `[]` |")
    assert.notInclude(page, "hunter2")
  })

  it("has a meaning for every key", () => {
    assert.notMatch(describeSections(sections), /\|\s+\|$/m)
  })
})

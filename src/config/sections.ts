import * as Schema from "effect/Schema"
import { GrpcConfig } from "../grpc/Grpc.ts"
import { LogConfig } from "../logger/Logger.ts"
import { PgConfig } from "../pg/Pg.ts"
import * as Config from "./Config.ts"

/**
 * Section `redis`, until its room takes it.
 *
 * `db` other than 0 with several addresses is refused: a cluster has database 0 only.
 */
export const RedisConfig = Config.section(
  "redis",
  {
    addrs: Schema.NonEmptyArray(Config.Address).pipe(
      Config.withDefault(["127.0.0.1:6379"]),
      Schema.annotate({ description: "Addresses; several are a cluster" })
    ),
    password: Config.Secret.pipe(
      Config.withDefault(""),
      Schema.annotateKey({ description: "Password; empty for none" })
    ),
    db: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)).pipe(
      Config.withDefault(0),
      Schema.annotate({ description: "Number of the database; 0 when there are several addresses" })
    ),
    poolSize: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 })).pipe(
      Config.withDefault(10),
      Schema.annotate({ description: "Connections for blocking commands and transactions" })
    )
  },
  ({ addrs, db }) =>
    db !== 0 && addrs.length > 1 ? [{ field: "db", expected: "0, since several addresses are a cluster" }] : []
)

/** Section `etcd`, until its room takes it. */
export const EtcdConfig = Config.section("etcd", {
  endpoints: Schema.NonEmptyArray(Config.Address).pipe(
    Config.withDefault(["127.0.0.1:2379"]),
    Schema.annotate({ description: "Addresses of the members" })
  ),
  dialTimeout: Config.Seconds.pipe(
    Config.withDefault(5),
    Schema.annotateKey({ description: "How long a connection may take, in seconds" })
  )
})

/** Section `kafka`, until its room takes it. */
export const KafkaConfig = Config.section("kafka", {
  brokers: Schema.NonEmptyArray(Config.Address).pipe(
    Config.withDefault(["127.0.0.1:9092"]),
    Schema.annotate({ description: "Addresses of some of the brokers" })
  ),
  lookupdAddr: Schema.String.pipe(
    Config.withDefault(""),
    Config.ignored("an address of NSQ, which Kafka has no use for"),
    Schema.annotate({ description: "Ignored, with a warning: an address of NSQ" })
  ),
  maxInFlight: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100_000 })).pipe(
    Config.withDefault(200),
    Schema.annotate({ description: "Messages that a consumer handles at once" })
  )
})

/** The sections of all rooms, in the order of config/README.md. */
export const sections: ReadonlyArray<Config.ConfigSection<unknown>> = [
  Config.ServerConfig,
  GrpcConfig,
  PgConfig,
  RedisConfig,
  EtcdConfig,
  KafkaConfig,
  LogConfig
]

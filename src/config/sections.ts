import * as Schema from "effect/Schema"
import { GrpcConfig } from "../grpc/Grpc.ts"
import { LockConfig } from "../lock/Lock.ts"
import { LogConfig } from "../logger/Logger.ts"
import { PgConfig } from "../pg/Pg.ts"
import { RedisConfig } from "../redis/Redis.ts"
import { SessionConfig } from "../session/Session.ts"
import * as Config from "./Config.ts"

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
  SessionConfig,
  LockConfig,
  EtcdConfig,
  KafkaConfig,
  LogConfig
]

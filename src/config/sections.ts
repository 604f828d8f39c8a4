import * as Schema from "effect/Schema"
import { AuthConfig } from "../auth/Auth.ts"
import { GrpcConfig } from "../grpc/Grpc.ts"
import { LockConfig } from "../lock/Lock.ts"
import { LogConfig } from "../logger/Logger.ts"
import { PgConfig } from "../pg/Pg.ts"
import { RedisConfig } from "../redis/Redis.ts"
import { EtcdConfig, RegistryConfig } from "../registry/Registry.ts"
import { SessionConfig } from "../session/Session.ts"
import * as Config from "./Config.ts"

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
  RegistryConfig,
  AuthConfig,
  KafkaConfig,
  LogConfig
]

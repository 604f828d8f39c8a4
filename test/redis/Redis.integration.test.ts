import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { client, suites } from "../support/RedisBackends.ts"
import { suite } from "./RedisContract.ts"

suites("Redis", (options, kind) => suite(`on ${kind}`, Layer.effectContext(Effect.orDie(client(options)))))

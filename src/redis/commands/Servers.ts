import * as Result from "effect/Result"
import * as Channel from "../Channel.ts"
import type { RedisFailure } from "../RedisError.ts"
import * as Op from "./Operation.ts"

/** The server's time. */
export const time: Op.Command<{ readonly millis: number }> = Op.make(
  "TIME",
  [],
  (reply) =>
    Result.flatMap(Op.listOf(Op.text)(reply), ([seconds, micros]) =>
      seconds === undefined || micros === undefined
        ? Op.unexpected("seconds and microseconds")
        : Result.succeed({ millis: Number(seconds) * 1000 + Math.floor(Number(micros) / 1000) })
    ),
  { idempotent: true }
)

/**
 * Publishes a message; gives how many subscribers the node itself had, which on a cluster is not all of them. Not kept:
 * a subscriber that is away misses it.
 *
 * Fails with `InvalidInput` when the schema does not encode the value.
 */
export const publish = <A, Slot extends string = never>(
  channel: Channel.Channel<A, Slot>,
  value: A
): Result.Result<Op.Command<number, Slot>, RedisFailure> =>
  Result.map(Channel.encode(channel, value), (text) =>
    Op.make(channel.isSharded ? "SPUBLISH" : "PUBLISH", [channel, text], Op.integer)
  )

/**
 * Waits until so many replicas have what this connection wrote, up to so many milliseconds; gives how many have. On a
 * reserved connection, on which the writes were sent too.
 */
export const wait = (replicas: number, blockMillis: number): Op.Command<number> =>
  Op.make("WAIT", [replicas, blockMillis], Op.integer, { idempotent: true, blockMillis })

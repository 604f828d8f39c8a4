import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Command from "../Command.ts"
import * as Key from "../Key.ts"
import { Closed, ClusterDown, RedisFailure, type RedisFailureReason, Timeout } from "../RedisError.ts"
import type { Nodes } from "./Nodes.ts"
import * as Wire from "./wire.ts"

/** About how many keys a server looks at for one page. */
const pageSize = "500"

const soon = Schedule.spaced("20 millis")

const page = (reply: Command.Reply) =>
  Array.isArray(reply)
    ? Result.all([Command.text(reply[0]), Command.listOf(Command.text)(reply[1])])
    : Command.unexpected("a page of keys")

/** A pattern holds a prefix as it is: its signs are escaped, though the configuration refuses them. */
const escaped = (text: string): string => text.replace(/[*?[\]\\]/g, "\\$&")

/**
 * One page of one server. Reading again from where one was is right, so it is repeated while there is time; but another
 * server knows nothing of this place.
 */
const pageOf = (nodes: Nodes, address: string, cursor: string, pattern: string, timeout: Duration.Duration) => {
  const wire = Wire.words("SCAN", cursor, "MATCH", pattern, "COUNT", pageSize)
  return Effect.suspend((): Effect.Effect<Command.Reply, RedisFailureReason> => {
    if (nodes.isClosed) return Effect.fail(new Closed())
    if (!nodes.addresses.includes(address)) return Effect.fail(new ClusterDown())
    const connection = nodes.connectionTo(address)
    return connection === undefined ? Effect.fail(nodes.problem ?? new Timeout()) : connection.ask(wire)
  }).pipe(
    Effect.retry({ schedule: soon, while: (reason) => reason._tag === "Unavailable" || reason._tag === "Timeout" }),
    Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.fail(new Timeout()) }),
    Effect.flatMap((reply) => Effect.fromResult(page(reply))),
    Effect.mapError((reason) => new RedisFailure({ reason, command: "SCAN" }))
  )
}

/** See `Redis.scan`. */
export const scan =
  (nodes: Nodes, prefix: string, timeout: Duration.Duration) =>
  <const Words extends string>(
    words: string extends Words ? never : Words
  ): Stream.Stream<Key.Key<Words>, RedisFailure> => {
    const pattern = `${escaped(prefix)}${words}:*`
    const found = (name: string): ReadonlyArray<Key.Key<Words>> => {
      const parts = name.slice(prefix.length + words.length + 1).split(":")
      const key = Key.make<Words>(words, ...parts)
      return Result.isSuccess(key) ? [key.success] : []
    }
    const pages = (address: string) =>
      Stream.paginate("0", (cursor: string) =>
        Effect.map(
          pageOf(nodes, address, cursor, pattern, timeout),
          ([next, names]) =>
            [[...new Set(names)].flatMap(found), next === "0" ? Option.none() : Option.some(next)] as const
        )
      )
    const check = Key.make<Words>(words, "x")
    if (Result.isFailure(check)) return Stream.fail(check.failure)
    return Stream.flatMap(
      Stream.suspend(() => Stream.fromIterable(nodes.addresses)),
      pages
    )
  }

import * as Effect from "effect/Effect"
import type * as Command from "../Command.ts"
import { type RedisFailureReason, Unavailable } from "../RedisError.ts"
import { addressOf, hostAndPort, isPort } from "./address.ts"
import type { Connection } from "./Connection.ts"
import { slotCount } from "./slot.ts"
import * as Wire from "./wire.ts"

/** How long a question about the servers may take. */
export const lookupTimeout = "1 second"

const answered = (connection: Connection, wire: Wire.Wire): Effect.Effect<Command.Reply, RedisFailureReason> =>
  connection.ask(wire).pipe(
    Effect.timeoutOrElse({
      duration: lookupTimeout,
      orElse: () => Effect.fail(new Unavailable({ detail: "no answer about the servers" }))
    })
  )

/** Slots that one primary has. */
export interface Range {
  readonly first: number
  readonly last: number
  readonly address: string
}

const isSlot = (slot: unknown): slot is number => typeof slot === "number" && slot >= 0 && slot < slotCount

/** Reads the answer of CLUSTER SLOTS: of each range its slots and its primary. `host`: of the one that was asked. */
const rangesOf = (reply: Command.Reply, host: string): ReadonlyArray<Range> =>
  (Array.isArray(reply) ? reply : []).flatMap((range: Command.Reply) => {
    const [first, last, primary] = Array.isArray(range) ? range : []
    const [name, port] = Array.isArray(primary) ? primary : []
    return isSlot(first) && isSlot(last) && typeof port === "number" && isPort(port)
      ? [{ first, last, address: addressOf(typeof name === "string" && name !== "" ? name : host, port) }]
      : []
  })

const clusterSlots = Wire.words("CLUSTER", "SLOTS")

/** Asks a node of a cluster which primary has which slots. */
export const slotsOf = (connection: Connection): Effect.Effect<ReadonlyArray<Range>, RedisFailureReason> =>
  Effect.map(answered(connection, clusterSlots), (reply) => rangesOf(reply, hostAndPort(connection.address).host))

/** Asks a sentinel for the address of the primary. */
export const primaryOf = (connection: Connection, name: string): Effect.Effect<string, RedisFailureReason> =>
  Effect.flatMap(answered(connection, Wire.words("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)), (reply) => {
    const [host, port] = Array.isArray(reply) ? reply : []
    return typeof host === "string" && host !== "" && typeof port === "string" && isPort(Number(port))
      ? Effect.succeed(addressOf(host, Number(port)))
      : Effect.fail(new Unavailable({ detail: "the sentinel knows no such primary" }))
  })

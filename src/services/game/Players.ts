import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import * as Pg from "../../pg/Pg.ts"
import type { PgError } from "../../pg/PgError.ts"
import { PlayerAlreadyExists, PlayerNotFound, RequestIdReused, StorageUnavailable } from "./errors.ts"
import { Levels } from "./Levels.ts"

/** An id that a client chose: safe in a key, a path and a log line. */
const Id = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9._-]{1,64}$/, { expected: "1 to 64 characters of A-Z a-z 0-9 . _ -" })
)

/** The id of a player. */
export const PlayerId = Id.pipe(Schema.brand("PlayerId"))

/** See {@link PlayerId}. */
export type PlayerId = typeof PlayerId.Type

/** Names a request, so that sending it again does nothing more. */
export const RequestId = Id.pipe(Schema.brand("RequestId"))

/** See {@link RequestId}. */
export type RequestId = typeof RequestId.Type

/** The name that other players see. */
export const PlayerName = Schema.String.check(
  Schema.isPattern(/^\P{C}{1,32}$/u, { expected: "1 to 32 characters, none of them a control character" })
).pipe(Schema.brand("PlayerName"))

/** See {@link PlayerName}. */
export type PlayerName = typeof PlayerName.Type

/** The experience of one gain. */
export const ExpAmount = Schema.BigInt.check(
  Schema.isBetweenBigInt({ minimum: 1n, maximum: 1_000_000n }, { expected: "1 to 1000000" })
).pipe(Schema.brand("ExpAmount"))

/** See {@link ExpAmount}. */
export type ExpAmount = typeof ExpAmount.Type

/** A player as the table has it. */
export interface Player {
  readonly id: string
  readonly name: string
  readonly level: number
  readonly exp: bigint
}

/** What a gain brought. */
export interface Gain {
  readonly player: Player
  readonly levelsGained: number
}

/** The players of the game, and what they gain. */
export class Players extends Context.Service<
  Players,
  {
    /**
     * Creates a player at level 1 without experience. Fails with PlayerAlreadyExists when the id is taken, also by an
     * earlier try of this call whose answer was lost.
     */
    readonly create: (id: PlayerId, name: PlayerName) => Effect.Effect<Player, PlayerAlreadyExists | StorageUnavailable>
    /** Reads a player. Fails with PlayerNotFound when there is none of this id. */
    readonly get: (id: PlayerId) => Effect.Effect<Player, PlayerNotFound | StorageUnavailable>
    /**
     * Adds experience and the levels that it brings, in one transaction, once for a request id: again it answers what
     * it answered first. Fails with RequestIdReused when the id named another amount.
     */
    readonly gainExp: (
      id: PlayerId,
      requestId: RequestId,
      amount: ExpAmount
    ) => Effect.Effect<Gain, PlayerNotFound | RequestIdReused | StorageUnavailable>
  }
>()("xdooria/services/game/Players") {}

interface GainRow {
  readonly amount: bigint
  readonly level: number
  readonly exp: bigint
  readonly levels_gained: number
}

/**
 * What the database could not answer leaves as StorageUnavailable, and the log says why; any other of its errors is a bug
 * of ours.
 */
const toUnavailable = (error: PgError): Effect.Effect<never, StorageUnavailable> => {
  const isUnknown = error.reason._tag === "OutcomeUnknown"
  if (!isUnknown && !error.isRetryable) return Effect.die(error)
  const outcome = isUnknown ? "unknown" : "not_applied"
  return Effect.andThen(Effect.logWarning(error.message), Effect.fail(new StorageUnavailable({ outcome })))
}

/** Keeps players in PostgreSQL, in the tables of {@link migrations}. */
export const PlayersLive: Layer.Layer<Players, never, SqlClient.SqlClient | Levels> = Layer.effect(
  Players,
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const levels = yield* Levels

    const create = Effect.fnUntraced(
      function* (id: PlayerId, name: PlayerName) {
        const rows = yield* Pg.run(sql<Player>`
        INSERT INTO players (id, name, level, exp) VALUES (${id}, ${name}, ${levels.of(0n)}, 0)
        ON CONFLICT (id) DO NOTHING RETURNING id, name, level, exp`)
        return rows[0] ?? (yield* new PlayerAlreadyExists({ playerId: id }))
      },
      Effect.catchTag("PgError", toUnavailable)
    )

    const get = Effect.fnUntraced(
      function* (id: PlayerId) {
        const rows = yield* Pg.run(sql<Player>`SELECT id, name, level, exp FROM players WHERE id = ${id}`)
        return rows[0] ?? (yield* new PlayerNotFound({ playerId: id }))
      },
      Effect.catchTag("PgError", toUnavailable)
    )

    const applyGain = Effect.fnUntraced(function* (id: PlayerId, requestId: RequestId, amount: ExpAmount) {
      // The lock comes first and alone: a gain that another call commits while we wait is then seen by what follows.
      const players = yield* sql<Player>`SELECT id, name, level, exp FROM players WHERE id = ${id} FOR UPDATE`
      const player = players[0] ?? (yield* new PlayerNotFound({ playerId: id }))
      const gains = yield* sql<GainRow>`
        SELECT amount, level, exp, levels_gained FROM exp_gains WHERE player_id = ${id} AND request_id = ${requestId}`
      const earlier = gains[0]
      if (earlier !== undefined) {
        if (earlier.amount !== amount) return yield* new RequestIdReused({ requestId })
        return { player: { ...player, level: earlier.level, exp: earlier.exp }, levelsGained: earlier.levels_gained }
      }
      const exp = player.exp + amount
      const level = levels.of(exp)
      const levelsGained = level - player.level
      yield* sql`
        WITH gain AS (
          INSERT INTO exp_gains (player_id, request_id, amount, level, exp, levels_gained)
          VALUES (${id}, ${requestId}, ${amount}, ${level}, ${exp}, ${levelsGained})
        )
        UPDATE players SET level = ${level}, exp = ${exp} WHERE id = ${id}`
      return { player: { ...player, level, exp }, levelsGained }
    })

    return {
      create,
      get,
      gainExp: (id, requestId, amount) =>
        Pg.transaction(applyGain(id, requestId, amount)).pipe(
          Effect.provideService(SqlClient.SqlClient, sql),
          Effect.catchTag("PgError", toUnavailable)
        )
    }
  })
)

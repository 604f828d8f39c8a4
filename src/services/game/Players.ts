import * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import * as Pg from "../../pg/Pg.ts"
import { StorageUnavailable } from "../errors.ts"
import type { PlayerId } from "../PlayerId.ts"
import { PlayerAlreadyExists, PlayerNotFound, RequestIdReused } from "./errors.ts"
import { book, type RequestId } from "./ledger.ts"
import { Levels } from "./Levels.ts"
import type { Amount, Money } from "./Money.ts"

/** The name that other players see. */
export const PlayerName = Schema.String.check(
  Schema.isPattern(/^(?!\p{White_Space})(?:(?!\p{DI})\P{C}){1,32}(?<!\p{White_Space})$/u, {
    expected: "1 to 32 characters that can be seen, without blanks at its ends"
  })
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

/**
 * What a gain brought.
 *
 * - `gold`: of the levels
 * - `isRepeated`: it was brought by an earlier try of the request
 */
export interface Gain {
  readonly player: Player
  readonly levelsGained: number
  readonly gold: Amount
  readonly isRepeated: boolean
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
     * Adds experience, the levels that it brings and the gold that they bring, in one transaction, once for a request id:
     * again it answers what it answered first. Fails with RequestIdReused when the id named another amount.
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
 * Locks a player to the end of the caller's transaction: nothing else changes what it has. It comes first and alone, so
 * that what another call commits while we wait is seen by what follows. Fails with PlayerNotFound.
 */
export const lockPlayer = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, id: PlayerId) {
  const rows = yield* sql<Player>`SELECT id, name, level, exp FROM players WHERE id = ${id} FOR UPDATE`
  return rows[0] ?? (yield* new PlayerNotFound({ playerId: id }))
})

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
      Effect.catchTag("PgError", StorageUnavailable.from)
    )

    const get = Effect.fnUntraced(
      function* (id: PlayerId) {
        const rows = yield* Pg.run(sql<Player>`SELECT id, name, level, exp FROM players WHERE id = ${id}`)
        return rows[0] ?? (yield* new PlayerNotFound({ playerId: id }))
      },
      Effect.catchTag("PgError", StorageUnavailable.from)
    )

    const applyGain = Effect.fnUntraced(function* (id: PlayerId, requestId: RequestId, amount: ExpAmount) {
      const player = yield* lockPlayer(sql, id)
      const gains = yield* sql<GainRow>`
        SELECT amount, level, exp, levels_gained FROM exp_gains WHERE player_id = ${id} AND request_id = ${requestId}`
      const earlier = gains[0]
      if (earlier !== undefined) {
        const { amount: given, exp, level, levels_gained: levelsGained } = earlier
        if (given !== amount) return yield* new RequestIdReused({ requestId })
        const gold = levels.goldOf(level - levelsGained, level)
        return { player: { ...player, level, exp }, levelsGained, gold, isRepeated: true }
      }
      const exp = player.exp + amount
      const level = levels.of(exp)
      const levelsGained = level - player.level
      const gold = levels.goldOf(player.level, level)
      yield* sql`
        WITH gain AS (
          INSERT INTO exp_gains (player_id, request_id, amount, level, exp, levels_gained)
          VALUES (${id}, ${requestId}, ${amount}, ${level}, ${exp}, ${levelsGained})
        )
        UPDATE players SET level = ${level}, exp = ${exp} WHERE id = ${id}`
      if (!BigDecimal.isZero(gold)) {
        const change: Money = { currency: "gold", amount: gold }
        // It gives, so there is always enough.
        const booking = { playerId: id, kind: "level_up", requestId, change, reason: "level_up" } as const
        yield* Effect.catchTag(book(sql, booking), "InsufficientFunds", Effect.die)
      }
      return { player: { ...player, level, exp }, levelsGained, gold, isRepeated: false }
    })

    return {
      create,
      get,
      gainExp: (id, requestId, amount) =>
        Pg.transaction(applyGain(id, requestId, amount)).pipe(
          Effect.provideService(SqlClient.SqlClient, sql),
          Effect.catchTag("PgError", StorageUnavailable.from)
        )
    }
  })
)

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Push } from "../gateway/Push.ts"
import { currencies } from "./Money.ts"
import type { Gain } from "./Players.ts"

/** Tells players of their new levels. */
export class LevelUps extends Context.Service<
  LevelUps,
  {
    /**
     * Pushes `level_up` to the player of a gain: `{"level":5,"levels_gained":2,"gold":"37.50"}`. It waits for nothing; a
     * push that is lost is in the log, and the player sees the level with the next look.
     */
    readonly announce: (gain: Gain) => Effect.Effect<void>
  }
>()("xdooria/services/game/LevelUps") {}

/** By way of {@link Push}; what is on its way ends with the layer. */
export const LevelUpsLive: Layer.Layer<LevelUps, never, Push> = Layer.effect(
  LevelUps,
  Effect.gen(function* () {
    const push = yield* Push
    const scope = yield* Effect.scope

    const send = ({ gold, levelsGained, player }: Gain) => {
      const told = { level: player.level, levels_gained: levelsGained, gold: currencies.gold.format(gold) }
      return push.send(player.id, { topic: "level_up", payload: JSON.stringify(told) }).pipe(
        Effect.timeout("2 seconds"),
        Effect.catch((error) => Effect.logWarning("a level up could not be pushed", error.message))
      )
    }

    return { announce: (gain) => Effect.asVoid(Effect.forkIn(send(gain), scope)) }
  })
)

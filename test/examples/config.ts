import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Config } from "xdooria/config"
import { ConfigLive } from "xdooria/config/live"

// What the service reads, beside the sections of the rooms.
const WorldConfig = Config.section("world", {
  maxPlayers: Schema.Int.pipe(Config.withDefault(100), Schema.annotate({ description: "Players in one world" })),
  seed: Config.Secret.pipe(Schema.annotateKey({ description: "Seed of the map" }))
})

const program = Effect.gen(function* () {
  const { maxPlayers, seed } = yield* Config.get(WorldConfig)
  const { sourceOf } = yield* Config.Current
  yield* Console.log(`${maxPlayers} players (${Option.getOrThrow(sourceOf("world.max_players"))}), seed ${seed}`)
})

// Once, in the root. The file is config/dev/game.yaml, XDOORIA_WORLD_MAX_PLAYERS would come over it.
const GameConfig = ConfigLive("game", { sections: [WorldConfig], environment: { XDOORIA_WORLD_SEED: "4711" } })

await Effect.runPromise(Effect.provide(program, GameConfig))

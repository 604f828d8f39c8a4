// What `xdooria serve` says of a service's servers, also of one that has fewer than the game.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ConfigTest } from "xdooria/config"
import { GrpcEmbedded } from "xdooria/grpc"
import { LeaderboardEmbedded } from "xdooria/leaderboard"
import { placesOf } from "../../src/cli/serve.ts"

const config = ConfigTest({ redis: { addrs: ["127.0.0.1:1", "127.0.0.1:2"] } })

/** The root of a service that needs no server. */
const main = GrpcEmbedded.pipe(Layer.provide(config))

const placesWith = <A, E>(layer: Layer.Layer<A, E>, kind: "embedded" | "live") =>
  Effect.flatMap(Layer.build(layer), (context) => placesOf(context, kind))

describe("xdooria serve", () => {
  it.effect("names no server that a service does without", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* placesWith(main, "live"), [])
      assert.deepStrictEqual(yield* placesOf(Context.empty(), "embedded"), [])
    })
  )

  it.effect("names those that it has", () =>
    Effect.gen(function* () {
      const boards = LeaderboardEmbedded.pipe(Layer.provideMerge(config))
      assert.deepStrictEqual(yield* placesWith(boards, "embedded"), ["leaderboards (embedded) in memory"])
      assert.deepStrictEqual(yield* placesWith(boards, "live"), ["Redis (live) on 127.0.0.1:1, 127.0.0.1:2"])
    })
  )
})

import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Channel, Command, Redis } from "xdooria/redis"
import { layerLive } from "xdooria/redis/live"

const Kick = Schema.Struct({ player: Schema.String, reason: Schema.String })
const kicks = Channel.make("gateway:kicks", Kick)

const program = Effect.gen(function* () {
  const redis = yield* Redis
  const channel = yield* Effect.fromResult(kicks("gw1"))
  const kick = yield* Effect.fromResult(Command.publish(channel, { player: "ann", reason: "banned" }))

  yield* redis.subscribe(channel).pipe(
    Stream.tap((event) =>
      event._tag === "Gap"
        ? // The server hears us from here on. What came before, now or after a lost connection, is read elsewhere.
          Effect.andThen(Console.log("read who is banned"), redis.run(kick))
        : Console.log(`kick ${event.value.player}: ${event.value.reason}`)
    ),
    Stream.take(2),
    Stream.runDrain
  )
})

const address = process.env["XDOORIA_REDIS_ADDRS"] ?? "127.0.0.1:6379"
await Effect.runPromise(Effect.provide(program, layerLive({ addrs: [address], keyPrefix: "example:" })))

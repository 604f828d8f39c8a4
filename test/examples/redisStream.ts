import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Command, EventStream, Key, Redis } from "xdooria/redis"
import { layerLive } from "xdooria/redis/live"

const Bought = Schema.Struct({ player: Schema.String, item: Schema.String })

const program = Effect.gen(function* () {
  const redis = yield* Redis
  const key = yield* Effect.fromResult(Key.make("shop", "eu"))
  const purchases = EventStream.make(key, Bought)

  // Under an id it is there once, however often its reply is lost and it is tried again.
  const bought = { player: "ann", item: "sword" }
  yield* EventStream.append(purchases, bought, { once: "order-1" })
  yield* EventStream.append(purchases, bought, { once: "order-1" })

  // Acknowledged when the handler has succeeded: a crash before that gives the event to another consumer of the group.
  const done = yield* Deferred.make<void>()
  const mail = EventStream.consume(purchases, { group: "mail", consumer: "mail-1" }, ({ value }) =>
    Effect.andThen(Console.log(`mail ${value.player} the ${value.item}`), Deferred.succeed(done, undefined))
  )
  yield* Effect.raceFirst(mail, Deferred.await(done))

  yield* Console.log(`in the stream: ${yield* redis.run(Command.xlen(key))}`)
  yield* redis.run(Command.del(key, Key.beside(key, "xd:appended"), Key.beside(key, "xd:appended-at")))
})

const address = process.env["XDOORIA_REDIS_ADDRS"] ?? "127.0.0.1:6379"
await Effect.runPromise(Effect.provide(program, layerLive({ addrs: [address], keyPrefix: "example:" })))

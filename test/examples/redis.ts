import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { Command, Key, Redis, Script } from "xdooria/redis"
import { layerLive } from "xdooria/redis/live"

// A script: its keys share a slot, which the compiler checks; it is sent once to each node.
const spend = Script.make({
  name: "wallet.spend",
  lua: `
    local left = tonumber(redis.call('GET', KEYS[1]) or '0') - ARGV[1]
    if left < 0 then return -1 end
    redis.call('SET', KEYS[1], left)
    redis.call('RPUSH', KEYS[2], ARGV[1])
    return left`,
  keys: ["wallet", "receipts"],
  args: (amount: number) => [amount],
  reply: Command.integer
})

const program = Effect.gen(function* () {
  const redis = yield* Redis
  // What comes from outside is a part of a key, checked and never encoded: "a:b", "{x}" or "*" is refused.
  const wallet = yield* Effect.fromResult(Key.make("wallet", "ann"))
  const receipts = Key.beside(wallet, "xd:receipts")

  yield* redis.run(Command.set(wallet, "100", { millis: 60_000 }))
  yield* Console.log(`left: ${yield* redis.run(spend([wallet, receipts], 30))}`)

  // One round trip, a result for each.
  const [gold, count] = yield* redis.batch([Command.get(wallet), Command.llen(receipts)])
  yield* Console.log(`gold: ${yield* Effect.fromResult(gold)}, receipts: ${yield* Effect.fromResult(count)}`)

  // Nothing comes between. When its reply is lost it is told so, and never done again behind your back.
  yield* redis
    .transaction([Command.incrBy(wallet, 5), Command.del(receipts)])
    .pipe(Effect.catchReason("RedisFailure", "OutcomeUnknown", () => Console.log("look whether it was done")))
  yield* Effect.catchReason(redis.run(Command.llen(wallet)), "RedisFailure", "WrongType", ({ message }) =>
    Console.log(`refused: ${message}`)
  )
  yield* redis.batch([Command.del(wallet), Command.del(receipts)])
})

// A service has RedisLive here, which reads section `redis` of its configuration.
const address = process.env["XDOORIA_REDIS_ADDRS"] ?? "127.0.0.1:6379"
await Effect.runPromise(Effect.provide(program, layerLive({ addrs: [address], keyPrefix: "example:" })))

import * as BigDecimal from "effect/BigDecimal"
import * as Console from "effect/Console"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { Crypto, Decimal, HashRing, Uuid } from "xdooria/utils"

const gold = Decimal.currency({ code: "gold", scale: 2 })

// Amounts are exact, and those of another currency do not compile here.
const price = Effect.gen(function* () {
  const one = yield* Effect.fromResult(gold.parse("19.90"))
  const three = yield* Effect.fromResult(gold.multiply(one, 3n))
  const left = yield* Effect.fromResult(gold.subtract(yield* Effect.fromResult(gold.parse("50")), three))
  yield* Console.log(`three cost ${gold.format(three)}, enough gold: ${!BigDecimal.isNegative(left)}`)
})

const ids = Effect.gen(function* () {
  const [first, second] = [yield* Uuid.v7, yield* Uuid.v7]
  const made = Option.map(Uuid.timestamp(first), DateTime.formatIso)
  yield* Console.log(`in order: ${first < second}, made at a known time: ${Option.isSome(made)}`)
})

const passwords = Effect.gen(function* () {
  const { hash, verify } = yield* Crypto.passwords()
  const stored = yield* hash(Redacted.make("correct horse battery staple"))
  // It costs the same for an account that does not exist.
  const nobody = yield* verify(Redacted.make("a guess"), undefined)
  yield* Console.log(
    `right: ${yield* verify(Redacted.make("correct horse battery staple"), stored)}, nobody: ${nobody}`
  )
})

const sealing = Effect.gen(function* () {
  const ring = yield* Effect.fromResult(
    Crypto.keyRing({ current: "2", keys: { "1": yield* Crypto.token(), "2": yield* Crypto.token() } })
  )
  const sealed = yield* Crypto.seal(ring, Redacted.make("a secret of ann"), "player:ann")
  // It opens for what it was sealed for, and for nothing else.
  const bob = Crypto.open(ring, sealed, "player:bob")
  const opened = yield* Effect.fromResult(Crypto.open(ring, sealed, "player:ann"))
  yield* Console.log(`for ann: ${Redacted.value(opened)}, for bob: ${bob._tag}`)
})

const routing = Effect.gen(function* () {
  const nodes = ["10.0.0.1:9000", "10.0.0.2:9000", "10.0.0.3:9000"].map((key) => ({ key, value: key }))
  const [before, after] = [HashRing.make(nodes), HashRing.make(nodes.slice(1))]
  const players = Array.from({ length: 300 }, (_, i) => `player-${i}`)
  const moved = players.filter((player) => HashRing.get(before, player) !== HashRing.get(after, player))
  yield* Console.log(`${moved.length} of 300 players moved when one of three nodes went`)
})

await Effect.runPromise(Effect.all([price, ids, passwords, sealing, routing]))

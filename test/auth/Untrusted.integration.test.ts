// What somebody else, or a loss of data, leaves where the room keeps what was ended.
import { assert, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { Auth } from "xdooria/auth"
import { makeLive } from "xdooria/auth/live"
import { client, driver, eventually, freshPrefix, single } from "../support/RedisBackends.ts"
import * as RealServer from "../support/RealServer.ts"
import { fresh, secrets, standing, tagOf } from "./AuthContract.ts"

const players = "xd:auth-players"

const largest = Number.MAX_SAFE_INTEGER

RealServer.suite("redis", "AuthLive on what it did not write", (server) => {
  const options = single(server)

  /** A service, and Redis by hand. */
  const setUp = Effect.gen(function* () {
    const prefix = freshPrefix()
    const redis = yield* client(options, { keyPrefix: prefix })
    const auth = Context.get(yield* Effect.provide(makeLive(secrets), redis), Auth)
    const native = yield* driver(options)
    const login = Effect.suspend(() => {
      const playerId = fresh("p")
      return Effect.map(auth.issue({ playerId }), (tokens) => ({ playerId, tokens }))
    })
    const isEnded = ({ tokens }: Effect.Success<typeof login>) =>
      Effect.match(auth.verify(tokens.access), {
        onSuccess: () => false,
        onFailure: ({ reason }) => reason._tag === "Revoked"
      })
    const add = (stream: string, id: string, value: unknown) =>
      Effect.promise(() => native.xadd(`${prefix}${stream}`, id, "value", JSON.stringify(value)))
    return { prefix, auth, native, login, isEnded, add }
  })

  it.live("believes no generation that is no time of now", () =>
    Effect.gen(function* () {
      const { add, auth, isEnded, login, native, prefix } = yield* setUp
      const [target, told] = [yield* login, yield* login]
      const { playerId } = target
      for (const generation of [largest, Date.now() + 172_800_000, 1e300]) {
        yield* Effect.promise(() =>
          native.publish(`${prefix}xd:auth-revoked`, JSON.stringify({ player: playerId, generation, ban: "forever" }))
        )
        yield* add(players, "*", { player: playerId, generation })
      }
      // What comes after that shows that it was read.
      yield* add(players, "*", { player: told.playerId, generation: Date.now() + 5_000 })
      yield* eventually("what was appended last is known", isEnded(told))
      assert.deepStrictEqual(yield* standing(auth, target.tokens), ["good", "good"])
      const next = yield* auth.issue({ playerId })
      yield* auth.logoutAll(playerId)
      assert.deepStrictEqual(yield* standing(auth, next), ["Revoked ended", "Revoked ended"])
      yield* auth.ban(playerId, "forever")
      assert.strictEqual(yield* tagOf(auth.issue({ playerId })), "Banned")
    }).pipe(Effect.scoped)
  )

  it.live.each([String(largest - 1), "1e300", "inf", "nan", "-5", "0.5", "x", ""])(
    "takes no generation from a player's key that is none: %s",
    (generation) =>
      Effect.gen(function* () {
        const { auth, login, native, prefix } = yield* setUp
        const { playerId, tokens } = yield* login
        const forge = Effect.promise(() =>
          native.hset(`${prefix}xd:auth-player:${playerId}`, { generation }).then(() => undefined)
        )
        yield* forge
        const next = yield* auth.issue({ playerId })
        assert.deepStrictEqual(yield* standing(auth, next), ["good", "good"])
        yield* forge
        yield* auth.logoutAll(playerId)
        assert.strictEqual(yield* tagOf(auth.verify(tokens.access)), "Revoked ended")
        assert.strictEqual(yield* tagOf(auth.verify(next.access)), "Revoked ended")
        const last = yield* auth.issue({ playerId })
        assert.deepStrictEqual(yield* standing(auth, last), ["good", "good"])
        yield* forge
        yield* auth.ban(playerId, "forever")
        assert.deepStrictEqual(yield* standing(auth, last), ["Revoked banned", "Banned"])
      }).pipe(Effect.scoped)
  )

  it.live("looks from the beginning when what it had read last is gone", () =>
    Effect.gen(function* () {
      const { add, isEnded, login, native, prefix } = yield* setUp
      const [first, second, third] = [yield* login, yield* login, yield* login]
      const later = Date.now() + 5_000
      // Of a time that will not come.
      yield* add(players, "9999999999999-0", { player: first.playerId, generation: later })
      yield* eventually("the far one is known", isEnded(first))
      yield* Effect.promise(() => native.del(`${prefix}${players}`))
      yield* add(players, "*", { player: second.playerId, generation: later })
      yield* eventually("what came to the new stream is known", isEnded(second))
      // Others are there by then, of which one has a later name than what was read last.
      yield* Effect.promise(() => native.del(`${prefix}${players}`))
      yield* add(players, `${later - 60_000}-0`, { player: third.playerId, generation: later })
      yield* add(players, "*", { player: fresh("p"), generation: later })
      yield* eventually("an earlier one of another stream is known", isEnded(third))
    }).pipe(Effect.scoped)
  )
})

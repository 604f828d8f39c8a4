import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Auth, playerOf, requireRole } from "xdooria/auth"
import { layerEmbedded } from "xdooria/auth/embedded"
import { Authenticator, type Grpc, Principal } from "xdooria/grpc"
import { fresh } from "./AuthContract.ts"

/** A call with this in `authorization`, or without it. */
const callOf = (authorization?: string): Grpc.Call["Service"] => {
  const get = (name: string) => (name === "authorization" && authorization !== undefined ? [authorization] : [])
  return {
    method: "test.Service/Method",
    metadata: { get, toJSON: () => ({}) },
    peer: { address: "127.0.0.1" },
    deadline: Infinity,
    setHeader: () => Effect.void,
    setTrailer: () => Effect.void,
    hangUp: Effect.void
  }
}

const layer = Auth.layerAuthenticator.pipe(Layer.provideMerge(layerEmbedded()))

describe("Auth.layerAuthenticator", () => {
  it.effect("knows the caller by the access token, and says nothing of a bad one", () =>
    Effect.gen(function* () {
      const auth = yield* Auth
      const { authenticate } = yield* Authenticator
      const playerId = fresh("p")
      const tokens = yield* auth.issue({ playerId, roles: ["admin"] })
      const text = Redacted.value(tokens.access)
      for (const authorization of [`Bearer ${text}`, text, `Bearer ${text}`]) {
        const { playerId: id, roles, tokenId } = yield* authenticate(callOf(authorization))
        assert.deepStrictEqual([id, roles], [playerId, ["admin"]])
        assert.isAbove(tokenId.length, 10)
      }
      yield* auth.logoutAll(playerId)
      for (const [authorization, problem] of [
        [undefined, "no authorization"],
        [`Bearer ${text}`, "the token was revoked (ended)"],
        [`bearer ${text}`, "the token was revoked (ended)"],
        [`Basic ${text}`, "the token cannot be read"],
        [`Bearer ${Redacted.value(tokens.refresh)}`, "the token cannot be read"]
      ] as const) {
        const error = yield* Effect.flip(authenticate(callOf(authorization)))
        assert.include(error.problem, problem)
        assert.notInclude(error.message, text)
      }
    }).pipe(Effect.provide(layer))
  )
})

describe("a caller", () => {
  const as = (roles: ReadonlyArray<string>) => Effect.provideService(Principal, { playerId: "p1", roles, tokenId: "t" })

  it.effect("with a role passes where that is needed", () =>
    Effect.gen(function* () {
      yield* requireRole("admin").pipe(as(["game-master", "admin"]))
      const error = yield* Effect.flip(requireRole("admin").pipe(as(["game-master"])))
      assert.deepStrictEqual([error._tag, error.role], ["NotAllowed", "admin"])
    })
  )

  it.effect("means itself unless it names another, for which it needs a role", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* playerOf("", "game-master").pipe(as([])), "p1")
      assert.strictEqual(yield* playerOf("p1", "game-master").pipe(as([])), "p1")
      assert.strictEqual(yield* playerOf("p2", "game-master").pipe(as(["game-master"])), "p2")
      assert.strictEqual((yield* Effect.flip(playerOf("p2", "game-master").pipe(as(["admin"])))).role, "game-master")
    })
  )
})

import { describe, expectTypeOf, it } from "@effect/vitest"
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import {
  Auth,
  type AuthError,
  type Identity,
  Lockout,
  type NotAllowed,
  playerOf,
  requireRole,
  type Tokens
} from "xdooria/auth"
import { AuthEmbedded, layerEmbedded, makeEmbedded } from "xdooria/auth/embedded"
import { AuthLive, layerLive, makeLive } from "xdooria/auth/live"
import type { InvalidConfig } from "xdooria/config"
import type { Authenticator, Principal } from "xdooria/grpc"
import type { Redis } from "xdooria/redis"

declare const auth: Auth["Service"]
declare const token: Redacted.Redacted
declare const login: Effect.Effect<"in", "wrong password", Redis>

describe("operations", () => {
  it("fail with AuthError alone, and need nothing", () => {
    expectTypeOf(auth.issue({ playerId: "p" })).toEqualTypeOf<Effect.Effect<Tokens, AuthError>>()
    expectTypeOf(auth.verify(token)).toEqualTypeOf<Effect.Effect<Identity, AuthError>>()
    expectTypeOf(auth.refresh(token)).toEqualTypeOf<Effect.Effect<Tokens, AuthError>>()
  })

  it("on a caller need one, so that a public method cannot ask for it", () => {
    expectTypeOf(requireRole("admin")).toEqualTypeOf<Effect.Effect<void, NotAllowed, Principal>>()
    expectTypeOf(playerOf("p", "admin")).toEqualTypeOf<Effect.Effect<string, NotAllowed, Principal>>()
  })

  it("around a login fail as it does, and with AuthError", () => {
    expectTypeOf(
      login.pipe(Lockout.guard({ account: "a", address: "10.0.0.1" }, (error) => error === "wrong password"))
    ).toEqualTypeOf<Effect.Effect<"in", "wrong password" | AuthError, Lockout | Redis>>()
  })
})

describe("layers", () => {
  it("say what can fail and what they need", () => {
    expectTypeOf(AuthLive).toEqualTypeOf<Layer.Layer<Auth | Lockout, AuthError | InvalidConfig, Redis>>()
    expectTypeOf(layerLive()).toEqualTypeOf<Layer.Layer<Auth | Lockout, AuthError | InvalidConfig, Redis>>()
    expectTypeOf(makeLive()).toEqualTypeOf<
      Effect.Effect<Context.Context<Auth | Lockout>, AuthError | InvalidConfig, Redis | Scope.Scope>
    >()
    expectTypeOf(AuthEmbedded).toEqualTypeOf<Layer.Layer<Auth | Lockout, InvalidConfig>>()
    expectTypeOf(layerEmbedded()).toEqualTypeOf<Layer.Layer<Auth | Lockout, InvalidConfig>>()
    expectTypeOf(makeEmbedded()).toEqualTypeOf<
      Effect.Effect<Context.Context<Auth | Lockout>, InvalidConfig, Scope.Scope>
    >()
    expectTypeOf(Auth.layerAuthenticator).toEqualTypeOf<Layer.Layer<Authenticator, never, Auth>>()
  })
})

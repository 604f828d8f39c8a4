import { describe, expectTypeOf, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { InvalidConfig } from "xdooria/config"
import type { Redis } from "xdooria/redis"
import {
  type Banned,
  type Kick,
  layerEmbedded,
  makeEmbedded,
  type Session,
  type SessionData,
  SessionEmbedded,
  type SessionError
} from "xdooria/session"
import { layerLive, makeLive, SessionLive } from "xdooria/session/live"

declare const session: Session["Service"]
declare const token: Redacted.Redacted
declare const made: SessionData

describe("operations", () => {
  it("fail with SessionError alone, and need nothing", () => {
    expectTypeOf(session.login({ playerId: "p1", token, gateway: "gw-1" })).toEqualTypeOf<
      Effect.Effect<SessionData, SessionError>
    >()
    expectTypeOf(session.get("p1")).toEqualTypeOf<Effect.Effect<SessionData | undefined, SessionError>>()
    expectTypeOf(session.check("p1", token)).toEqualTypeOf<Effect.Effect<SessionData, SessionError>>()
    expectTypeOf(session.logout(made)).toEqualTypeOf<Effect.Effect<void, SessionError>>()
    expectTypeOf(session.countOnline).toEqualTypeOf<Effect.Effect<number, SessionError>>()
    expectTypeOf(session.kicks("gw-1")).toEqualTypeOf<Stream.Stream<Kick, SessionError>>()
  })

  it("take a token that is Redacted, and give one", () => {
    expectTypeOf(made.token).toEqualTypeOf<Redacted.Redacted>()
    // @ts-expect-error a plain text would end up in a log
    session.check("p1", "token")
    // @ts-expect-error a plain text would end up in a log
    session.login({ playerId: "p1", token: "token", gateway: "gw-1" })
  })

  it("have reasons that are caught by name, with what they say", () => {
    expectTypeOf(
      Effect.catchReason(session.check("p1", token), "SessionError", "Banned", (banned) => {
        expectTypeOf(banned).toEqualTypeOf<Banned>()
        return Effect.succeed("banned" as const)
      })
    ).toEqualTypeOf<Effect.Effect<SessionData | "banned", SessionError>>()
    // @ts-expect-error there is no such reason
    Effect.catchReason(session.check("p1", token), "SessionError", "Expired", () => Effect.void)
  })
})

describe("layers", () => {
  it("ask for Redis, and fail as they say", () => {
    expectTypeOf(SessionLive).toEqualTypeOf<Layer.Layer<Session, SessionError | InvalidConfig, Redis>>()
    expectTypeOf(layerLive()).toEqualTypeOf<Layer.Layer<Session, SessionError, Redis>>()
    expectTypeOf(makeLive()).toEqualTypeOf<Effect.Effect<Session["Service"], SessionError, Redis | Scope.Scope>>()
  })

  it("need nothing in memory", () => {
    expectTypeOf(SessionEmbedded).toEqualTypeOf<Layer.Layer<Session, InvalidConfig>>()
    expectTypeOf(layerEmbedded()).toEqualTypeOf<Layer.Layer<Session>>()
    expectTypeOf(makeEmbedded()).toEqualTypeOf<Effect.Effect<Session["Service"], never, Scope.Scope>>()
  })
})

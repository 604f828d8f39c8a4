import { describe, expectTypeOf, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as SqlClient from "effect/sql/SqlClient"
import type { InvalidConfig } from "xdooria/config"
import { type CurrentLease, Fence, type Lease, Lock, LockEmbedded, type LockError, layerEmbedded } from "xdooria/lock"
import { layerLive, LockLive, LockSequenceLive } from "xdooria/lock/live"
import type { PgError } from "xdooria/pg"
import type { Key, Redis } from "xdooria/redis"

declare const key: Key.Key<"lock">
declare const work: Effect.Effect<number, "mine", string>
declare const scopedWork: Effect.Effect<number, never, Scope.Scope>
declare const statement: Effect.Effect<number, PgError, SqlClient.SqlClient>

describe("Lock.acquire", () => {
  it("asks for a scope, which releases it", () => {
    expectTypeOf(Lock.acquire(key)).toEqualTypeOf<Effect.Effect<Lease, LockError, Lock | Scope.Scope>>()
    // @ts-expect-error a lock is not released without a scope
    const _: Effect.Effect<Lease, LockError, Lock> = Lock.acquire(key)
  })

  it("takes a key, not a text", () => {
    // @ts-expect-error a text is no key
    Lock.acquire("lock:p1")
  })
})

describe("Lock.withLock", () => {
  const locked = Lock.withLock(key)(work)

  it("adds Lost and the other reasons to the errors of the work, and Lock to what it asks for", () => {
    expectTypeOf(locked).toEqualTypeOf<Effect.Effect<number, "mine" | LockError, string | Lock>>()
    expectTypeOf<LockError["reason"]["_tag"]>().toEqualTypeOf<
      "Held" | "Timeout" | "Lost" | "Stale" | "InvalidInput" | "Closed" | "Unavailable" | "OutcomeUnknown" | "Refused"
    >()
  })

  it("does not let the loss be ignored", () => {
    // @ts-expect-error the work may have been interrupted
    const _: Effect.Effect<number, "mine", string | Lock> = locked
    const handled = Effect.catchReasons(locked, "LockError", { Lost: () => Effect.succeed("lost" as const) })
    expectTypeOf<Effect.Success<typeof handled>>().toEqualTypeOf<number | "lost">()
  })

  it("keeps the scope that the work asks for", () => {
    expectTypeOf(Lock.withLock(key)(scopedWork)).toEqualTypeOf<Effect.Effect<number, LockError, Lock | Scope.Scope>>()
  })
})

describe("Fence", () => {
  it("has no guarded write without a lease", () => {
    expectTypeOf(Fence.guard(statement)).toEqualTypeOf<
      Effect.Effect<number, LockError | PgError, CurrentLease | SqlClient.SqlClient>
    >()
    expectTypeOf(Lock.withLock(key)(Fence.guard(statement))).toEqualTypeOf<
      Effect.Effect<number, LockError | PgError, Lock | SqlClient.SqlClient>
    >()
    expectTypeOf(Fence.set(key, "v")).toEqualTypeOf<Effect.Effect<void, LockError, CurrentLease | Redis>>()
    // @ts-expect-error what nobody guards is no guarded write
    const _: Effect.Effect<void, LockError, Redis> = Fence.set(key, "v")
  })
})

describe("the layers", () => {
  it("ask for PostgreSQL only when the tokens come from it", () => {
    expectTypeOf(LockLive).toEqualTypeOf<Layer.Layer<Lock, InvalidConfig, Redis>>()
    expectTypeOf(LockSequenceLive).toEqualTypeOf<Layer.Layer<Lock, InvalidConfig, Redis | SqlClient.SqlClient>>()
    expectTypeOf(layerLive()).toEqualTypeOf<Layer.Layer<Lock, never, Redis>>()
    expectTypeOf(layerLive({ fence: Fence.redis })).toEqualTypeOf<Layer.Layer<Lock, never, Redis>>()
    expectTypeOf(layerLive({ fence: Fence.sequence })).toEqualTypeOf<
      Layer.Layer<Lock, never, Redis | SqlClient.SqlClient>
    >()
    expectTypeOf(LockEmbedded).toEqualTypeOf<Layer.Layer<Lock, InvalidConfig>>()
    expectTypeOf(layerEmbedded()).toEqualTypeOf<Layer.Layer<Lock>>()
  })
})

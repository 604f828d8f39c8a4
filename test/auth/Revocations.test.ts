import { assert, describe, it } from "@effect/vitest"
import type { Verified } from "../../src/auth/internal/claims.ts"
import {
  aheadMillis,
  ownMillis,
  planMillis,
  type Revocation,
  Revocations
} from "../../src/auth/internal/revocations.ts"

const start = 1_800_000_000_000

const token = (more: Partial<Verified> = {}): Verified => ({
  playerId: "p",
  roles: [],
  tokenId: "t",
  family: "f",
  generation: start,
  profile: "own",
  issuedAt: start,
  expiresAt: start + 900_000,
  ...more
})

const planToken = (issuedAt: number): Verified => {
  const { family: _family, generation: _generation, ...rest } = token()
  return { ...rest, profile: "plan", issuedAt }
}

/** Revocations at a time that a test sets. */
const make = (takesPlan = true) => {
  const clock = { now: start }
  const revocations = new Revocations(takesPlan, () => clock.now)
  return { clock, revocations, apply: (one: Revocation, at = clock.now) => revocations.apply(one, at) }
}

describe("Revocations", () => {
  it("knows a family as long as it has tokens", () => {
    const { apply, clock, revocations } = make()
    apply({ family: "f" })
    assert.strictEqual(revocations.endOf(token()), "ended")
    assert.isUndefined(revocations.endOf(token({ family: "g" })))
    clock.now += ownMillis - 1
    revocations.purge()
    assert.strictEqual(revocations.endOf(token()), "ended")
    clock.now += 1
    revocations.purge()
    assert.isUndefined(revocations.endOf(token()))
  })

  it("ends lower generations of a player, and tokens without one by their second", () => {
    const { apply, revocations } = make()
    apply({ player: "p", generation: start + 5_500 })
    assert.strictEqual(revocations.endOf(token({ generation: start + 5_499 })), "ended")
    assert.isUndefined(revocations.endOf(token({ generation: start + 5_500 })))
    assert.isUndefined(revocations.endOf(token({ playerId: "q", generation: 0 })))
    assert.strictEqual(revocations.endOf(planToken(start + 5_000)), "ended")
    assert.isUndefined(revocations.endOf(planToken(start + 6_000)))
    assert.strictEqual(revocations.floorOf("p"), start + 5_500)
    assert.strictEqual(revocations.floorOf("q"), 0)
  })

  it("takes what comes twice or late for what it is", () => {
    const { apply, clock, revocations } = make()
    apply({ player: "p", generation: start + 2 })
    apply({ player: "p", generation: start + 1 })
    assert.strictEqual(revocations.floorOf("p"), start + 2)
    clock.now += planMillis
    apply({ player: "q", generation: start + 1 }, start)
    apply({ family: "f" }, clock.now - ownMillis)
    assert.strictEqual(revocations.floorOf("q"), 0)
    assert.isUndefined(revocations.endOf(token({ playerId: "r" })))
  })

  it("believes no generation that is no time that has been, and of an end of later that it is of now", () => {
    const { apply, clock, revocations } = make(false)
    apply({ player: "p", generation: start + aheadMillis + 1, ban: "forever" })
    apply({ player: "p", generation: Number.MAX_SAFE_INTEGER })
    assert.strictEqual(revocations.floorOf("p"), 0)
    assert.isUndefined(revocations.endOf(planToken(start)))
    apply({ player: "p", generation: start + aheadMillis }, start + planMillis)
    apply({ family: "f" }, Number.MAX_SAFE_INTEGER)
    assert.strictEqual(revocations.floorOf("p"), start + aheadMillis)
    assert.strictEqual(revocations.endOf(token({ playerId: "q" })), "ended")
    clock.now += ownMillis
    revocations.purge()
    assert.strictEqual(revocations.floorOf("p"), 0)
    assert.isUndefined(revocations.endOf(token({ playerId: "q" })))
  })

  it("keeps what came again, and forgets what did not", () => {
    const { apply, clock, revocations } = make(false)
    apply({ family: "f" })
    apply({ family: "g" })
    apply({ player: "p", generation: start + 1 })
    clock.now += 60_000
    apply({ family: "f" })
    clock.now = start + ownMillis
    revocations.purge()
    assert.strictEqual(revocations.endOf(token()), "ended")
    assert.isUndefined(revocations.endOf(token({ family: "g" })))
    // Without profile `plan` nothing of a player lives longer.
    assert.strictEqual(revocations.floorOf("p"), 0)
  })

  it("bans until an instant, or for ever, or not any more", () => {
    const { apply, clock, revocations } = make()
    apply({ player: "p", generation: start + 1, ban: start + 1_000 })
    assert.strictEqual(revocations.endOf(token()), "banned")
    assert.strictEqual(revocations.endOf(planToken(start + 60_000)), "banned")
    // What was issued after a ban that was lifted, of which nothing was heard here yet.
    assert.isUndefined(revocations.endOf(token({ generation: start + 2 })))
    clock.now += 1_000
    revocations.purge()
    assert.strictEqual(revocations.endOf(token()), "ended")
    assert.isUndefined(revocations.endOf(planToken(start + 60_000)))
    apply({ player: "p", generation: 0, ban: "forever" })
    clock.now += planMillis
    revocations.purge()
    assert.strictEqual(revocations.endOf(planToken(clock.now)), "banned")
    apply({ player: "p", generation: 0, ban: 0 })
    assert.isUndefined(revocations.endOf(planToken(clock.now)))
  })
})

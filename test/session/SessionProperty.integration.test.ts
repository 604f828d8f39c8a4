// SessionLive against SessionEmbedded: whatever is done to both, a caller sees the same, step by step.
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type Kick, makeEmbedded, type SessionOptions } from "xdooria/session"
import { makeLive } from "xdooria/session/live"
import { client, type Options, suites } from "../support/RedisBackends.ts"
import * as Recorder from "../support/Recorder.ts"
import { gateways, look, perform, type Run, sequence } from "./Operations.ts"

/** Which login a kick is of: of those on the device of the player, by epochs, which differ between the backends. */
const nameOf = ({ device, epoch, playerId }: Kick, epochs: ReadonlyArray<string>) =>
  epochs.indexOf(`${playerId} ${device} ${epoch}`)

const compare = (options: Options, session: Partial<SessionOptions>, seed: number) =>
  Effect.gen(function* () {
    const redis = yield* client(options)
    const marked = yield* DateTime.now
    // Longer than the resolution of either clock.
    const tick = Effect.sleep("2 millis")
    const runOn = (service: Run["session"]): Run => ({ session: service, prefix: "p", logins: [], marked, tick })
    const live = runOn(yield* Effect.provide(makeLive(session), redis))
    const embedded = runOn(yield* makeEmbedded(session))
    const heard = yield* Effect.forEach([live, embedded], ({ session }) =>
      Effect.gen(function* () {
        const kicks = yield* Recorder.make<Kick>()
        yield* Effect.forEach(gateways, (gateway) =>
          Effect.forkScoped(Stream.runForEach(session.kicks(gateway), kicks.record))
        )
        return kicks
      })
    )
    for (const operation of yield* sequence(seed, 60)) {
      const done = yield* Effect.all([perform(live, operation), perform(embedded, operation)])
      const at = `seed ${seed}, ${JSON.stringify(operation)}`
      assert.deepStrictEqual(done[0], done[1], at)
      assert.deepStrictEqual(yield* look(live), yield* look(embedded), at)
    }
    const epochsOf = ({ logins }: Run) =>
      logins.map((made) => (made === undefined ? "none" : `${made.playerId} ${made.device} ${made.epoch}`))
    const [ours, theirs] = [epochsOf(live), epochsOf(embedded)]
    // A session that was handed over has an epoch that no login has given: the rest can be told apart. Which of two
    // things ends a session first, as its gateway sees it, is a race; that it is told, and no other, is not.
    const expected = (yield* heard[1]!.all).map((kick) => nameOf(kick, theirs)).filter((login) => login >= 0)
    for (const login of expected) yield* heard[0]!.first((kick) => nameOf(kick, ours) === login)
    const { standings } = yield* look(live)
    const told = (yield* heard[0]!.all).map((kick) => nameOf(kick, ours)).filter((login) => login >= 0)
    assert.deepStrictEqual(
      told.filter((login) => standings[login] === "valid"),
      [],
      `seed ${seed}`
    )
  }).pipe(Effect.scoped)

suites("SessionLive", (options, kind) => {
  describe("against SessionEmbedded", () => {
    for (const maxDevices of [1, 2]) {
      it.live(`is the same to a caller, with ${maxDevices} devices`, () =>
        Effect.forEach(kind === "single" ? [1, 2, 3] : [4, 5], (seed) => compare(options, { maxDevices }, seed))
      )
    }
  })
})

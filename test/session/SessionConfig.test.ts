import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { layerEmbedded, Session, SessionConfig, SessionEmbedded } from "xdooria/session"
import { loginOf, standing, tagOf, token } from "./SessionContract.ts"

const decode = Schema.decodeUnknownEffect(SessionConfig.schema)

describe("SessionConfig", () => {
  it.effect("has defaults for everything", () =>
    Effect.gen(function* () {
      const values = yield* decode({})
      assert.include(values, { sliding: true, maxDevices: 1, replicas: 0 })
      assert.strictEqual(Duration.toSeconds(values.ttl), 600)
      assert.deepStrictEqual(SessionConfig.check(values, "prod"), [])
    })
  )

  it.effect("refuses times that are none, or for ever", () =>
    Effect.gen(function* () {
      for (const field of ["ttl", "onlineTtl", "sweepInterval"] as const) {
        for (const value of [0, 0.0001, 40_000_000]) {
          const faults = SessionConfig.check(yield* decode({ [field]: value }), "dev")
          assert.include(
            faults.map((fault) => fault.field),
            field
          )
        }
      }
      const faults = SessionConfig.check(yield* decode({ onlineTtl: 60, retention: 59 }), "dev")
      assert.deepStrictEqual(faults, [{ field: "retention", expected: "at least online_ttl" }])
    })
  )

  for (const values of [{ ttl: -1 }, { ttl: "10" }, { maxDevices: 0 }, { maxDevices: 1.5 }, { replicas: -1 }]) {
    it.effect(`refuses ${JSON.stringify(values)}`, () =>
      Effect.map(Effect.exit(decode(values)), ({ _tag }) => assert.strictEqual(_tag, "Failure"))
    )
  }
})

describe("SessionEmbedded", () => {
  it.effect("reads the section, which is the defaults here", () =>
    Effect.gen(function* () {
      const session = yield* Session
      const made = yield* session.login(loginOf("p1", "gw-1"))
      yield* TestClock.adjust("599 seconds")
      assert.strictEqual(yield* standing(session, made), "valid")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* standing(session, made), "NotFound")
    }).pipe(Effect.provide(SessionEmbedded))
  )

  it.effect("forgets a player of whom nothing is kept any more, and not before", () =>
    Effect.gen(function* () {
      const session = yield* Session
      const made = yield* session.login(loginOf("p1", "gw-1"))
      yield* session.touch(made)
      yield* session.ban("p2", "forever")
      yield* TestClock.adjust("12 minutes")
      assert.isDefined((yield* session.presence("p1")).lastSeen)
      yield* TestClock.adjust("20 minutes")
      assert.isUndefined((yield* session.presence("p1")).lastSeen)
      assert.strictEqual(yield* tagOf(session.check("p2", token("t"))), "Banned")
    }).pipe(Effect.provide(layerEmbedded({ retention: Duration.minutes(10) })))
  )

  it.effect("keeps the sessions of each layer apart", () =>
    Effect.gen(function* () {
      const [one, two] = yield* Effect.all([Layer.build(layerEmbedded()), Layer.build(layerEmbedded())])
      const made = yield* Effect.provide(
        Effect.flatMap(Session, (session) => session.login(loginOf("p1", "gw-1"))),
        one
      )
      const verdict = yield* Effect.provide(
        Effect.flatMap(Session, (session) => standing(session, made)),
        two
      )
      assert.strictEqual(verdict, "NotFound")
    }).pipe(Effect.scoped)
  )
})

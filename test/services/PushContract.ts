// What every backend of Push promises, for a layer that nobody else uses.
import { assert, layer as layerTest } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { randomUUID } from "node:crypto"
import { Session } from "xdooria/session"
import { type Heard, type Message, Push, type PushError } from "../../src/services/gateway/Push.ts"
import * as Recorder from "../support/Recorder.ts"

/** A player, or a gateway, of one test. */
export const fresh = (kind: string): string => `${kind}-${randomUUID().slice(0, 8)}`

/** One of many messages. */
export const message = (n: number): Message => ({ topic: "test", payload: JSON.stringify({ n }) })

const numbered = (n: number) => ({ sequence: n, ...message(n) })

const tagOf = <A, R>(effect: Effect.Effect<A, PushError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)

/** What a gateway hears, from now on until the test ends; it hears already. */
export const listen = Effect.fnUntraced(function* (gateway: string) {
  const heard = yield* Recorder.make<Heard>()
  yield* Effect.forkScoped(Stream.runForEach((yield* Push).listen(gateway), heard.record))
  yield* heard.first(({ _tag }) => _tag === "Gap")
  return heard
})

/** A player who is connected to a gateway. */
const connected = Effect.fnUntraced(function* (gateway: string) {
  const playerId = fresh("player")
  yield* (yield* Session).login({ playerId, gateway, token: Redacted.make("token") })
  return playerId
})

const times = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

/**
 * The promises.
 *
 * - `clock`: `test` where their time is TestClock's
 */
export const suite = <E>(name: string, layer: Layer.Layer<Push | Session, E>, { clock }: { clock: "test" | "live" }) =>
  layerTest(layer, { excludeTestServices: clock === "live" })(name, (it) => {
    const test = it.effect

    test("numbers the messages of each player from 1, without gaps", () =>
      Effect.gen(function* () {
        const push = yield* Push
        const [one, two] = [fresh("player"), fresh("player")]
        assert.deepStrictEqual(yield* Effect.forEach(times(3), (n) => push.send(one, message(n))), [1, 2, 3])
        assert.strictEqual(yield* push.send(two, message(1)), 1)
        const all = yield* Effect.forEach(times(30), (n) => push.send(two, message(n)), { concurrency: "unbounded" })
        assert.deepStrictEqual(
          all.toSorted((a, b) => a - b),
          times(31).slice(1)
        )
      }))

    test("keeps them for who comes later, in their order", () =>
      Effect.gen(function* () {
        const push = yield* Push
        const player = fresh("player")
        const since = (sequence: number, series?: string) => push.since(player, sequence, series)
        assert.deepStrictEqual(yield* since(0), { messages: [], sequence: 0, series: "", missed: false })
        yield* Effect.forEach(times(5), (n) => push.send(player, message(n)))
        const all = times(5).map(numbered)
        const { series, ...first } = yield* since(0)
        assert.match(series, /^[A-Za-z0-9-]{1,64}$/)
        assert.deepStrictEqual(first, { messages: all, sequence: 5, missed: false })
        for (const its of [undefined, "", series]) {
          assert.deepStrictEqual(yield* since(3, its), { messages: all.slice(3), sequence: 5, series, missed: false })
          assert.deepStrictEqual(yield* since(5, its), { messages: [], sequence: 5, series, missed: false })
        }
      }))

    test("keeps the last 100 of a player, and says when some are missed", () =>
      Effect.gen(function* () {
        const push = yield* Push
        const player = fresh("player")
        yield* Effect.forEach(times(103), (n) => push.send(player, message(n)))
        const kept = times(103).slice(3).map(numbered)
        assert.deepInclude(yield* push.since(player, 3), { messages: kept, sequence: 103, missed: false })
        assert.deepInclude(yield* push.since(player, 2), { messages: kept, sequence: 103, missed: true })
      }))

    test("says so when it has lost what somebody has seen", () =>
      Effect.gen(function* () {
        const push = yield* Push
        const player = fresh("player")
        yield* push.send(player, message(1))
        assert.deepInclude(yield* push.since(player, 2), { messages: [], sequence: 1, missed: true })
      }))

    test("gives all that is kept to who has seen another series, and says that it missed some", () =>
      Effect.gen(function* () {
        const push = yield* Push
        const [player, silent] = [fresh("player"), fresh("player")]
        yield* Effect.forEach(times(4), (n) => push.send(player, message(n)))
        const { series } = yield* push.since(player, 0)
        for (const sequence of [0, 3, 4, 200]) {
          assert.deepStrictEqual(yield* push.since(player, sequence, "another"), {
            messages: times(4).map(numbered),
            sequence: 4,
            series,
            missed: true
          })
        }
        assert.deepStrictEqual(yield* push.since(silent, 3, "another"), {
          messages: [],
          sequence: 0,
          series: "",
          missed: true
        })
        yield* push.send(silent, message(1))
        assert.notStrictEqual((yield* push.since(silent, 0)).series, series)
      }))

    test("tells the gateway of the player at once, in order, with the text as it was sent", () =>
      Effect.gen(function* () {
        const push = yield* Push
        const gateway = fresh("gateway")
        const heard = yield* listen(gateway)
        const player = yield* connected(gateway)
        const texts = ['{"a":"\\u0000 \\" \\\\ é 你好"}', "  [1, 2e3]\n", '"x"', "null"]
        yield* Effect.forEach(texts, (payload) => push.send(player, { topic: "A-z.0_9", payload }))
        const events = yield* heard.atLeast(4, (one) => one._tag === "Message" && one.playerId === player)
        const { series } = yield* push.since(player, 0)
        assert.deepStrictEqual(
          events,
          texts.map((payload, index) => ({
            _tag: "Message" as const,
            playerId: player,
            series,
            message: { sequence: index + 1, topic: "A-z.0_9", payload }
          }))
        )
      }).pipe(Effect.scoped))

    test("tells every gateway what is for everybody", () =>
      Effect.gen(function* () {
        const push = yield* Push
        const gateways = yield* Effect.all([listen(fresh("gateway")), listen(fresh("gateway"))])
        yield* push.broadcast(message(7))
        for (const heard of gateways) {
          const event = yield* heard.first((one) => one._tag === "Broadcast" && one.message.payload === '{"n":7}')
          assert.deepStrictEqual(event, { _tag: "Broadcast", message: message(7) })
        }
      }).pipe(Effect.scoped))

    test("begins with a gap, from which on everything is heard", () =>
      Effect.gen(function* () {
        const push = yield* Push
        const gateway = fresh("gateway")
        const player = yield* connected(gateway)
        yield* push.send(player, message(1))
        const heard = yield* listen(gateway)
        yield* push.send(player, message(2))
        yield* push.broadcast(message(3))
        yield* heard.first((one) => one._tag === "Broadcast")
        yield* heard.first((one) => one._tag === "Message" && one.message.sequence === 2)
        const all = yield* heard.all
        assert.strictEqual(all[0]?._tag, "Gap")
        assert.strictEqual(all.filter(({ _tag }) => _tag === "Gap").length, 1)
      }).pipe(Effect.scoped))

    test("takes the largest payload, and refuses what is none, before anything is kept", () =>
      Effect.gen(function* () {
        const push = yield* Push
        const player = fresh("player")
        const largest = JSON.stringify("x".repeat(16 * 1024 - 2))
        assert.strictEqual(yield* push.send(player, { topic: "t", payload: largest }), 1)
        const refused = [
          { topic: "t", payload: `${largest} ` },
          { topic: "t", payload: JSON.stringify("é".repeat(8 * 1024)) },
          { topic: "t", payload: "" },
          { topic: "t", payload: "{" },
          { topic: "t", payload: '"\ud800"' },
          { topic: "", payload: "1" },
          { topic: "a b", payload: "1" },
          { topic: "x".repeat(65), payload: "1" }
        ]
        for (const one of refused) {
          assert.strictEqual(yield* tagOf(push.send(player, one)), "InvalidInput")
          assert.strictEqual(yield* tagOf(push.broadcast(one)), "InvalidInput")
        }
        const { messages, sequence } = yield* push.since(player, 0)
        assert.deepStrictEqual([sequence, messages.length], [1, 1])
      }))

    test("refuses a player and a number that there cannot be, and does not repeat them", () =>
      Effect.gen(function* () {
        const push = yield* Push
        for (const player of ["", "a b", "a:b", "{a}", "a\r\nb", "..", "x".repeat(257)]) {
          assert.strictEqual(yield* tagOf(push.since(player, 0)), "InvalidInput")
          const error = yield* Effect.flip(push.send(player, message(1)))
          assert.strictEqual(error.reason._tag, "InvalidInput")
          if (player.length > 2) assert.notInclude(error.message, player)
        }
        for (const sequence of [-1, 0.5, Number.NaN, Infinity, 2 ** 53]) {
          assert.strictEqual(yield* tagOf(push.since("p", sequence)), "InvalidInput")
        }
      }))
  })

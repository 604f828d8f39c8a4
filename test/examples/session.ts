import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { Session, SessionEmbedded } from "xdooria/session"

const program = Effect.gen(function* () {
  const session = yield* Session
  const token = Redacted.make("what the client shows with each call")

  // A gateway logs the player in, and hears for as long as it runs which of its sessions have ended.
  const first = yield* session.login({ playerId: "p1", token, gateway: "gw-1" })
  const kicked = yield* Effect.forkChild(Stream.runCollect(Stream.take(session.kicks("gw-1"), 1)))

  // Each call: is the token still good? One round trip.
  const { gateway } = yield* session.check("p1", token)
  yield* Console.log(`p1 is at ${gateway}`)

  // Now and then: the player is there, and the session goes on.
  yield* session.touch(first)
  yield* Console.log(`online: ${yield* session.countOnline}`)

  // The player logs in elsewhere. The old gateway is told, and its late logout does not end the new session.
  const again = Redacted.make("another token")
  const second = yield* session.login({ playerId: "p1", token: again, gateway: "gw-2" })
  const [kick] = yield* Fiber.join(kicked)
  yield* Console.log(`gw-1 is told: ${kick?.playerId} was ${kick?.reason}`)
  yield* session.logout(first)
  const refused = yield* Effect.flip(session.check("p1", token))
  yield* Console.log(refused.message)
  yield* Console.log(`epoch rose: ${second.epoch > first.epoch}`)

  // Banned: no session is good any more, and no login is let through.
  yield* session.ban("p1", "forever")
  yield* session.check("p1", again).pipe(
    Effect.asVoid,
    Effect.catchReason("SessionError", "Banned", ({ message }) => Console.log(message))
  )
})

// A service has SessionLive here, on RedisLive.
await Effect.runPromise(Effect.provide(program, SessionEmbedded))

import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { Auth, Lockout } from "xdooria/auth"
import { layerEmbedded } from "xdooria/auth/embedded"

// Where a service keeps its accounts is its own affair; here it is one.
const passwordOf = (name: string, password: string): Effect.Effect<string, "wrong password"> =>
  name === "ann" && password === "correct horse" ? Effect.succeed("player-1") : Effect.fail("wrong password")

// A login: not after too many that failed, and with tokens at the end.
const login = (account: string, password: string) =>
  Effect.gen(function* () {
    const auth = yield* Auth
    const playerId = yield* passwordOf(account, password).pipe(
      Lockout.guard({ account, address: "203.0.113.7" }, (error) => error === "wrong password")
    )
    return yield* auth.issue({ playerId, roles: ["game-master"] })
  })

const program = Effect.gen(function* () {
  const auth = yield* Auth
  const first = yield* login("ann", "correct horse")

  // Each call shows the access token. Nobody is asked: this process knows what is good.
  const { playerId, roles } = yield* auth.verify(first.access)
  yield* Console.log(`${playerId} is here, as ${roles.join(", ")}`)

  // It is good for minutes. The refresh token gives the next ones, once; again within seconds, the same.
  const second = yield* auth.refresh(first.refresh)
  yield* auth.refresh(first.refresh)
  yield* auth.refresh(second.refresh)

  // Whoever comes with the first one now has stolen it, or was stolen from: the login ends.
  const replay = yield* Effect.flip(auth.refresh(first.refresh))
  yield* Console.log(replay.message)
  yield* auth.verify(second.access).pipe(
    Effect.asVoid,
    Effect.catchReason("AuthError", "Revoked", ({ how }) => Console.log(`the access token too: ${how}`))
  )

  // Logins that fail lock the account for a while.
  yield* Effect.ignore(Effect.repeat(Effect.exit(login("ann", "guess")), { times: 4 }))
  yield* login("ann", "correct horse").pipe(
    Effect.asVoid,
    Effect.catchReason("AuthError", "LockedOut", ({ message }) => Console.log(message))
  )

  yield* auth.ban(playerId, "forever")
  const banned = yield* Effect.flip(auth.issue({ playerId }))
  yield* Console.log(banned.message)
})

// A service has AuthLive here, on RedisLive, and its secret from the configuration.
await Effect.runPromise(Effect.provide(program, layerEmbedded()))

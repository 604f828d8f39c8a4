import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type { Tokens } from "../../gen/auth.ts"
import * as Grpc from "../../grpc/Grpc.ts"
import { AuthApi } from "../../services/auth/api.ts"
import { GameApi } from "../../services/game/api.ts"
import { GatewayApi } from "../../services/gateway/api.ts"
import * as Crypto from "../../utils/Crypto.ts"
import { type Failure, kindOf, type Tally } from "./Tally.ts"

/** How a try is repeated: soon, and about once in a second when it goes on. */
export const again = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(
  Schedule.jittered
)

/** The answers of the transport after which the same is not worth a further try. */
const final = ["InvalidArgument", "Unimplemented", "PermissionDenied", "InvalidTarget", "TlsFailed"]

/** Whether it is not known what became of a call, or it was surely not done for a reason that passes. */
export const isUndecided = (failure: Failure): boolean =>
  failure._tag === "GrpcError" ? !final.includes(kindOf(failure)) : failure._tag === "StorageUnavailable"

/** Clients of the three services, for one player: over a connection of its own, to one of the gateways. */
const clients = Effect.fnUntraced(function* (addresses: ReadonlyArray<string>) {
  const target = Grpc.endpoints(yield* Random.shuffle(addresses), { keepalive: "true" })
  const options = { target, balancing: "pick_first" } as const
  return {
    auth: yield* Grpc.client(AuthApi, options),
    game: yield* Grpc.client(GameApi, options),
    gateway: yield* Grpc.client(GatewayApi, options)
  }
})

/**
 * A player's account: registered, logged in, and with tokens that are good.
 *
 * - `name`: that nobody else has
 */
export const make = Effect.fnUntraced(function* (name: string, addresses: ReadonlyArray<string>, tally: Tally) {
  const { auth, game, gateway } = yield* clients(addresses)
  const credentials = { name, password: Redacted.value(yield* Crypto.token()) }
  let tokens: Tokens | undefined

  /** Takes the time of a call, and counts how it ended: a refusal is an answer. */
  const counted = <A, E extends Failure, R>(call: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(Clock.currentTimeMillis, (begin) => {
      const answered = Effect.map(Clock.currentTimeMillis, (end) => tally.answered(end - begin))
      return call.pipe(
        Effect.tapError((failure) =>
          failure._tag === "GrpcError" || isUndecided(failure) ? Effect.sync(() => tally.failed(failure)) : answered
        ),
        Effect.tap(() => answered)
      )
    })

  const keep = (given: { readonly tokens?: Tokens | undefined }): void => {
    tokens = given.tokens
  }

  const login = counted(auth.login(credentials)).pipe(
    Effect.retry({ while: isUndecided, schedule: again }),
    Effect.map(keep)
  )

  // An answer that was lost has made the account: the next try finds the name taken.
  const register = counted(auth.register(credentials)).pipe(
    Effect.retry({ while: isUndecided, schedule: again }),
    Effect.map(keep),
    Effect.catchTag("AccountTaken", () => login)
  )

  /** Exchanges the tokens for newer ones; logs in where the login has ended. */
  const refresh = Effect.suspend(() => counted(auth.refresh({ refreshToken: tokens?.refreshToken ?? "" }))).pipe(
    Effect.retry({ while: isUndecided, schedule: again, times: 5 }),
    Effect.map(keep),
    Effect.catch(() => login)
  )

  /** Who calls, for a call. */
  const identity = (): Grpc.CallOptions => ({
    metadata: { authorization: `Bearer ${tokens?.accessToken ?? ""}` },
    deadline: Duration.seconds(5)
  })

  /** Makes a call as the player, until there is an answer. It must be one that may be sent again. */
  const call = <A, E extends Failure, R>(
    send: (options: Grpc.CallOptions) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> =>
    Effect.suspend(() => counted(send(identity()))).pipe(
      Effect.tapError((failure) => (kindOf(failure) === "Unauthenticated" ? Effect.ignore(refresh) : Effect.void)),
      Effect.retry({ while: isUndecided, schedule: again })
    )

  yield* register
  return { name, game, gateway, call, refresh, identity, accessToken: () => tokens?.accessToken ?? "" }
})

/** See {@link make}. */
export type Account = Effect.Success<ReturnType<typeof make>>

import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { Auth, playerOf, requireRole, type Tokens } from "../../auth/Auth.ts"
import { Authenticator, Principal } from "../../grpc/Authenticator.ts"
import { Call } from "../../grpc/Call.ts"
import * as Grpc from "../../grpc/Grpc.ts"
import { Accounts, admin } from "./Accounts.ts"
import { AuthApi } from "./api.ts"
import { type Login, Logins } from "./Logins.ts"

/** From an instant of the epoch to seconds from now, which need no clock that agrees with ours. */
const secondsTo = (millis: number, now: number): bigint => BigInt(Math.max(0, Math.floor((millis - now) / 1000)))

const toTokens = ({ access, accessExpiresAt, refresh, refreshExpiresAt }: Tokens) =>
  Effect.map(Clock.currentTimeMillis, (now) => ({
    accessToken: Redacted.value(access),
    accessExpiresIn: secondsTo(accessExpiresAt, now),
    refreshToken: Redacted.value(refresh),
    refreshExpiresIn: secondsTo(refreshExpiresAt, now)
  }))

const toLogin = ({ account, tokens }: Login) =>
  Effect.map(toTokens(tokens), (tokens) => ({ account: { ...account, roles: [...account.roles] }, tokens }))

/** Who calls a public method: its address. */
const credentials = <A>(request: A) => Effect.map(Call, ({ peer }) => ({ ...request, address: peer.address }))

/** The methods of the auth service, on {@link Logins} and {@link Accounts}. */
export const AuthHandlers = Grpc.handlers(
  AuthApi,
  Effect.gen(function* () {
    const logins = yield* Logins
    const accounts = yield* Accounts
    const auth = yield* Auth
    return {
      healthCheck: () => Effect.succeed({ status: "SERVING" }),
      register: (request) => credentials(request).pipe(Effect.flatMap(logins.register), Effect.flatMap(toLogin)),
      login: (request) => credentials(request).pipe(Effect.flatMap(logins.logIn), Effect.flatMap(toLogin)),
      refresh: Effect.fnUntraced(function* ({ refreshToken }) {
        return { tokens: yield* toTokens(yield* logins.refresh(refreshToken)) }
      }),
      logout: Effect.fnUntraced(function* () {
        // The middleware has verified it; what it was verified to is remembered. One that is no longer good has ended.
        const identity = yield* Effect.option(
          Effect.flatMap(Authenticator.token(yield* Call), (token) => auth.verify(token))
        )
        if (Option.isSome(identity)) yield* logins.logOut(identity.value)
        return {}
      }),
      logoutAll: Effect.fnUntraced(function* ({ playerId }) {
        yield* logins.logOutAll(yield* playerOf(playerId, admin))
        return {}
      }),
      ban: Effect.fnUntraced(function* ({ playerId, reason, seconds }) {
        yield* requireRole(admin)
        const { playerId: by } = yield* Principal
        const now = DateTime.makeUnsafe(yield* Clock.currentTimeMillis)
        const until = seconds === 0n ? "forever" : DateTime.add(now, { seconds: Number(seconds) })
        yield* logins.ban({ playerId, until, by, reason })
        return {}
      }),
      unban: Effect.fnUntraced(function* ({ playerId }) {
        yield* requireRole(admin)
        yield* logins.unban(playerId)
        return {}
      }),
      whoami: Effect.fnUntraced(function* () {
        const { playerId, roles } = yield* Principal
        const account = Option.getOrElse(yield* accounts.find(playerId), () => ({ playerId, name: "", createdAt: 0n }))
        // What the token says counts, until it expires.
        return { account: { ...account, roles: [...roles] } }
      })
    }
  })
)

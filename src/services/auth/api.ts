import * as Schema from "effect/Schema"
import { NotAllowed } from "../../auth/Auth.ts"
import { AuthServiceService } from "../../gen/auth.ts"
import type { RateRule } from "../../grpc/Api.ts"
import * as Grpc from "../../grpc/Grpc.ts"
import * as Crypto from "../../utils/Crypto.ts"
import { StorageUnavailable } from "../errors.ts"
import { PlayerId } from "../PlayerId.ts"
import { AccountBanned, AccountTaken, RefreshRejected, TooManyFailures, WrongCredentials } from "./errors.ts"

/** The name that an account is logged in to with. Upper and lower case are the same. */
export const AccountName = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9._-]{3,32}$/, { expected: "3 to 32 characters of A-Z a-z 0-9 . _ -" })
).pipe(Schema.brand("AccountName"))

/** See {@link AccountName}. */
export type AccountName = typeof AccountName.Type

const password = (shortest: number) =>
  Schema.RedactedFromValue(
    Schema.String.check(
      Schema.makeFilter((text) => Crypto.isPassword(text) && [...text].length >= shortest, {
        expected: `${shortest} to ${Crypto.longestPassword} characters`
      })
    )
  )

/** A password that an account may have. */
export const NewPassword = password(8)

// Each costs a hash. A home, a school or a café is one address, so these are not few; failures are counted apart.
const costly: RateRule = { limit: 300, window: "1 minute", by: "peer" }

/** The methods of the auth service: what each takes and the errors that it declares, for its server and every client. */
export const AuthApi = Grpc.api(AuthServiceService, {
  healthCheck: { idempotent: true, public: true },
  register: {
    request: Schema.Struct({ name: AccountName, password: NewPassword }),
    errors: [AccountTaken, StorageUnavailable],
    public: true,
    rate: costly
  },
  login: {
    request: Schema.Struct({ name: AccountName, password: password(1) }),
    errors: [WrongCredentials, TooManyFailures, AccountBanned, StorageUnavailable],
    public: true,
    rate: costly
  },
  refresh: {
    request: Schema.Struct({ refreshToken: Schema.RedactedFromValue(Schema.String) }),
    errors: [RefreshRejected, AccountBanned, StorageUnavailable],
    // Sent again within `auth.refresh_grace` it gives the same tokens.
    idempotent: true,
    public: true
  },
  logout: { errors: [StorageUnavailable] },
  logoutAll: {
    request: Schema.Struct({ playerId: Schema.Union([Schema.Literal(""), PlayerId]) }),
    errors: [NotAllowed, StorageUnavailable]
  },
  ban: {
    request: Schema.Struct({
      playerId: PlayerId,
      seconds: Schema.BigInt.check(
        Schema.isBetweenBigInt({ minimum: 0n, maximum: 3_155_760_000n }, { expected: "0 to 3155760000 seconds" })
      ),
      reason: Schema.String.check(
        Schema.isPattern(/^\P{Cc}{0,256}$/u, { expected: "up to 256 characters, none of them a control character" })
      )
    }),
    errors: [NotAllowed, StorageUnavailable],
    idempotent: true
  },
  unban: {
    request: Schema.Struct({ playerId: PlayerId }),
    errors: [NotAllowed, StorageUnavailable],
    idempotent: true
  },
  whoami: { errors: [StorageUnavailable], idempotent: true }
})

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { GrpcClient } from "../../grpc/GrpcClient.ts"
import type { GrpcError } from "../../grpc/GrpcError.ts"
import { Registry } from "../../registry/Registry.ts"
import { AuthApi } from "../auth/api.ts"
import type { StorageUnavailable } from "../errors.ts"
import { AccountNotFound, AccountsUnavailable } from "./errors.ts"

/**
 * What the auth service knows of a caller.
 *
 * - `createdAt`: when the account was made, in seconds of the epoch
 */
export interface Profile {
  readonly accountName: string
  readonly createdAt: bigint
}

/** Who the callers are, beyond the game. */
export class Profiles extends Context.Service<
  Profiles,
  {
    /**
     * The account of the caller of the call that is being served: the auth service is asked in its name. Fails with
     * AccountNotFound when that has none, with AccountsUnavailable when that does not answer.
     */
    readonly ofCaller: Effect.Effect<Profile, AccountNotFound | AccountsUnavailable | StorageUnavailable>
  }
>()("xdooria/services/game/Profiles") {}

/** Asks the auth service, wherever its instances are. */
export const ProfilesLive: Layer.Layer<Profiles, GrpcError, Registry | GrpcClient> = Layer.effect(
  Profiles,
  Effect.map(Registry.client(AuthApi, { identity: "carry" }), (auth) => ({
    ofCaller: auth.whoami({}).pipe(
      Effect.flatMap(({ account }) =>
        // Without an account it still says whose the token is.
        account === undefined || account.name === ""
          ? Effect.fail(new AccountNotFound())
          : Effect.succeed({ accountName: account.name, createdAt: account.createdAt })
      ),
      Effect.catchTag("GrpcError", (error) =>
        Effect.andThen(
          Effect.logWarning("the auth service does not answer", error.message),
          Effect.fail(new AccountsUnavailable({}))
        )
      )
    )
  }))
)

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import { Auth, AuthConfig, type AuthSettings } from "./Auth.ts"
import { hasKeys } from "./internal/keys.ts"
import * as Counting from "./internal/lockout.ts"
import * as Memory from "./internal/memory.ts"
import * as Service from "./internal/service.ts"
import * as Tokens from "./internal/tokens.ts"
import { Lockout } from "./Lockout.ts"

const defaults: AuthSettings = Schema.decodeSync(AuthConfig.schema)({})

const randomSecret = Effect.sync(() => Redacted.make(randomBytes(32).toString("base64url")))

/**
 * Tokens and lockout whose state is in memory, for development and tests: known to this process alone, and gone when the
 * scope closes. What is not given has the default of AuthConfig; where no key is given it makes a secret of its own, so
 * that its tokens end with it.
 *
 * Fails with `InvalidConfig` for keys that cannot be used.
 */
export const makeEmbedded = (
  options: Partial<AuthSettings> = {}
): Effect.Effect<Context.Context<Auth | Lockout>, InvalidConfig, Scope.Scope> =>
  Effect.gen(function* () {
    const given = { ...defaults, ...options }
    const settings = hasKeys(given) ? given : { ...given, secret: yield* randomSecret }
    const clock = yield* Clock.Clock
    const tokens = yield* Tokens.make(settings)
    const store = Memory.make({
      keeping: {
        refreshTtl: Duration.toMillis(settings.refreshTtl),
        grace: Duration.toMillis(settings.refreshGrace)
      },
      limits: Counting.limitsOf(settings),
      takesPlan: settings.plan !== "off",
      now: () => Math.floor(clock.currentTimeMillisUnsafe())
    })
    yield* Effect.forkScoped(Effect.repeat(Effect.sync(store.purge), Schedule.spaced("1 minute")))
    return Context.make(Auth, Service.make(tokens, store, { ageMillis: () => 0, maxAgeMillis: 0 })).pipe(
      Context.add(Lockout, Counting.make(store, settings))
    )
  })

/** As {@link AuthEmbedded}, with options in place of the configuration. See {@link makeEmbedded}. */
export const layerEmbedded = (options: Partial<AuthSettings> = {}): Layer.Layer<Auth | Lockout, InvalidConfig> =>
  Layer.effectContext(makeEmbedded(options))

/** Tokens and lockout in memory, as section `auth` says. See {@link makeEmbedded}. */
export const AuthEmbedded: Layer.Layer<Auth | Lockout, InvalidConfig> = Layer.effectContext(
  Effect.flatMap(Config.get(AuthConfig), makeEmbedded)
)

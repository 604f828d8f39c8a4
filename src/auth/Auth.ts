import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Config from "../config/Config.ts"
import * as Grpc from "../grpc/Grpc.ts"
import { Authenticator, NotAuthenticated, Principal } from "../grpc/Authenticator.ts"
import type { AuthError } from "./AuthError.ts"

const seconds = (value: number, description: string) =>
  Config.Seconds.pipe(Config.withDefault(value), Schema.annotateKey({ description }))

const secret = (description: string) => Config.Secret.pipe(Config.withDefault(""), Schema.annotate({ description }))

/** Whoever could change what is read there could sign for every player. */
const isKeysUrl = (text: string, env: Config.Environment): boolean => {
  if (!URL.canParse(text)) return false
  const { hostname, password, protocol, username } = new URL(text)
  if (username !== "" || password !== "") return false
  const isLoopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
  return protocol === "https:" || (protocol === "http:" && (env !== "prod" || isLoopback))
}

/** Section `auth`. */
export const AuthConfig = Config.section(
  "auth",
  {
    issuer: Schema.NonEmptyString.pipe(
      Config.withDefault("xdooria"),
      Schema.annotate({ description: "Claim iss of our tokens, and the only one that is taken" })
    ),
    audience: Schema.NonEmptyString.pipe(
      Config.withDefault("xdooria"),
      Schema.annotate({ description: "Claim aud of our tokens, and the one that a token must have" })
    ),
    secret: secret("Secret of HS256 that signs access tokens, 32 bytes or more; not used with signing_key_file"),
    previousSecrets: Schema.Array(Config.Secret).pipe(
      Config.withDefault([]),
      Schema.annotate({ description: "Secrets of HS256 that signed before, or will: they verify" })
    ),
    signingKeyFile: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({
        description:
          "PEM file with the private key that signs: Ed25519 (EdDSA), P-256 (ES256), RSA from 2048 bits with an odd exponent from 3 (RS256)"
      })
    ),
    verifyKeyFiles: Schema.Array(Schema.String).pipe(
      Config.withDefault([]),
      Schema.annotate({ description: "PEM files with the public keys that signed before, or will: they verify" })
    ),
    jwksUrl: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({
        description:
          "Where the public keys are read, for a service that only verifies, such as http://auth:8081/.well-known/jwks.json; in prod https, or http on this machine"
      })
    ),
    jwksPort: Schema.Port.pipe(
      Config.withDefault(0),
      Schema.annotate({
        description: "Port that serves the public keys, at /.well-known/jwks.json on server.host; 0 for none"
      })
    ),
    accessTtl: seconds(900, "How long an access token is good, in seconds, 1 to 900"),
    refreshTtl: seconds(2_592_000, "How long a refresh token is good, in seconds, 60 to 31622400"),
    refreshGrace: seconds(
      10,
      "How long a used refresh token still gives the same successor, for who lost the answer, in seconds, 0 to 60"
    ),
    clockSkew: seconds(5, "How far the clocks of two services may be apart, in seconds, 0 to 30"),
    cacheSize: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 })).pipe(
      Config.withDefault(10_000),
      Schema.annotate({
        description: "Verified tokens that are remembered; expiry and revocation are checked every time"
      })
    ),
    revocationMaxAge: seconds(
      0,
      "How old the list of revoked tokens may get, while its store is away, before access tokens are refused, in seconds; 0 for any age: they are good until they expire"
    ),
    plan: Schema.Literals(["off", "verify", "issue"]).pipe(
      Config.withDefault("off"),
      Schema.annotate({
        description:
          "Profile `plan`: whether tokens of a Go service (HS256, player_id, exp, iat) are taken, and issued too, but for players with roles"
      })
    ),
    planSecret: secret("Secret of profile `plan`, the one of the Go services; it signs nothing else"),
    planTtl: seconds(86_400, "How long a token of profile `plan` may last, in seconds, 1 to 86400"),
    lockoutAccount: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10_000 })).pipe(
      Config.withDefault(5),
      Schema.annotate({
        description: "Failed logins of an account within lockout_account_window that lock it; 0 for never"
      })
    ),
    lockoutAccountWindow: seconds(60, "How long failures of an account count, and how long it is locked, in seconds"),
    lockoutAddress: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 })).pipe(
      Config.withDefault(10),
      Schema.annotate({
        description:
          "Failed logins from an address within lockout_address_window that lock it, for all who share it, as a school behind one NAT does; 0 for never"
      })
    ),
    lockoutAddressWindow: seconds(600, "How long failures from an address count, and how long it is locked, in seconds")
  },
  (values, env) => [
    ...ranges
      .filter(([field, least, most]) => {
        const given = Duration.toSeconds(values[field])
        return given < least || given > most
      })
      .map(([field, least, most]) => ({ field, expected: `${least} to ${most} seconds` })),
    ...(["secret", "planSecret"] as const)
      .filter((field) => {
        const bytes = Buffer.byteLength(Redacted.value(values[field]))
        // The plan's own secret has 15 bytes; its services run beside ours on the machine of a developer.
        return bytes > 0 && bytes < 32 && (field === "secret" || env === "prod")
      })
      .map((field) => ({ field, expected: "32 bytes or more" })),
    ...(values.previousSecrets.some((one) => Buffer.byteLength(Redacted.value(one)) < 32)
      ? [{ field: "previousSecrets" as const, expected: "32 bytes or more each" }]
      : []),
    ...(values.jwksUrl === "" || isKeysUrl(values.jwksUrl, env)
      ? []
      : [
          {
            field: "jwksUrl" as const,
            expected: `a URL with ${env === "prod" ? "https, or http on this machine," : "http or https"} and no password`
          }
        ]),
    ...(values.plan !== "off" && Redacted.value(values.planSecret) === ""
      ? [{ field: "planSecret" as const, expected: "a secret, as profile plan is on" }]
      : []),
    ...([values.secret, ...values.previousSecrets].some(
      (one) => Redacted.value(one) !== "" && Redacted.value(one) === Redacted.value(values.planSecret)
    )
      ? [
          {
            field: "planSecret" as const,
            expected: "another secret than those of our own tokens",
            hint: "a Go service takes whatever it signs as an access token"
          }
        ]
      : [])
  ]
)

const ranges = [
  ["accessTtl", 1, 900],
  ["refreshTtl", 60, 31_622_400],
  ["refreshGrace", 0, 60],
  ["clockSkew", 0, 30],
  ["revocationMaxAge", 0, 86_400],
  ["planTtl", 1, 86_400],
  ["lockoutAccountWindow", 1, 86_400],
  ["lockoutAddressWindow", 1, 86_400]
] as const

/** The values of {@link AuthConfig}. */
export type AuthSettings = typeof AuthConfig.schema.Type

/**
 * Who a token is for.
 *
 * - `playerId`: 1 to 64 characters of `A-Z a-z 0-9 . _ -`
 * - `roles`: what the player may do beyond its own, at most 16, each made as a player id
 *
 * Neither is made of dots only.
 */
export interface Subject {
  readonly playerId: string
  readonly roles?: ReadonlyArray<string>
}

/** What a login gives. Times in milliseconds of the epoch. */
export interface Tokens {
  /** A JWT, shown with every call. */
  readonly access: Redacted.Redacted
  readonly accessExpiresAt: number
  /** Opaque, and good for one refresh. */
  readonly refresh: Redacted.Redacted
  readonly refreshExpiresAt: number
}

/**
 * What a verified access token says; frozen, as all who ask get the same one. Times in milliseconds of the epoch.
 *
 * - `tokenId`: claim jti; of profile `plan` the SHA-256 of the token
 * - `family`: the login that it came from, by its refreshes; absent for profile `plan`
 */
export interface Identity {
  readonly playerId: string
  readonly roles: ReadonlyArray<string>
  readonly tokenId: string
  readonly family?: string
  readonly profile: "own" | "plan"
  readonly issuedAt: number
  readonly expiresAt: number
}

/** The public keys that verify our tokens, as RFC 7517 has them. */
export interface Jwks {
  readonly keys: ReadonlyArray<Readonly<Record<string, unknown>>>
}

/** Tokens: who somebody is, shown with every call. Logins, logouts and bans are seen by every service within a second. */
export class Auth extends Context.Service<
  Auth,
  {
    /**
     * Issues the tokens of a login: a new family. Fails with `Banned`, `InvalidInput`, `Unavailable` or `Refused`.
     */
    readonly issue: (subject: Subject) => Effect.Effect<Tokens, AuthError>
    /**
     * Verifies an access token, by what this process knows: no server is asked. Fails with any reason from `Missing` to
     * `Revoked`, and with `Unavailable` where `auth.revocation_max_age` says so.
     */
    readonly verify: (token: Redacted.Redacted) => Effect.Effect<Identity, AuthError>
    /**
     * What `verify` would give now for a token that it verified before, without any delay; undefined when the token is not
     * remembered, or is no longer good, which `verify` then tells why. For who sees few tokens in many calls.
     *
     * - `token`: as text, for it is looked up by it and is not kept
     */
    readonly recall: (token: string) => Identity | undefined
    /**
     * Exchanges a refresh token for new tokens of the same family. It is good once; who sends it again within
     * `auth.refresh_grace` gets the same successor. After that, or when the successor was used, it is a replay: the family
     * ends (`Revoked`, `used`).
     *
     * Fails with `Missing`, `Malformed`, `TooLarge`, `Expired`, `Revoked`, `Banned`, `Unavailable` (always when the store
     * is away) or `Refused`.
     */
    readonly refresh: (token: Redacted.Redacted) => Effect.Effect<Tokens, AuthError>
    /**
     * Ends the family of a token, or, of profile `plan`, all tokens of the player. Fails as `logoutAll`, with `InvalidInput`
     * also for a family that was never issued.
     */
    readonly logout: (identity: Identity) => Effect.Effect<void, AuthError>
    /** Ends all tokens of a player. Fails with `InvalidInput`, `Unavailable` or `Refused`. */
    readonly logoutAll: (playerId: string) => Effect.Effect<void, AuthError>
    /** Ends all tokens of a player and issues none until an instant, or for ever. Fails as `logoutAll`. */
    readonly ban: (playerId: string, until: DateTime.Utc | "forever") => Effect.Effect<void, AuthError>
    /** Ends a ban. Fails as `logoutAll`. */
    readonly unban: (playerId: string) => Effect.Effect<void, AuthError>
    /** The public keys that verify; none with secrets. */
    readonly jwks: Effect.Effect<Jwks>
  }
>()("xdooria/auth/Auth") {
  /** Tells the gRPC server who calls, by the access token of the call. The problem is in the log, never in the answer. */
  static readonly layerAuthenticator: Layer.Layer<Authenticator, never, Auth> = Layer.effect(
    Authenticator,
    Effect.map(Auth, ({ recall, verify }) => ({
      authenticate: (call) => {
        const known = recall(Authenticator.text(call))
        if (known !== undefined) return Effect.succeed(known)
        return Effect.flatMap(Authenticator.token(call), (token) =>
          Effect.mapError(verify(token), ({ reason }) => new NotAuthenticated({ problem: reason.message }))
        )
      }
    }))
  )
}

/**
 * The caller may not do it.
 *
 * - `role`: the one that it would need
 */
export class NotAllowed extends Grpc.TaggedError<NotAllowed>()(
  "NotAllowed",
  { role: Schema.String },
  { status: "PERMISSION_DENIED" }
) {}

/** Lets only a caller with a role pass. Fails with {@link NotAllowed}, which the method declares. */
export const requireRole = (role: string): Effect.Effect<void, NotAllowed, Principal> =>
  Effect.flatMap(Principal, ({ roles }) => (roles.includes(role) ? Effect.void : Effect.fail(new NotAllowed({ role }))))

/**
 * The player that a request is about: the caller when it names none, another only for a caller with the role.
 *
 * - `playerId`: as the request has it
 */
export const playerOf = (playerId: string, role: string): Effect.Effect<string, NotAllowed, Principal> =>
  Effect.flatMap(Principal, (caller) =>
    playerId === "" || playerId === caller.playerId
      ? Effect.succeed(caller.playerId)
      : Effect.as(requireRole(role), playerId)
  )

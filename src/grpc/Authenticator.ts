import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Call } from "./Call.ts"

/** The caller of a method, as the {@link Authenticator} knows it. Public methods have none. */
export class Principal extends Context.Service<
  Principal,
  {
    readonly playerId: string
    readonly roles: ReadonlyArray<string>
    /** Names the token that the caller showed, not the token itself. */
    readonly tokenId: string
  }
>()("xdooria/grpc/Principal") {}

/**
 * A caller is not who it says. It gets UNAUTHENTICATED with one text, whatever the problem.
 *
 * - `problem`: for the log of the server, without the token
 */
export class NotAuthenticated extends Schema.TaggedError<NotAuthenticated>("xdooria/grpc/NotAuthenticated")(
  "NotAuthenticated",
  { problem: Schema.String }
) {
  override get message(): string {
    return `the caller is not authenticated: ${this.problem}`
  }
}

const bearer = "Bearer "

const isBearer = (value: string): boolean =>
  value.startsWith(bearer) || value.slice(0, bearer.length).toLowerCase() === "bearer "

/** Tells who calls. Asked once for every call of a method that is not public, before its request is decoded. */
export class Authenticator extends Context.Service<
  Authenticator,
  { readonly authenticate: (call: Call["Service"]) => Effect.Effect<Principal["Service"], NotAuthenticated> }
>()("xdooria/grpc/Authenticator") {
  /**
   * The token of a call as text, empty when there is none: the first value of `authorization`, without `Bearer ` (one
   * space, in any case: RFC 9110), or as it is, as the plan takes it. For one that looks callers up by it; a text that goes
   * further is a secret.
   */
  static readonly text = (call: Call["Service"]): string => {
    const [value] = call.metadata.get("authorization")
    if (typeof value !== "string") return ""
    return isBearer(value) ? value.slice(bearer.length) : value
  }

  /** {@link text} as the secret that it is. Fails with NotAuthenticated when there is none. */
  static readonly token = (call: Call["Service"]): Effect.Effect<Redacted.Redacted, NotAuthenticated> => {
    const text = Authenticator.text(call)
    return text === ""
      ? Effect.fail(new NotAuthenticated({ problem: "no authorization" }))
      : Effect.succeed(Redacted.make(text))
  }

  /** Knows the callers by a fixed table of tokens: for tests and examples. */
  static readonly layerStatic = (
    principals: Readonly<Record<string, Principal["Service"]>>
  ): Layer.Layer<Authenticator> => {
    const known = new Map(Object.entries(principals))
    return Layer.succeed(Authenticator, {
      authenticate: (call) =>
        Effect.flatMap(Authenticator.token(call), (token) => {
          const principal = known.get(Redacted.value(token))
          return principal === undefined
            ? Effect.fail(new NotAuthenticated({ problem: "an unknown token" }))
            : Effect.succeed(principal)
        })
    })
  }
}

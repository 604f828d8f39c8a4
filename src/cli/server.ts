// Which server a command asks, and how it is asked: the flags that `call` and `grpc` have in common.
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as GrpcReflect from "../grpc/GrpcReflect.ts"
import { devAddress } from "./flags.ts"

/** A token on a plain text connection is everybody's who can listen in. */
export class TokenInPlainText extends Schema.TaggedError<TokenInPlainText>("xdooria/cli/TokenInPlainText")(
  "TokenInPlainText",
  { addr: Schema.String }
) {
  override get message(): string {
    return `A token is sent in plain text to this machine only: ${this.addr} is not a loopback address. Use --tls`
  }
}

/** A certificate is shown with its key, or not at all. */
export class HalfIdentity extends Schema.TaggedError<HalfIdentity>("xdooria/cli/HalfIdentity")("HalfIdentity", {}) {
  override get message(): string {
    return "--cert and --key go together"
  }
}

/** The server did not take the question: most often because none runs there. */
export class NobodyAnswers extends Schema.TaggedError<NobodyAnswers>("xdooria/cli/NobodyAnswers")("NobodyAnswers", {
  addr: Schema.String,
  details: Schema.String,
  isTls: Schema.Boolean
}) {
  override get message(): string {
    const [first] = this.details.split(". ")
    const hint = this.isTls
      ? "Does it speak TLS, and are --ca and --cert right?"
      : "Does a service run there? npm start runs one; --addr names another, --tls speaks TLS"
    return `UNAVAILABLE at ${this.addr}: ${first}. ${hint}`
  }
}

/** The errors of asking: what is wrong with the flags, and what the server said. */
export type ServerError = TokenInPlainText | HalfIdentity | NobodyAnswers | GrpcReflect.ReflectError

const metadata = Flag.String("metadata").pipe(
  Flag.withDescription("Sent with the call, name:value; may be repeated. A name that ends with -bin has base64"),
  Flag.filter(
    (entry) => /^[^:]+:/.test(entry),
    () => "name:value"
  ),
  Flag.map((entry): readonly [string, string] => {
    const [name, ...value] = entry.split(":")
    return [name!.trim(), value.join(":").trim()]
  }),
  Flag.atLeast(0)
)

/** The flags themselves. */
export const serverFlags = {
  addr: Flag.String("addr").pipe(
    Flag.withDescription(`The server, host:port; ${devAddress} when not given`),
    Flag.withDefault(devAddress)
  ),
  token: Flag.Redacted("token").pipe(Flag.withDescription("Sent as authorization: Bearer"), Flag.optional),
  metadata,
  deadline: Flag.Finite("deadline").pipe(
    Flag.withDescription(
      "Seconds until it is given up, at most 86400; when not given 5, and a call with a stream goes on until Ctrl-C"
    ),
    Flag.withSchema(Schema.Finite.check(Schema.isGreaterThan(0), Schema.isLessThanOrEqualTo(86_400))),
    Flag.optional
  ),
  tls: Flag.Boolean("tls").pipe(
    Flag.withDescription("Speak TLS; not needed beside --ca and --cert"),
    Flag.withDefault(false)
  ),
  ca: Flag.File("ca").pipe(
    Flag.withDescription("A file with the certificates to trust, in PEM; those that Node trusts when not given"),
    Flag.optional
  ),
  cert: Flag.File("cert").pipe(
    Flag.withDescription("A file with the certificate to show to the server, in PEM"),
    Flag.optional
  ),
  key: Flag.File("key").pipe(Flag.withDescription("A file with its key, in PEM"), Flag.optional)
}

type Values = {
  readonly [K in keyof typeof serverFlags]: (typeof serverFlags)[K] extends Flag.Flag<infer A> ? A : never
}

const isLoopback = (addr: string): boolean => /^(localhost|127(\.\d{1,3}){3}|\[::1\]):\d+$/.test(addr)

const isToken = (name: string): boolean => name.toLowerCase() === "authorization"

/** The server that the flags name. Fails when they do not fit together, or would give a token away. */
export const serverOf = Effect.fnUntraced(function* (values: Values) {
  const { addr, ca, cert, deadline, key, tls, token } = values
  if (Option.isSome(cert) !== Option.isSome(key)) return yield* new HalfIdentity()
  const isTls = tls || Option.isSome(ca) || Option.isSome(cert)
  const metadata = [
    ...values.metadata,
    ...Option.match(token, {
      onNone: () => [],
      onSome: (token) => [["authorization", `Bearer ${Redacted.value(token)}`] as const]
    })
  ]
  if (!isTls && !isLoopback(addr) && metadata.some(([name]) => isToken(name))) {
    return yield* new TokenInPlainText({ addr })
  }
  const identity = Option.map(Option.all([cert, key]), ([certificate, key]) => ({ identity: { certificate, key } }))
  return {
    address: addr,
    metadata,
    ...(isTls
      ? {
          tls: {
            ...Option.match(ca, { onNone: () => ({}), onSome: (ca) => ({ ca }) }),
            ...Option.getOrUndefined(identity)
          }
        }
      : {}),
    ...Option.match(deadline, { onNone: () => ({}), onSome: (seconds) => ({ deadline: Duration.seconds(seconds) }) })
  } satisfies GrpcReflect.ReflectServer as GrpcReflect.ReflectServer
})

/** Says of a server that does not answer at all what may be done about it. */
export const answering =
  ({ address, tls }: GrpcReflect.ReflectServer) =>
  <A, E, R>(asked: Effect.Effect<A, GrpcReflect.ReflectError | E, R>) =>
    Effect.mapError(asked, (error) =>
      error instanceof GrpcReflect.ReflectError && error.code === "UNAVAILABLE" && error.error === undefined
        ? new NobodyAnswers({
            addr: address,
            details: GrpcReflect.printable(error.details),
            isTls: tls !== undefined
          })
        : error
    )

import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as GrpcReflect from "../grpc/GrpcReflect.ts"
import { devAddress } from "./flags.ts"

/** A token on a plain text connection is everybody's who can listen in. */
class TokenInPlainText extends Schema.TaggedError<TokenInPlainText>("xdooria/cli/TokenInPlainText")(
  "TokenInPlainText",
  { addr: Schema.String }
) {
  override get message(): string {
    return `--token is sent to this machine only, in plain text: ${this.addr} is not a loopback address`
  }
}

/** The server did not take the call: most often because none runs there. */
class NobodyAnswers extends Schema.TaggedError<NobodyAnswers>("xdooria/cli/NobodyAnswers")("NobodyAnswers", {
  addr: Schema.String,
  details: Schema.String
}) {
  override get message(): string {
    const [first] = this.details.split(". ")
    return `UNAVAILABLE at ${this.addr}: ${first}. Does a service run there? npm start runs one; --addr names another`
  }
}

const isLoopback = (addr: string): boolean => /^(localhost|127(\.\d{1,3}){3}|\[::1\]):\d+$/.test(addr)

/** `xdooria call`: makes one call and prints its answer as JSON, or the code and error that it failed with. */
export const call = Command.make(
  "call",
  {
    method: Argument.String("method").pipe(Argument.withDescription("Such as game.GameService/GetPlayer")),
    request: Argument.String("request").pipe(
      Argument.withDescription("The request as JSON"),
      Argument.withDefault("{}")
    ),
    addr: Flag.String("addr").pipe(
      Flag.withDescription(`The server, host:port; ${devAddress} when not given`),
      Flag.withDefault(devAddress)
    ),
    token: Flag.Redacted("token").pipe(Flag.withDescription("Sent as authorization: Bearer"), Flag.optional),
    deadline: Flag.Finite("deadline").pipe(
      Flag.withDescription("Seconds until the call is given up, at most 86400; 5 when not given"),
      Flag.withSchema(Schema.Finite.check(Schema.isGreaterThan(0), Schema.isLessThanOrEqualTo(86_400))),
      Flag.withDefault(5)
    )
  },
  Effect.fnUntraced(function* ({ method, request, addr, token, deadline }) {
    if (Option.isSome(token) && !isLoopback(addr)) return yield* new TokenInPlainText({ addr })
    const answer = yield* GrpcReflect.call({
      address: addr,
      method,
      request,
      deadline: Duration.seconds(deadline),
      metadata: Option.match(token, {
        onNone: () => ({}),
        onSome: (token) => ({ authorization: `Bearer ${Redacted.value(token)}` })
      })
    }).pipe(
      Effect.mapError((error) =>
        error.code === "UNAVAILABLE" && error.error === undefined
          ? new NobodyAnswers({ addr, details: GrpcReflect.printable(error.details) })
          : error
      )
    )
    const lines = JSON.stringify(answer, null, 2).split("\n")
    yield* Console.log(lines.map(GrpcReflect.printable).join("\n"))
  })
).pipe(
  Command.withDescription("Call a method of a running service, found by reflection"),
  Command.withExamples([
    {
      command: `xdooria call game.GameService/GetPlayer '{"player_id":"p1"}'`,
      description: "Read a player from the service of `npm start`"
    }
  ])
)

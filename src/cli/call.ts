import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as GrpcReflect from "../grpc/GrpcReflect.ts"
import { answering, serverFlags, serverOf } from "./server.ts"

/** Whoever read the output has gone, as `head` does. There is nobody to tell it to. */
class NobodyReads extends Schema.TaggedError<NobodyReads>("xdooria/cli/NobodyReads")("NobodyReads", {}) {
  override readonly [Runtime.errorReported] = false
}

/** The response is without the field that was asked for. */
class NoSuchField extends Schema.TaggedError<NoSuchField>("xdooria/cli/NoSuchField")("NoSuchField", {
  field: Schema.String
}) {
  override get message(): string {
    return `the response has no field ${this.field}`
  }
}

const textOf = (json: Schema.Json, isStream: boolean): string => {
  const lines = JSON.stringify(json, null, isStream ? undefined : 2).split("\n")
  return `${lines.map(GrpcReflect.printable).join("\n")}\n`
}

/** A field of a response, such as `tokens.access_token`: a text without its quotes, for a shell to keep. */
const fieldOf = (json: Schema.Json, path: string): Effect.Effect<string, NoSuchField> => {
  const steps = path.split(".")
  const value = steps.reduce<unknown>(
    (value, step) => (value as Readonly<Record<string, unknown>> | null)?.[step],
    json
  )
  if (value === undefined) return Effect.fail(new NoSuchField({ field: path }))
  return Effect.succeed(`${GrpcReflect.printable(typeof value === "string" ? value : JSON.stringify(value))}\n`)
}

/**
 * `xdooria call`: makes one call and prints what comes back as JSON, and then the code and error that it failed with, if
 * it did.
 */
export const call = Command.make(
  "call",
  {
    method: Argument.String("method").pipe(Argument.withDescription("Such as game.GameService/GetPlayer")),
    request: Argument.String("request").pipe(
      Argument.withDescription(
        "The request as JSON; - reads it from standard input. For a method with a stream of requests one on each line"
      ),
      Argument.withDefault("")
    ),
    field: Flag.String("field").pipe(
      Flag.withDescription("Print this field of the response alone, such as tokens.access_token"),
      Flag.optional
    ),
    ...serverFlags
  },
  Effect.fnUntraced(function* ({ field, method, request, ...flags }) {
    const server = yield* serverOf(flags)
    const stdio = yield* Stdio.Stdio
    const requests = request === "-" ? Stream.decodeText(stdio.stdin) : Stream.succeed(request)
    const answer = yield* answering(server)(GrpcReflect.call({ ...server, method, requests }))
    const printed = Sink.mapError(stdio.stdout(), () => new NobodyReads())
    yield* answer.responses.pipe(
      Stream.mapEffect((json) =>
        Option.match(field, {
          onNone: () => Effect.succeed(textOf(json, answer.stream)),
          onSome: (path) => fieldOf(json, path)
        })
      ),
      Stream.run(printed)
    )
  }, Effect.scoped)
).pipe(
  Command.withDescription("Call a method of a running service, found by reflection"),
  Command.withExamples([
    {
      command: `xdooria call game.GameService/GetPlayer '{"player_id":"p1"}'`,
      description: "Read a player from the service of `npm start`"
    },
    {
      command: `xdooria call --deadline 60 grpc.health.v1.Health/Watch`,
      description: "Print each state of a server for a minute: a stream of responses is printed as it comes"
    },
    {
      command: `xdooria call --addr game.example:443 --tls --token "$TOKEN" game.GameService/GetPlayer - < request.json`,
      description: "Call another machine, over TLS"
    },
    {
      command: `TOKEN=$(xdooria call --field tokens.access_token auth.AuthService/Login '{"name":"ann","password":"..."}')`,
      description: "Keep a field of the response, for --token"
    }
  ])
)

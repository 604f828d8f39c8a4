import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as GrpcReflect from "../grpc/GrpcReflect.ts"
import { answering, serverFlags, serverOf } from "./server.ts"

const kinds = ["unary", "server streaming", "client streaming", "bidirectional streaming"]

const linesOf = ({ methods, name }: GrpcReflect.ReflectService): ReadonlyArray<readonly [path: string, kind: string]> =>
  methods.length === 0
    ? [[name, "methods unknown"]]
    : methods.map((method) => [
        `${name}/${method.name}`,
        kinds[Number(method.responseStream) + 2 * Number(method.requestStream)]!
      ])

const list = Command.make(
  "list",
  serverFlags,
  Effect.fnUntraced(function* (flags) {
    const server = yield* serverOf(flags)
    const services = yield* answering(server)(GrpcReflect.list(server))
    const lines = services.flatMap(linesOf).map((line) => line.map(GrpcReflect.printable))
    const width = Math.max(0, ...lines.map(([path]) => path!.length))
    if (lines.length > 0) yield* Console.log(lines.map(([path, kind]) => `${path!.padEnd(width)}  ${kind}`).join("\n"))
  })
).pipe(Command.withDescription("Print the methods of a running server, each with its kind, for `xdooria call`"))

const describe = Command.make(
  "describe",
  {
    name: Argument.String("name").pipe(
      Argument.withDescription("Such as game.GameService, game.GameService/GetPlayer or game.Player")
    ),
    ...serverFlags
  },
  Effect.fnUntraced(function* ({ name, ...flags }) {
    const server = yield* serverOf(flags)
    yield* Console.log(yield* answering(server)(GrpcReflect.describe({ ...server, name })))
  })
).pipe(
  Command.withDescription("Print a service, method, message or enum of a running server as .proto, with all it needs"),
  Command.withExamples([
    {
      command: "xdooria grpc describe game.GameService/GetPlayer",
      description: "What a request needs and what comes back"
    }
  ])
)

/** `xdooria grpc`: tells what a running server offers. */
export const grpc = Command.make("grpc").pipe(
  Command.withDescription("Tell what a running server offers, by reflection"),
  Command.withSubcommands([list, describe])
)

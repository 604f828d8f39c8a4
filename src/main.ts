import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { call } from "./cli/call.ts"
import { config } from "./cli/config.ts"
import { demo } from "./cli/demo.ts"
import { grpc } from "./cli/grpc.ts"
import { migrate } from "./cli/migrate.ts"
import * as Process from "./cli/Process.ts"
import { serve } from "./cli/serve.ts"
import { version } from "./cli/version.ts"

const xdooria = Command.make("xdooria").pipe(
  Command.withDescription("The services of xDooria and what an operator does with them"),
  Command.withSubcommands([serve, call, demo, grpc, config, migrate])
)

Command.run(xdooria, { version }).pipe(Effect.provide(NodeServices.layer), Process.runMain)

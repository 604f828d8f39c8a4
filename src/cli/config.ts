import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { basename } from "node:path"
import { checkFile, checkServices } from "../config/ConfigLive.ts"
import { describeIssue } from "../config/ConfigError.ts"
import { loadService, serviceNames } from "../services/services.ts"

const check = Command.make(
  "check",
  {
    file: Flag.String("file").pipe(
      Flag.withDescription("A YAML file named after its service, such as config/prod/game.yaml")
    )
  },
  Effect.fnUntraced(function* ({ file }) {
    const name = serviceNames.find((name) => basename(file, ".yaml") === name)
    const sections = name === undefined ? [] : (yield* loadService(name)).sections
    const { env, warnings } = yield* checkFile(file, { sections })
    for (const warning of [...warnings, ...checkServices(serviceNames)])
      yield* Console.log(`warning: ${describeIssue(warning)}`)
    yield* Console.log(`${file}: right for ${env}`)
  })
).pipe(Command.withDescription("Read a file as the service would that is started with it, and tell all that is wrong"))

/** `xdooria config`: what an operator does with configuration files. */
export const config = Command.make("config").pipe(
  Command.withDescription("Work with configuration files"),
  Command.withSubcommands([check])
)

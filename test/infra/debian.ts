// Servers that Debian packages.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { join } from "node:path"
import { isExecutable, run, staying, Unavailable } from "./Server.ts"

/** What a server runs on. */
export interface Packages {
  readonly packages: ReadonlyArray<string>
  /** What of it must be on the path. */
  readonly programs: ReadonlyArray<string>
  /** The server of the system that a package starts when it is installed. */
  readonly service: string
}

const isOnPath = (program: string): boolean =>
  (process.env["PATH"] ?? "").split(":").some((folder) => isExecutable(join(folder, program)))

const aptGet = (...args: ReadonlyArray<string>): Effect.Effect<string, Unavailable> =>
  run("apt-get", args, { env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } })

/** Installs packages where they are missing, and starts what needs them where they are there, so that it stays. */
export const debian = ({ packages, programs, service }: Packages) => {
  const check: Effect.Effect<void, Unavailable> = Effect.suspend(() => {
    const missing = programs.filter((program) => !isOnPath(program))
    if (missing.length === 0) return Effect.void
    const message = `not on the path: ${missing.join(", ")}; Debian has them in ${packages.join(", ")}`
    return Effect.fail(new Unavailable({ message }))
  })
  const install: Effect.Effect<void, Unavailable> = Effect.catch(check, ({ message }) => {
    if (process.getuid?.() !== 0 || !isOnPath("apt-get")) {
      const command = `sudo apt-get install --no-install-recommends ${packages.join(" ")}`
      return Effect.fail(new Unavailable({ message: `${message}: run \`${command}\`` }))
    }
    return aptGet("update").pipe(
      Effect.andThen(aptGet("install", "--yes", "--no-install-recommends", ...packages)),
      // The package starts a server of the system, and at each boot; nobody has asked for that one.
      Effect.andThen(Effect.ignore(run("service", [service, "stop"]))),
      Effect.andThen(Effect.ignore(run("update-rc.d", [service, "disable"]))),
      Effect.andThen(check)
    )
  })
  return {
    install,
    start: <A>(server: Effect.Effect<A, Unavailable, Scope.Scope>): Effect.Effect<A, Unavailable> =>
      Effect.andThen(check, staying(server))
  }
}

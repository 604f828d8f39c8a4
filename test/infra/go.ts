// Programs in Go of this repository, built where Go is into node_modules/.cache.
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import { isExecutable, run, Unavailable } from "./Server.ts"

/** Without optimisation and symbols it is built in half of the time. */
const options = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-gcflags=all=-N -l", "-ldflags=-s -w"]

/**
 * A program.
 *
 * - `folder`: of its sources, below test
 */
export const goProgram = (folder: string) => {
  const sources = fileURLToPath(new URL(`../${folder}/`, import.meta.url))
  const cache = fileURLToPath(new URL(`../../node_modules/.cache/xdooria-${basename(folder)}/`, import.meta.url))

  /** The program of these sources: others have another name. */
  const now = (): string => {
    const hash = createHash("sha256")
    for (const name of readdirSync(sources).toSorted()) hash.update(name).update(readFileSync(join(sources, name)))
    return join(cache, hash.digest("hex").slice(0, 16))
  }

  const built: Effect.Effect<string, Unavailable> = Effect.filterOrFail(
    Effect.sync(now),
    isExecutable,
    () => new Unavailable({ message: `test/${folder} is not built, as it is now` })
  )

  const build = Effect.gen(function* () {
    const file = now()
    rmSync(cache, { recursive: true, force: true })
    mkdirSync(cache, { recursive: true })
    const env = { ...process.env, CGO_ENABLED: "0", GOWORK: "off" }
    yield* run("go", ["build", ...options, "-o", `${file}.new`, "."], { cwd: sources, env }).pipe(
      Effect.mapError(
        ({ message }) =>
          new Unavailable({ message: `${message}: it takes Go 1.26 or later, see https://go.dev/doc/install` })
      )
    )
    renameSync(`${file}.new`, file)
  })

  return {
    /** Where it is; fails when it is not built from the sources as they are now. */
    built,
    install: Effect.asVoid(Effect.catch(built, () => build)),
    /** Whether a file is the program of the sources as they are now. */
    isCurrent: ({ program }: { readonly program: string }): boolean => program === now() && isExecutable(program)
  }
}

// gRPC as grpc-go speaks it: the program of test/interop/peer, built where Go is into node_modules/.cache.
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Ports from "../support/Ports.ts"
import { awaitPort, isExecutable, run, type Server, Unavailable } from "./Server.ts"

/** Where a server of grpc-go is, and the program that is also a client. */
export interface Peer {
  readonly host: string
  readonly port: number
  readonly program: string
}

const sources = fileURLToPath(new URL("../interop/peer/", import.meta.url))
const cache = fileURLToPath(new URL("../../node_modules/.cache/xdooria-peer/", import.meta.url))

/** The program of these sources: others have another name. */
const programNow = (): string => {
  const hash = createHash("sha256")
  for (const name of readdirSync(sources).toSorted()) hash.update(name).update(readFileSync(join(sources, name)))
  return join(cache, hash.digest("hex").slice(0, 16))
}

const built: Effect.Effect<string, Unavailable> = Effect.filterOrFail(
  Effect.sync(programNow),
  isExecutable,
  () => new Unavailable({ message: "test/interop/peer is not built, as it is now" })
)

/** Without optimisation and symbols it is built in half of the time. */
const options = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-gcflags=all=-N -l", "-ldflags=-s -w"]

const build = Effect.gen(function* () {
  const file = programNow()
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

export const goPeer: Server<Peer> = {
  install: Effect.asVoid(Effect.catch(built, () => build)),
  start: Effect.fnUntraced(function* (folder) {
    const file = yield* built
    const port = yield* Ports.free
    const log = join(folder, "log")
    const out = openSync(log, "w", 0o600)
    const child = spawn(file, ["serve", `127.0.0.1:${port}`, folder], { detached: true, stdio: ["ignore", out, out] })
    closeSync(out)
    child.unref()
    const pid = child.pid!
    yield* awaitPort(port, pid, log)
    return { pids: [pid], address: { host: "127.0.0.1", port, program: file } }
  }),
  stopSignal: "SIGTERM",
  isCurrent: ({ program }) => program === programNow() && isExecutable(program)
}

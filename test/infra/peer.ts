// gRPC as grpc-go speaks it: the program of test/interop/peer.
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { join } from "node:path"
import * as Ports from "../support/Ports.ts"
import { goProgram } from "./go.ts"
import { awaitPort, type Server } from "./Server.ts"

/** Where a server of grpc-go is, and the program that is also a client. */
export interface Peer {
  readonly host: string
  readonly port: number
  readonly program: string
}

const { built, install, isCurrent } = goProgram("interop/peer")

export const goPeer: Server<Peer> = {
  install,
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
  isCurrent
}

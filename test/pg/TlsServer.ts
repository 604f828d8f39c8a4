// A PostgreSQL server with TLS: the handshake is done here, what it carries goes to the real server.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { readFileSync } from "node:fs"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { fileURLToPath } from "node:url"

/** The path of a file in tls/. */
export const pathOf = (name: string): string => fileURLToPath(new URL(`tls/${name}`, import.meta.url))

/**
 * Listens on a port of 127.0.0.1 that the system chose.
 *
 * - `certificate`: a file in tls/, for the key localhost.key; without one it says that it has no TLS
 */
export const make = (
  server: { readonly host: string; readonly port: number },
  certificate: string | undefined
): Effect.Effect<{ readonly port: number }, never, Scope.Scope> => {
  const sockets = new Set<Net.Socket>()
  const serve = (socket: Net.Socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    // The SSLRequest, 8 bytes.
    socket.once("data", () => {
      if (certificate === undefined) return void socket.end("N")
      socket.write("S")
      const secure = new Tls.TLSSocket(socket, {
        isServer: true,
        cert: readFileSync(pathOf(certificate)),
        key: readFileSync(pathOf("localhost.key"))
      })
      const behind = Net.connect(server)
      sockets.add(behind)
      secure.on("error", () => behind.destroy())
      behind.on("error", () => secure.destroy())
      secure.pipe(behind)
      behind.pipe(secure)
    })
  }
  return Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const listener = Net.createServer(serve)
      listener.listen(0, "127.0.0.1", () => resume(Effect.succeed(listener)))
    }),
    (listener) =>
      Effect.callback<void>((resume) => {
        listener.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  ).pipe(Effect.map((listener) => ({ port: (listener.address() as Net.AddressInfo).port })))
}

import * as Effect from "effect/Effect"
import * as net from "node:net"
import { AddressInUse, CannotListen, GrpcError } from "../GrpcError.ts"

/** `host:port` as people write it: an IPv6 address in brackets. */
export const formatAddress = (host: string, port: number): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`

/** Whether what listens on the host can be reached from this machine only. */
export const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host)

const toError = (address: string, error: NodeJS.ErrnoException): GrpcError =>
  new GrpcError({
    reason:
      error.code === "EADDRINUSE"
        ? new AddressInUse({ address })
        : new CannotListen({ address, code: error.code ?? error.name })
  })

/**
 * Listens on a socket of our own and hands its connections on. grpc-js would listen by itself, but tells why it could
 * not only as text, after printing it.
 */
export const listen = (
  host: string,
  port: number,
  onConnection: (socket: net.Socket) => void
): Effect.Effect<net.Server, GrpcError> =>
  Effect.callback((resume) => {
    // Keep-alive lets the system find peers that vanished without a word.
    const server = net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }, onConnection)
    server.once("error", (error) => resume(Effect.fail(toError(formatAddress(host, port), error))))
    server.listen({ host, port }, () => {
      server.removeAllListeners("error")
      // A failed accept, such as one without a free file descriptor, costs that connection and not the process.
      server.on("error", () => {})
      resume(Effect.succeed(server))
    })
    return Effect.sync(() => server.close())
  })

/** Where it listens. */
export const addressOf = (server: net.Server, host: string): string => {
  const address = server.address() as net.AddressInfo
  return formatAddress(host, address.port)
}

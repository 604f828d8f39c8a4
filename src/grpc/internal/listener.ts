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

/** A port that is listened on. */
export interface Listener {
  readonly address: string
  /** Takes no further connections; those that there are go on. */
  readonly close: Effect.Effect<void>
  /** Waits until every connection was ended from this side, with all that was written to it. */
  readonly flushed: Effect.Effect<void>
  /** Waits until every connection was ended from both sides. */
  readonly closed: Effect.Effect<void>
  /** Cuts the connections that are left. */
  readonly cut: Effect.Effect<void>
}

const until = (socket: net.Socket, event: "finish" | "close"): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const done = () => resume(Effect.void)
    if (socket.destroyed || (event === "finish" && socket.writableFinished)) return done()
    socket.once(event, done).once("close", done)
    return Effect.sync(() => socket.off(event, done).off("close", done))
  })

/**
 * Listens on a socket of our own and hands its connections on. grpc-js would listen by itself, but tells why it could
 * not only as text, after printing it; and its forceShutdown forgets the connections when channelz is off.
 */
export const listen = (
  host: string,
  port: number,
  onConnection: (socket: net.Socket) => void
): Effect.Effect<Listener, GrpcError> =>
  Effect.callback((resume) => {
    const sockets = new Set<net.Socket>()
    const all = (event: "finish" | "close") =>
      Effect.suspend(() =>
        Effect.forEach([...sockets], (socket) => until(socket, event), { concurrency: "unbounded", discard: true })
      )
    // Keep-alive lets the system find peers that vanished without a word.
    const server = net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }, (socket) => {
      sockets.add(socket)
      socket.once("close", () => sockets.delete(socket))
      onConnection(socket)
    })
    const close = Effect.sync(() => void server.close())
    server.once("error", (error) => resume(Effect.fail(toError(formatAddress(host, port), error))))
    server.listen({ host, port }, () => {
      server.removeAllListeners("error")
      // A failed accept, such as one without a free file descriptor, costs that connection and not the process.
      server.on("error", () => {})
      const { port } = server.address() as net.AddressInfo
      const cut = Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
      })
      const address = formatAddress(host, port)
      resume(Effect.succeed({ address, close, flushed: all("finish"), closed: all("close"), cut }))
    })
    return close
  })

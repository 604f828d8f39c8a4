import * as Effect from "effect/Effect"
import type * as http2 from "node:http2"
import * as net from "node:net"
import type { TLSSocket } from "node:tls"
import type { Peer } from "../Call.ts"
import { AddressInUse, CannotListen, GrpcError } from "../GrpcError.ts"
import { formatAddress } from "./address.ts"
import type { ServerTls } from "./tls.ts"

const toError = (address: string, error: NodeJS.ErrnoException): GrpcError =>
  new GrpcError({
    reason:
      error.code === "EADDRINUSE"
        ? new AddressInUse({ address })
        : new CannotListen({ address, code: error.code ?? error.name })
  })

const peers = new WeakMap<http2.Http2Session, Peer>()

const readPeer = (socket: Partial<Pick<TLSSocket, "authorized" | "getPeerCertificate" | "remoteAddress">>): Peer => {
  // A socket of IPv6 writes the addresses of IPv4 in its own way.
  const address = (socket.remoteAddress ?? "").replace(/^::ffff:(?=\d+\.)/, "")
  // Only what was verified: a certificate that is merely there proves nothing.
  if (socket.authorized !== true) return { address }
  return { address, certificate: { ...socket.getPeerCertificate!().subject } as NonNullable<Peer["certificate"]> }
}

/** Who is at the other end of a connection. Read once for each, as reading the certificate costs more than a call. */
export const peerOf = (session: http2.Http2Session): Peer => {
  const known = peers.get(session)
  if (known !== undefined) return known
  const peer = readPeer(session.destroyed ? {} : session.socket)
  peers.set(session, peer)
  return peer
}

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

const all = (sockets: ReadonlySet<net.Socket>, event: "finish" | "close"): Effect.Effect<void> =>
  Effect.suspend(() =>
    Effect.forEach([...sockets], (socket) => until(socket, event), { concurrency: "unbounded", discard: true })
  )

const keep = (sockets: Set<net.Socket>, socket: net.Socket): void => {
  sockets.add(socket)
  socket.once("close", () => sockets.delete(socket))
}

// Keep-alive lets the system find peers that vanished without a word.
const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }

/**
 * Listens on a socket of our own and hands its connections on, with TLS once that is agreed on. grpc-js would listen by
 * itself, but tells why it could not only as text, after printing it; and its forceShutdown forgets the connections when
 * channelz is off.
 */
export const listen = (
  host: string,
  port: number,
  onConnection: (socket: net.Socket) => void,
  tls?: ServerTls
): Effect.Effect<Listener, GrpcError> =>
  Effect.callback((resume) => {
    /** Those of the system, and those that were handed on: with TLS they are not the same. */
    const sockets = new Set<net.Socket>()
    const streams = new Set<net.Socket>()
    let closed = false
    const handOn = (socket: net.Socket) => {
      // It was connecting when the last call was accepted: another server may have it.
      if (closed) return socket.destroy()
      keep(streams, socket)
      return onConnection(socket)
    }
    const server = tls === undefined ? net.createServer(options) : tls.createServer(options, handOn)
    server.on("connection", (socket: net.Socket) => {
      keep(sockets, socket)
      if (tls === undefined) handOn(socket)
    })
    const close = Effect.sync(() => {
      closed = true
      server.close()
    })
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
      const [flushed, ended] = [all(streams, "finish"), all(sockets, "close")]
      resume(Effect.succeed({ address, close, flushed, closed: ended, cut }))
    })
    return close
  })

// The seam between a transport and what the room makes of a call. On the server a transport accepts calls and the fused
// chain serves them; on the client the chain opens calls on a connection. grpc-js and the embedded transport implement
// it. Everything is called back synchronously, by plain code on both sides: an Effect for each message would cost more
// than the message.
import type * as Effect from "effect/Effect"
import type { Metadata, Peer } from "../Call.ts"
import type { Code, GrpcErrorReason } from "../GrpcError.ts"

/** Metadata on its way out, in order. */
export type Entries = ReadonlyArray<readonly [name: string, value: string | Buffer]>

/** How a call ends. */
export interface Status {
  readonly code: number
  readonly details: string
  readonly trailers: Entries
}

/** A call that a transport has accepted. Messages are bytes without their gRPC frame. */
export interface ServerCall {
  /** Such as `/game.GameService/GetPlayer`. */
  readonly path: string
  readonly metadata: Metadata
  /** In milliseconds of the epoch; Infinity for none. The transport tells when it has passed, or ends the call. */
  readonly deadline: number
  readonly peer: Peer
  /** Asks for one message more, or the end of the requests. */
  read(): void
  /** Sends the headers; without it they go with the first message. */
  sendHeaders(entries: Entries): void
  /** Sends a message; `sent` is called, at once or later, when the peer has room for the next. One at a time. */
  send(message: Buffer, sent: () => void): void
  /** Sends the status, behind what was sent. Nothing may follow. */
  end(status: Status): void
  /** Ends the call without a status, taking back what the peer has not read. */
  reset(): void
}

/** What a transport tells the one who serves a call. */
export interface ServerListener {
  onMessage(message: Buffer): void
  /** The client sends no further messages. */
  onHalfClose(): void
  /** The transport takes no more of the client, or no longer: the call has to end as it says. */
  onRefused(code: Code, message: string): void
  /** The call is over, whoever ended it: told once, for every call. */
  onClose(): void
}

/** Takes a call; called by the transport when its headers have arrived. It is told nothing before that returns. */
export type Accept = (call: ServerCall) => ServerListener

/** How a call of a client ended. */
export interface Ended {
  readonly code: number
  /** The peer's text or, when the peer did not answer, the transport's. */
  readonly details: string
  readonly trailers: Metadata
  /** Whether the server can have processed it; true when in doubt. */
  readonly sent: boolean
  /** Whether a response came that the transport cannot read, or does not want to. */
  readonly isUnread?: boolean
}

/** What a connection tells the one who calls. */
export interface ClientListener {
  onHeaders(metadata: Metadata): void
  onMessage(message: Buffer): void
  /** Told once, for every call, after all messages. */
  onEnd(ended: Ended): void
}

/** A call of a client. */
export interface ClientCall {
  /** Asks for one message more. */
  read(): void
  /** Sends a message; `sent` is called when there is room for the next. One at a time. */
  send(message: Buffer, sent: () => void): void
  /** No further messages are sent. */
  halfClose(): void
  /** Gives the call up; the server is told. */
  cancel(): void
}

/** How a connection to an endpoint is. */
export type Connectivity = "idle" | "connecting" | "ready" | "failing"

/** A connection to one endpoint, that comes back by itself after every loss until it is closed. */
export interface Connection {
  readonly connectivity: () => Connectivity
  /** Calls back after every change; gives what ends it. */
  readonly onChange: (changed: (now: Connectivity) => void) => () => void
  /** Connects, if it is idle. */
  readonly connect: () => void
  /** Why it is failing, with Node's code, when that is TLS. A transport without TLS has none. */
  readonly tlsFailure?: () => string | undefined
  /** Why it is failing, with Node's code such as `ECONNREFUSED`, when that is known. */
  readonly failure?: () => string | undefined
  /** Opens a call; `deadline` in milliseconds of the epoch, Infinity for none. */
  readonly open: (path: string, metadata: Entries, deadline: number, listener: ClientListener) => ClientCall
  /** Ends it; calls on it go on until they have ended. */
  readonly close: () => void
}

/** Where a connection goes. */
export interface Place {
  /** `host:port` or `unix:path`. */
  readonly address: string
  /** The name that it goes by: told to the server, and proved by it with TLS. */
  readonly authority: string
  /** Whether it may be pinged every few seconds. */
  readonly keepalive: boolean
}

/** What a client stands on. */
export interface ClientTransport {
  /** Makes a connection, idle until it is told to connect or has a call. */
  readonly connect: (place: Place) => Connection
  /** The IP addresses of a name; nothing when it cannot be told. */
  readonly lookup: (host: string) => Effect.Effect<ReadonlyArray<string> | undefined>
  /** What its deadlines are compared with, in milliseconds of the epoch. */
  readonly now: () => number
  /** Why an address must not be called; nothing when it may. */
  readonly refuse: (address: string) => GrpcErrorReason | undefined
}

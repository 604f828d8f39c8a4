import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

/**
 * The metadata of a call, as every transport gives it: names in lower case, values of names in `-bin` as bytes. Texts that
 * were sent under one name arrive as one, joined by `, `: that is how HTTP takes them.
 */
export interface Metadata {
  /** All values of a name, in their order; none when it is not there. */
  get(name: string): ReadonlyArray<string | Buffer>
  /** Everything. */
  toJSON(): Readonly<Record<string, ReadonlyArray<string | Buffer>>>
}

/**
 * Who is at the other end of a call.
 *
 * - `address`: its IP address, without the port
 * - `certificate`: the subject of the certificate that it proved to own; only with mutual TLS
 */
export interface Peer {
  readonly address: string
  readonly certificate?: Readonly<Record<string, string | ReadonlyArray<string>>>
}

/** The call that a handler or a middleware is serving. The server gives it to every call. */
export class Call extends Context.Service<
  Call,
  {
    /** The full name of the method, such as `game.GameService/GetPlayer`. */
    readonly method: string
    readonly metadata: Metadata
    readonly peer: Peer
    /** When it must have ended, in milliseconds of the epoch; Infinity when nobody said. */
    readonly deadline: number
    /**
     * Sends a metadata entry before the first response; after that it is dropped. Lower-case name, not one of HTTP/2's and
     * gRPC's own; bytes for a name in `-bin`, for any other text of printable ASCII without blanks at its ends. A name that
     * HTTP knows is sent once. Anything else is a defect.
     */
    readonly setHeader: (name: string, value: string | Buffer) => Effect.Effect<void>
    /** Sends a metadata entry with the status, after the last response; name and value as for `setHeader`. */
    readonly setTrailer: (name: string, value: string | Buffer) => Effect.Effect<void>
    /**
     * Ends the call at once and interrupts its handler, whoever runs this: with CANCELLED, or by a reset where what was sent
     * waits for a caller that does not read, so also of a call that has a status. Nothing happens when it is over.
     */
    readonly hangUp: Effect.Effect<void>
  }
>()("xdooria/grpc/Call") {}

/**
 * The time by which the work of a fiber must have ended, in milliseconds of the epoch; Infinity by default. A server sets
 * it for the handler of a call, a client takes the smaller of it and its own: so a chain of calls has one deadline.
 */
export const Deadline = Context.Reference<number>("xdooria/grpc/Deadline", { defaultValue: () => Infinity })

import * as grpc from "@grpc/grpc-js"
import * as Duration from "effect/Duration"
import type { GrpcSettings } from "../../Grpc.ts"
import type { MakeCredentials } from "../tls.ts"
import type { ClientCall, ClientListener, Connection, Connectivity, Entries, Place } from "../transport.ts"

type DriverCall = ReturnType<grpc.Channel["createCall"]>
type DriverListener = Parameters<DriverCall["start"]>[1]

const driverOptions = (settings: GrpcSettings, { address, authority, keepalive }: Place): grpc.ChannelOptions => ({
  "grpc.max_receive_message_length": settings.maxMessageSize,
  "grpc.max_send_message_length": settings.maxMessageSize,
  "grpc.enable_channelz": 0,
  // Without this a TXT record of the target's name could turn on retries of calls that are not idempotent.
  "grpc.service_config_disable_resolution": 1,
  // It would try again on the same connection; ours go to another one.
  "grpc.enable_retries": 0,
  // It keeps as much of what was sent for its retries, unread by the peer, before it holds the sender back.
  "grpc.per_rpc_retry_buffer_size": 64 * 1024,
  // By default http_proxy and its like would carry plain text, meant for this machine, to another.
  "grpc.enable_http_proxy": 0,
  // The connection is this one's: its keepalive is not another's, and it ends with it.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2000,
  ...(authority === address
    ? {}
    : { "grpc.default_authority": authority, "grpc.ssl_target_name_override": authority.replace(/:\d+$/, "") }),
  ...(keepalive
    ? {
        "grpc.keepalive_time_ms": Duration.toMillis(settings.keepaliveTime),
        "grpc.keepalive_timeout_ms": Duration.toMillis(settings.keepaliveTimeout),
        "grpc.keepalive_permit_without_calls": 1
      }
    : {})
})

/** How a call ended, as the driver tells it. */
export interface DriverStatus {
  readonly code: number
  readonly details: string
  /** Whether anything came from a server: metadata before the status, or with it. */
  readonly answered: boolean
  /** Whether the connection broke, rather than the stream. */
  readonly broken: boolean
  /** Where the call went, and where it should go: the same, or unknown, as long as no connection was chosen for it. */
  readonly peer: string
  readonly target: string
}

// Written by grpc-js 1.14 itself, when a server's GOAWAY or limit kept a stream from being looked at; also when a
// connection broke with the same code, which says nothing of its streams.
const refusedText = "Stream refused by server"
// The same for a deadline that passed after a server was chosen.
const deadlineText = "Deadline exceeded after"
const chosenText = "remote_addr="

/**
 * Whether the server can have processed a call; true when in doubt. The driver's texts count only as long as nothing
 * came from a server, which could write the same.
 */
export const wasSent = ({ answered, broken, code, details, peer, target }: DriverStatus): boolean => {
  if (answered) return true
  if (peer === target) return false
  if (code === 4 && details.startsWith(deadlineText)) return details.includes(chosenText)
  return broken || code !== 14 || details !== refusedText
}

/** What grpc-js keeps to itself of a call: the layers of it, and what ended its stream other than a reset of that. */
interface Internals {
  readonly child?: {
    readonly underlyingCalls: ReadonlyArray<{ readonly call: { readonly child?: { readonly internalError: unknown } } }>
  }
}

/** True when in doubt. */
const isBroken = (call: DriverCall): boolean =>
  (call as unknown as Internals).child?.underlyingCalls[0]?.call.child?.internalError !== null

// Written by grpc-js 1.14 itself for a response that it does not take; other ends may write the same of a request.
const unreadText = /^(?:Received message (?:larger than|that decompresses)|Failed to decompress|Received compressed)/

// Servers of grpc-js take a longer one for one that has passed, and its client throws on the longest.
const longest = Duration.toMillis("24 days")

/** The time that the driver compares deadlines with: the system's, whatever Clock a fiber has. */
export const now = (): number => Date.now()

/** grpc-js ends a response that is compressed in a way that it does not know without a code and a text. */
type Told = Partial<grpc.StatusObject> & Pick<grpc.StatusObject, "metadata">

const undecodable = "the response is compressed in a way that is not known"

/** A call of grpc-js as the seam has it: one object for both directions. */
class Call implements ClientCall, DriverListener {
  readonly #listener: ClientListener
  readonly #target: string
  readonly #call: DriverCall
  readonly #deadline: number
  #answered = false

  constructor(channel: grpc.Channel, path: string, metadata: Entries, deadline: number, listener: ClientListener) {
    this.#listener = listener
    this.#target = channel.getTarget()
    this.#deadline = deadline
    const headers = new grpc.Metadata()
    for (const [name, value] of metadata) headers.add(name, value)
    // A client of grpc-js would build two further layers for interceptors around each call.
    this.#call = channel.createCall(path, deadline - now() > longest ? Infinity : deadline, null, null, null)
    this.#call.start(headers, this)
  }

  onReceiveMetadata(metadata: grpc.Metadata): void {
    this.#answered = true
    this.#listener.onHeaders(metadata)
  }

  onReceiveMessage(message: Buffer): void {
    this.#listener.onMessage(message)
  }

  onReceiveStatus({ code: told, details = undecodable, metadata: trailers }: Told): void {
    if (told === grpc.status.OK) return this.#listener.onEnd({ code: told, details, trailers, sent: true })
    const isSilent = Object.keys(trailers.toJSON()).length === 0
    // A server that is at the deadline first may only reset the stream, as grpc-go does, whose client knows that, too.
    const isLate = told === grpc.status.CANCELLED && isSilent && now() >= this.#deadline
    const code = isLate ? grpc.status.DEADLINE_EXCEEDED : (told ?? grpc.status.INTERNAL)
    const sent = wasSent({
      code,
      details,
      answered: this.#answered || !isSilent,
      broken: details === refusedText && isBroken(this.#call),
      peer: this.#call.getPeer(),
      target: this.#target
    })
    const isUnread = told === undefined || (this.#answered && isSilent && unreadText.test(details))
    this.#listener.onEnd({ code, details, trailers, sent, isUnread })
  }

  read(): void {
    this.#call.startRead()
  }

  send(message: Buffer, sent: () => void): void {
    this.#call.sendMessageWithContext({ callback: sent }, message)
  }

  halfClose(): void {
    this.#call.halfClose()
  }

  cancel(): void {
    this.#call.cancelWithStatus(grpc.status.CANCELLED, "Cancelled on client")
  }
}

const connectivities: Readonly<Record<grpc.connectivityState, Connectivity>> = {
  [grpc.connectivityState.IDLE]: "idle",
  [grpc.connectivityState.CONNECTING]: "connecting",
  [grpc.connectivityState.READY]: "ready",
  [grpc.connectivityState.TRANSIENT_FAILURE]: "failing",
  [grpc.connectivityState.SHUTDOWN]: "idle"
}

/** What grpc-js keeps to itself of a channel that fails: what it would tell a call, with the error that it had. */
interface Failing {
  readonly internalChannel?: {
    readonly currentPicker?: { readonly status?: { readonly details?: string } | null }
  }
}

const errorCode = /\bE[A-Z]{3,}\b/

/** A connection of grpc-js: a channel to one address. It reconnects with the driver's jittered backoff. */
export const open = (settings: GrpcSettings, makeCredentials: MakeCredentials, place: Place): Connection => {
  let tlsFailure: string | undefined
  const credentials = makeCredentials((failure) => {
    tlsFailure = failure
  })
  const channel = new grpc.Channel(place.address, credentials, driverOptions(settings, place))
  const listeners = new Set<(now: Connectivity) => void>()
  const follow = (seen: grpc.connectivityState): void =>
    channel.watchConnectivityState(seen, Infinity, () => {
      const now = channel.getConnectivityState(false)
      if (now !== grpc.connectivityState.SHUTDOWN) follow(now)
      for (const changed of listeners) changed(connectivities[now])
    })
  follow(channel.getConnectivityState(false))
  return {
    connectivity: () => connectivities[channel.getConnectivityState(false)],
    onChange: (changed) => {
      listeners.add(changed)
      return () => listeners.delete(changed)
    },
    connect: () => void channel.getConnectivityState(true),
    tlsFailure: () => tlsFailure,
    failure: () => {
      const { details = "" } = (channel as unknown as Failing).internalChannel?.currentPicker?.status ?? {}
      return errorCode.exec(details)?.[0]
    },
    open: (path, metadata, deadline, listener) => new Call(channel, path, metadata, deadline, listener),
    close: () => channel.close()
  }
}

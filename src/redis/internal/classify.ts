import {
  Authentication,
  Busy,
  ClusterDown,
  CrossSlot,
  Loading,
  NoScript,
  OutcomeUnknown,
  OutOfMemory,
  PermissionDenied,
  ReadOnly,
  type RedisFailureReason,
  Rejected,
  Timeout,
  TlsFailed,
  Unavailable,
  WritesRefused,
  WrongType
} from "../RedisError.ts"
import { addressOf } from "./address.ts"

/** What became of an operation that has no reply. */
export interface Sent {
  /** Whether it may have reached the server. */
  readonly wasSent: boolean
  readonly isIdempotent: boolean
}

const byCode = new Map<string, () => RedisFailureReason>(
  Object.entries<() => RedisFailureReason>({
    ASK: () => new ClusterDown(),
    BUSY: () => new Busy(),
    CLUSTERDOWN: () => new ClusterDown(),
    CROSSSLOT: () => new CrossSlot(),
    LOADING: () => new Loading(),
    MASTERDOWN: () => new Unavailable({ detail: "MASTERDOWN" }),
    MISCONF: () => new WritesRefused({ code: "MISCONF" }),
    MOVED: () => new ClusterDown(),
    NOAUTH: () => new Authentication({ code: "NOAUTH" }),
    NOPERM: () => new PermissionDenied(),
    NOREPLICAS: () => new WritesRefused({ code: "NOREPLICAS" }),
    NOSCRIPT: () => new NoScript(),
    OOM: () => new OutOfMemory(),
    READONLY: () => new ReadOnly(),
    TRYAGAIN: () => new ClusterDown(),
    WRONGPASS: () => new Authentication({ code: "WRONGPASS" }),
    WRONGTYPE: () => new WrongType()
  })
)

/** An operation whose reply did not come. */
export const lost = (detail: string, { isIdempotent, wasSent }: Sent): RedisFailureReason =>
  !wasSent ? new Unavailable({ detail }) : isIdempotent ? new Timeout() : new OutcomeUnknown({ detail })

const isReply = (error: unknown): error is { readonly message: string } =>
  typeof error === "object" && error !== null && (error as { name?: unknown }).name === "ReplyError"

/** Classifies what a server answered. Only its first word is read: the rest can hold arguments. */
const byReply = (message: string): RedisFailureReason => {
  // An EXEC that is refused itself has the reason behind that.
  const word = message.replace(/^EXECABORT Transaction discarded because of: -?/, "").split(" ", 1)[0]!
  return byCode.get(word)?.() ?? new Rejected({ code: /^[A-Z]+$/.test(word) ? word : "ERR" })
}

/** Node's code of an error, or that there is none. */
const codeOf = (error: unknown): string => {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === "string" ? code : "connection closed"
}

/** Classifies what came instead of a reply: the server's answer, or an error of the driver. */
export const classify = (error: unknown, sent: Sent): RedisFailureReason =>
  isReply(error) ? byReply(error.message) : lost(codeOf(error), sent)

const tlsCode = /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_|INVALID_|EPROTO)/

/** Classifies why there is no connection. */
export const refused = (error: unknown): RedisFailureReason => {
  if (isReply(error)) return byReply(error.message)
  const code = codeOf(error)
  return tlsCode.test(code) ? new TlsFailed({ detail: code }) : new Unavailable({ detail: code })
}

/** Where a cluster has a slot instead, as it tells who asks elsewhere. */
export interface Redirection {
  readonly isMoved: boolean
  readonly slot: number
  readonly address: string
}

/** Reads the answers `MOVED slot host:port` (from now on) and `ASK slot host:port` (this time). */
export const redirectionOf = (error: unknown): Redirection | undefined => {
  const match = isReply(error) ? /^(MOVED|ASK) (\d{1,5}) (\S*):(\d{1,5})$/.exec(error.message) : null
  if (match === null) return undefined
  const [, kind, slot, host, port] = match
  return { isMoved: kind === "MOVED", slot: Number(slot), address: addressOf(host!, Number(port)) }
}

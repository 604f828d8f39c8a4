import type * as Command from "../Command.ts"
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
  type RedisFailure,
  type RedisFailureReason,
  Rejected,
  Timeout,
  TlsFailed,
  Unavailable,
  WritesRefused,
  WrongType
} from "../RedisError.ts"
import { addressOf, isPort } from "./address.ts"

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

/** Whether it is an answer of the server. */
export const isAnswer = (error: unknown): error is { readonly message: string } =>
  typeof error === "object" && error !== null && (error as { name?: unknown }).name === "ReplyError"

const rejected = (message: string): RedisFailureReason =>
  new Rejected({ code: /^[A-Z]+(?= |$)/.exec(message)?.[0] ?? "ERR" })

/** Classifies what a server answered. Only its first word is read: the rest can hold arguments. */
const byReply = (message: string): RedisFailureReason => {
  // An EXEC that is refused itself has the reason behind that.
  const word = message.replace(/^EXECABORT Transaction discarded because of: -?/, "").split(" ", 1)[0]!
  return byCode.get(word)?.() ?? rejected(word)
}

/** Node's code of an error, or that there is none. */
const codeOf = (error: unknown): string => {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === "string" ? code : "connection closed"
}

/** Classifies what came instead of a reply: the server's answer, or an error of the driver. */
export const classify = (error: unknown, sent: Sent): RedisFailureReason =>
  isAnswer(error) ? byReply(error.message) : lost(codeOf(error), sent)

const tlsCode = /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_|INVALID_|EPROTO)/

/** Classifies why there is no connection. */
export const refused = (error: unknown): RedisFailureReason => {
  if (isAnswer(error)) return byReply(error.message)
  const code = codeOf(error)
  return tlsCode.test(code) ? new TlsFailed({ detail: code }) : new Unavailable({ detail: code })
}

/** What Redis adds to what a command says that a script runs. */
const inScript = String.raw`( script: [0-9a-f]+, on @\w+:\d+\.)?`

/**
 * What servers (Redis 7 and 8, Valkey) say, word by word, before they begin a script, or to its first write where they
 * take none at all. All else that comes in answer to a script comes from the script, whatever it begins with.
 */
const notBegun = new RegExp(
  [
    String.raw`(MOVED|ASK) \d{1,5} \S*:\d{1,5}`,
    String.raw`NOSCRIPT No matching script\.( Please use EVAL\.)?`,
    "LOADING (Redis|Valkey) is loading the dataset in memory",
    String.raw`BUSY (Redis|Valkey) is busy running a (script\. You can only call \w+ KILL or SHUTDOWN NOSAVE|module command)\.`,
    "MASTERDOWN Link with MASTER is down(,| and) replica-serve-stale-data is set to 'no'.*",
    String.raw`READONLY You can't write against a read only replica\.${inScript}`,
    "READONLY Can not run script with write flag on readonly replica",
    String.raw`NOREPLICAS Not enough good replicas to write\.${inScript}`,
    "MISCONF (Redis|Valkey) is configured to (save RDB snapshots|persist data to AOF), but .*",
    "MISCONF Errors writing to the AOF file: .*",
    "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
    String.raw`NOAUTH Authentication required\.`,
    String.raw`NOPERM (this user|User \S+) has no permissions to .*`,
    "NOPERM No permissions to access a (key|channel)",
    "CROSSSLOT Keys in request don't hash to the same slot",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN (The cluster is down( and only accepts read commands)?|Hash slot not served)"
  ]
    .map((text) => `^${text}$`)
    .join("|"),
  "s"
)

const handMade: ReadonlySet<string> = new Set(["EVAL", "EVALSHA", "FCALL"])

/**
 * What a script answered that had begun, so that a part of it may be done; undefined for all else. Of what passes only the
 * server itself is believed: what a script says in its words is never tried again.
 */
export const byScript = (command: Command.Any, error: unknown): RedisFailureReason | undefined => {
  if (command.script === undefined && !handMade.has(command.name)) return undefined
  if (!isAnswer(error) || notBegun.test(error.message)) return undefined
  const reason = byReply(error.message)
  switch (reason._tag) {
    case "WrongType":
    case "OutOfMemory":
    case "PermissionDenied":
    case "WritesRefused":
      return reason
    default:
      return rejected(error.message)
  }
}

/** Whether what is connected for long waits until it passes: a password that was changed will be known again. */
export const passes = ({ isRetryable, reason }: RedisFailure): boolean =>
  isRetryable || reason._tag === "Authentication"

/** Where a cluster has a slot instead, as it tells who asks elsewhere. */
export interface Redirection {
  readonly isMoved: boolean
  readonly slot: number
  readonly address: string
}

/** Reads the answers `MOVED slot host:port` (from now on) and `ASK slot host:port` (this time). */
export const redirectionOf = (error: unknown): Redirection | undefined => {
  const match = isAnswer(error) ? /^(MOVED|ASK) (\d{1,5}) (\S*):(\d{1,5})$/.exec(error.message) : null
  if (match === null) return undefined
  const [, kind, slot, host, port] = match
  if (!isPort(Number(port))) return undefined
  return { isMoved: kind === "MOVED", slot: Number(slot), address: addressOf(host!, Number(port)) }
}

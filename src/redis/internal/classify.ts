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
  Unavailable,
  WritesRefused,
  WrongType
} from "../RedisError.ts"

/** What became of an operation that has no reply. */
export interface Sent {
  /** Whether it may have reached the server. */
  readonly wasSent: boolean
  readonly isIdempotent: boolean
}

const byCode: Record<string, () => RedisFailureReason> = {
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
}

/** An operation whose reply did not come. */
export const lost = (detail: string, { isIdempotent, wasSent }: Sent): RedisFailureReason =>
  !wasSent ? new Unavailable({ detail }) : isIdempotent ? new Timeout() : new OutcomeUnknown({ detail })

/** Classifies an error of the driver. Of a server's answer only the first word is read: the rest can hold arguments. */
export const classify = (error: unknown, sent: Sent): RedisFailureReason => {
  const { name, message, code } = error as { name?: unknown; message?: unknown; code?: unknown }
  if (name === "ReplyError" && typeof message === "string") {
    const word = message.split(" ", 1)[0]!
    return byCode[word]?.() ?? new Rejected({ code: /^[A-Z]+$/.test(word) ? word : "ERR" })
  }
  return lost(typeof code === "string" ? code : "connection closed", sent)
}

// A connection to one member of etcd. Of etcd3 it uses the stubs: what etcd3 builds on them loses events, repeats what is
// not safe to repeat, and takes a lease for ours after it has ended.
import * as grpc from "@grpc/grpc-js"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Host } from "etcd3/lib/connection-pool.js"
import { type Change, type Entry, mostValueBytes } from "./store.ts"

// --- what passes, as the stubs have it

/** Of 64 bits: a text, and a number where the driver finds no package for such integers. */
type Int64 = string | number

interface Header {
  readonly revision: Int64
}

interface KeyValue {
  readonly key: Buffer
  readonly value: Buffer
  readonly create_revision: Int64
  readonly mod_revision: Int64
  readonly lease: Int64
}

interface Event {
  readonly type: "Put" | "Delete"
  readonly kv: KeyValue
}

/** What is read. */
export interface Range {
  readonly key: Buffer
  readonly range_end?: Buffer
  /** At most so many, 0 or none for all. */
  readonly limit?: number
  /** As of this revision, 0 or none for the newest. */
  readonly revision?: Int64
  readonly keys_only?: boolean
}

/** What was read. */
export interface Ranged {
  readonly header: Header
  /** Whether the limit has left some out. */
  readonly more: boolean
  readonly kvs: ReadonlyArray<KeyValue>
}

interface Put {
  readonly key: Buffer
  readonly value: Buffer
  readonly lease: Int64
}

interface Operation {
  readonly request_put?: Put
  readonly request_range?: Range
  readonly request_delete_range?: Range
}

interface Transaction {
  readonly compare: ReadonlyArray<{
    readonly key: Buffer
    readonly target: "Create"
    readonly result: "Equal"
    readonly create_revision: Int64
  }>
  readonly success: ReadonlyArray<Operation>
  readonly failure: ReadonlyArray<Operation>
}

interface Transacted {
  readonly header: Header
  readonly succeeded: boolean
  readonly responses: ReadonlyArray<{ readonly response_range?: Ranged }>
}

/** The calls with one request and one response: where they are, and what they take and give. */
interface Calls {
  readonly range: readonly ["KV", Range, Ranged]
  readonly put: readonly ["KV", Put, { readonly header: Header }]
  readonly txn: readonly ["KV", Transaction, Transacted]
  readonly leaseGrant: readonly [
    "Lease",
    { readonly ID: Int64; readonly TTL: Int64 },
    { readonly ID: Int64; readonly TTL: Int64 }
  ]
  readonly leaseRevoke: readonly ["Lease", { readonly ID: Int64 }, { readonly header: Header }]
  readonly authenticate: readonly [
    "Auth",
    { readonly name: string; readonly password: string },
    { readonly token: string }
  ]
}

type Call = keyof Calls

const services: { readonly [C in Call]: Calls[C][0] } = {
  range: "KV",
  put: "KV",
  txn: "KV",
  leaseGrant: "Lease",
  leaseRevoke: "Lease",
  authenticate: "Auth"
}

type UnaryStub = (
  request: unknown,
  metadata: grpc.Metadata,
  done: (error: grpc.ServiceError | null, response: unknown) => void
) => grpc.ClientUnaryCall

/** A stream in both directions. */
export type Duplex<Req, Res> = grpc.ClientDuplexStream<Req, Res>

type StreamStub<Req, Res> = (metadata: grpc.Metadata) => Duplex<Req, Res>

type Peered = Pick<grpc.ClientUnaryCall, "getPeer">

interface Renewal {
  readonly ID: Int64
}

interface Renewed {
  readonly TTL: Int64
}

/** What a watch is asked. */
export interface WatchRequest {
  readonly create_request?: Range & { readonly start_revision: Int64; readonly progress_notify: boolean }
  readonly progress_request?: object
}

/** What a watch tells. */
export interface WatchResponse {
  readonly header: Header
  readonly watch_id: Int64
  readonly created: boolean
  readonly canceled: boolean
  readonly compact_revision: Int64
  readonly cancel_reason: string
  readonly events: ReadonlyArray<Event>
}

/** As the room has it. */
export const entryOf = ({ create_revision, key, lease, mod_revision, value }: KeyValue): Entry => ({
  key: key.toString(),
  value: value.length > mostValueBytes ? "" : value.toString(),
  createRevision: BigInt(create_revision),
  modRevision: BigInt(mod_revision),
  lease: String(lease)
})

/** As the room has it. */
export const changeOf = ({ kv, type }: Event): Change =>
  type === "Put"
    ? { _tag: "Put", entry: entryOf(kv) }
    : { _tag: "Delete", key: kv.key.toString(), modRevision: BigInt(kv.mod_revision) }

/** All keys with a prefix: its end is the prefix with its last byte raised by one, and it has no byte 255. */
export const rangeOf = (prefix: string): { readonly key: Buffer; readonly range_end: Buffer } => {
  const key = Buffer.from(prefix)
  const end = Buffer.from(key)
  end[end.length - 1]!++
  return { key, range_end: end }
}

// --- how it fails

/**
 * Why a call failed.
 *
 * - `Unavailable`: this member does not answer now; another one, or it later, may
 * - `Stale`: it does not know our token, or knows other rights than it stands for: nothing was done
 * - `Denied`: our user has no right to it
 * - `Gone`: the lease is no more
 * - `Exists`: there is a lease with this id
 * - `TooLarge`: its answer is larger than what is taken: ask for less
 * - `Compacted`: it has forgotten the revision that was asked for
 * - `NoUsers`: it asks nobody for a password
 * - `Refused`: it will not do it for another reason
 *
 * `isSent` is false when surely nothing reached a member.
 */
export interface Failure {
  readonly _tag:
    | "Unavailable"
    | "Stale"
    | "Denied"
    | "Gone"
    | "Exists"
    | "TooLarge"
    | "Compacted"
    | "NoUsers"
    | "Refused"
  readonly detail: string
  readonly isSent: boolean
}

const byCode: Partial<Record<grpc.status, Failure["_tag"]>> = {
  [grpc.status.CANCELLED]: "Unavailable",
  [grpc.status.UNKNOWN]: "Unavailable",
  [grpc.status.DEADLINE_EXCEEDED]: "Unavailable",
  [grpc.status.ABORTED]: "Unavailable",
  [grpc.status.RESOURCE_EXHAUSTED]: "Unavailable",
  [grpc.status.INTERNAL]: "Unavailable",
  [grpc.status.UNAVAILABLE]: "Unavailable",
  // Something else than etcd listens there.
  [grpc.status.UNIMPLEMENTED]: "Unavailable",
  [grpc.status.UNAUTHENTICATED]: "Stale",
  [grpc.status.PERMISSION_DENIED]: "Denied",
  [grpc.status.NOT_FOUND]: "Gone"
}

/** What etcd says under codes that it also has for other things. */
const byText: ReadonlyArray<readonly [RegExp, Failure["_tag"]]> = [
  [/invalid auth token|revision of auth store is old|user name is empty/, "Stale"],
  [/database space exceeded/, "Refused"],
  [/lease already exists/, "Exists"],
  // Of grpc-js, not of etcd.
  [/^Received message larger than max/, "TooLarge"],
  [/required revision has been compacted/, "Compacted"],
  [/authentication is not enabled/, "NoUsers"]
]

/** What grpc-js adds to the reason, for those who resolve names themselves. */
const noteText = / Resolution note:[^]*$/

/** Tells what a status of gRPC means. */
export const classify = (code: grpc.status, text: string, isSent: boolean): Failure => ({
  _tag: byText.find(([pattern]) => pattern.test(text))?.[1] ?? byCode[code] ?? "Refused",
  detail: text.replace(noteText, "").replace("No connection established. Last error: ", "").slice(0, 200),
  isSent
})

/**
 * Tells what the reason means that etcd ended a watch with. It says that a permission is missing also to those whose
 * token it does not know.
 */
export const classifyEnd = (reason: string): Failure => ({
  ...classify(grpc.status.UNAVAILABLE, reason === "" ? "the watch was ended" : reason, true),
  ...(/permission ?denied/i.test(reason) ? { _tag: "Stale" as const } : {})
})

/** The failure of who does not get an answer. */
export const silent = (timeout: Duration.Duration, isSent: boolean): Failure =>
  classify(grpc.status.DEADLINE_EXCEEDED, `no answer within ${Duration.toMillis(timeout)} ms`, isSent)

// --- the connection

/** How large an answer may be that is taken; the driver's limit would be 4 MB. */
const maxMessageSize = 64 * 1024 * 1024

const optionsOf = (timeout: Duration.Duration): grpc.ChannelOptions => ({
  "grpc.max_receive_message_length": maxMessageSize,
  "grpc.enable_channelz": 0,
  // Without this a TXT record of the target's name could turn on retries of calls that are not idempotent.
  "grpc.service_config_disable_resolution": 1,
  "grpc.enable_retries": 0,
  // By default http_proxy and its like would carry plain text, meant for this machine, to another.
  "grpc.enable_http_proxy": 0,
  // The connection is this one's, and ends with it: a new one is a new one.
  "grpc.use_local_subchannel_pool": 1,
  // More often than every 5 seconds etcd takes it for an attack.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": Duration.toMillis(timeout)
})

/** One connection, dialled by its first call. When it is lost another takes its place. */
export class Connection {
  readonly address: string
  readonly #channel: grpc.Channel
  readonly #host: Host
  readonly #timeout: Duration.Duration
  #isClosed = false

  /**
   * - `address`: `host:port`
   * - `timeout`: how long a call may take
   */
  constructor(address: string, credentials: grpc.ChannelCredentials, timeout: Duration.Duration) {
    this.address = address
    this.#timeout = timeout
    this.#channel = new grpc.Channel(`dns:${address}`, credentials, optionsOf(timeout))
    // All stubs on one channel; by itself each has its own.
    this.#host = new Host(address, credentials, { channelOverride: this.#channel })
  }

  /** What is on its way goes on; what comes after fails. */
  close(): void {
    this.#isClosed = true
    this.#channel.close()
  }

  /** Calls with one request and one response; interruption cancels it. */
  call<C extends Call>(name: C, request: Calls[C][1], metadata: grpc.Metadata): Effect.Effect<Calls[C][2], Failure> {
    return this.#timed((began) =>
      Effect.callback<Calls[C][2], Failure>((resume) => {
        const stub = this.#stub<Record<C, UnaryStub>>(services[name])
        const call = stub[name](request, metadata, (error, response) =>
          resume(error === null ? Effect.succeed(response as Calls[C][2]) : Effect.fail(this.#failureOf(error, call)))
        )
        began(call)
        return Effect.sync(() => call.cancel())
      })
    )
  }

  /** Renews a lease: one request and one response, on a stream. Gives its new time in seconds, 0 when it is no more. */
  keepAlive(lease: string, metadata: grpc.Metadata): Effect.Effect<number, Failure> {
    return this.#timed((began) =>
      Effect.callback<number, Failure>((resume) => {
        const stub = this.#stub<{ readonly leaseKeepAlive: StreamStub<Renewal, Renewed> }>("Lease")
        const stream = stub.leaseKeepAlive(metadata)
        const end = (outcome: Effect.Effect<number, Failure>) => {
          resume(outcome)
          stream.cancel()
        }
        stream.on("error", (error: grpc.ServiceError) => end(Effect.fail(this.#failureOf(error, stream))))
        stream.on("data", ({ TTL }: Renewed) => end(Effect.succeed(Math.max(0, Number(TTL)))))
        stream.on("end", () => end(Effect.fail(classify(grpc.status.UNAVAILABLE, "no answer", true))))
        stream.write({ ID: lease })
        began(stream)
        return Effect.sync(() => stream.cancel())
      })
    )
  }

  /**
   * Opens a stream of watches; undefined once it is closed. Whoever opens it cancels it.
   *
   * - `failed`: told of its end, by itself or by `cancel`
   */
  watch(metadata: grpc.Metadata, failed: (failure: Failure) => void): Duplex<WatchRequest, WatchResponse> | undefined {
    if (this.#isClosed) return undefined
    const stream = this.#stub<{ readonly watch: StreamStub<WatchRequest, WatchResponse> }>("Watch").watch(metadata)
    stream.on("error", (error: grpc.ServiceError) => failed(this.#failureOf(error, stream)))
    stream.on("end", () => failed(classify(grpc.status.UNAVAILABLE, "the stream ended", true)))
    return stream
  }

  #stub<S>(service: "KV" | "Lease" | "Auth" | "Watch"): S {
    return this.#host.getServiceClient(service) as unknown as S
  }

  /** Where a call goes is not known before it has a connection. */
  #isSent(call: Peered): boolean {
    return call.getPeer() !== this.#channel.getTarget()
  }

  #failureOf({ code, details }: grpc.ServiceError, call: Peered): Failure {
    return classify(code, details, this.#isSent(call))
  }

  #timed<A>(run: (began: (call: Peered) => void) => Effect.Effect<A, Failure>): Effect.Effect<A, Failure> {
    return Effect.suspend(() => {
      if (this.#isClosed) return Effect.fail(classify(grpc.status.UNAVAILABLE, "the connection was given up", false))
      let call: Peered | undefined
      return Effect.timeoutOrElse(
        run((begun) => (call = begun)),
        {
          duration: this.#timeout,
          orElse: () =>
            Effect.suspend(() => Effect.fail(silent(this.#timeout, call !== undefined && this.#isSent(call))))
        }
      )
    })
  }
}

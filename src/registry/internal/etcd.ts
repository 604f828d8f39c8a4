// etcd as the store of the room: calls that fail over between its members, users and their tokens, and what of a call may
// be tried again.
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { randomBytes } from "node:crypto"
import { InvalidConfig, Rejected } from "../../config/ConfigError.ts"
import { readPem } from "../../utils/Tls.ts"
import type { EtcdSettings } from "../Registry.ts"
import { Refused, Unavailable } from "../RegistryError.ts"
import { Connection, entryOf, type Failure } from "./etcdConnection.ts"
import { listed } from "./etcdList.ts"
import { watch } from "./etcdWatch.ts"
import type { Condition, Store } from "./store.ts"

const pem = (path: string, key: string, content: string): Effect.Effect<Buffer | null, InvalidConfig> =>
  path === "" ? Effect.succeed(null) : readPem(path, `etcd.${key}`, content)

/** How members are dialled. Fails when a file of TLS cannot be read, or is not what it should be. */
const credentialsOf = (settings: EtcdSettings): Effect.Effect<grpc.ChannelCredentials, InvalidConfig> =>
  Effect.gen(function* () {
    const { tls, tlsCaFile, tlsCertFile, tlsKeyFile } = settings
    if (tls === "disable") return grpc.credentials.createInsecure()
    const ca = yield* pem(tlsCaFile, "tls_ca_file", "certificates")
    const isMutual = tls === "mutual"
    const key = yield* pem(isMutual ? tlsKeyFile : "", "tls_key_file", "a key")
    const cert = yield* pem(isMutual ? tlsCertFile : "", "tls_cert_file", "certificates, ours first")
    return yield* Effect.try({
      try: () => grpc.credentials.createSsl(ca, key, cert),
      catch: () => {
        const issue = {
          source: tlsCertFile,
          path: "etcd.tls_cert_file",
          expected: "PEM that fits its key",
          actual: "other"
        }
        return new InvalidConfig({ reason: new Rejected({ issues: [issue] }) })
      }
    })
  })

/** A connection to one member at a time: the one that answers, and when it does not, the next. */
class Line {
  readonly #addresses: ReadonlyArray<string>
  readonly #dial: (address: string) => Connection
  #at: number
  #connection: Connection

  constructor(addresses: ReadonlyArray<string>, first: number, dial: (address: string) => Connection) {
    this.#addresses = addresses
    this.#dial = dial
    this.#at = first
    this.#connection = dial(addresses[first]!)
  }

  get connection(): Connection {
    return this.#connection
  }

  /** Goes on to the next member, or to a new connection with the only one, unless another caller has done so before. */
  giveUp(connection: Connection): void {
    if (connection !== this.#connection) return
    connection.close()
    this.#at = (this.#at + 1) % this.#addresses.length
    this.#connection = this.#dial(this.#addresses[this.#at]!)
  }

  close(): void {
    this.#connection.close()
  }
}

/** What a call carries. Tokens end by time, with a restart of the only member, and with any change of users. */
class Tokens {
  readonly #user: { readonly name: string; readonly password: Redacted.Redacted } | undefined
  readonly #asking = Semaphore.makeUnsafe(1)
  #current: grpc.Metadata | undefined

  constructor({ password, username }: EtcdSettings) {
    this.#user = username === "" ? undefined : { name: username, password }
    this.#current = this.#user === undefined ? metadataOf(undefined) : undefined
  }

  /** Asks for a token where there is none. What fails so has not been sent. */
  on(connection: Connection): Effect.Effect<grpc.Metadata, Failure> {
    const ask = Effect.suspend(() => {
      if (this.#current !== undefined || this.#user === undefined)
        return Effect.succeed(this.#current ?? metadataOf(undefined))
      const { name, password } = this.#user
      return connection.call("authenticate", { name, password: Redacted.value(password) }, metadataOf(undefined)).pipe(
        Effect.map(({ token }) => metadataOf(token)),
        Effect.catchIf(
          ({ _tag }) => _tag === "NoUsers",
          () => Effect.succeed(metadataOf(undefined))
        ),
        Effect.mapError((failure): Failure => ({ ...failure, isSent: false })),
        Effect.tap((metadata) => Effect.sync(() => (this.#current = metadata)))
      )
    })
    return Effect.suspend(() =>
      this.#current === undefined ? this.#asking.withPermits(1)(ask) : Effect.succeed(this.#current)
    )
  }

  /** Whether another one may be had for a token that is not taken: then the next who needs one asks for it. */
  forget(metadata: grpc.Metadata): boolean {
    if (this.#user === undefined) return false
    if (this.#current === metadata) this.#current = undefined
    return true
  }
}

/** With require-leader: a member that is cut off from the others says so, instead of saying nothing. */
const metadataOf = (token: string | undefined): grpc.Metadata => {
  const metadata = new grpc.Metadata()
  metadata.set("hasleader", "true")
  if (token !== undefined) metadata.set("token", token)
  return metadata
}

/** What is read to see whether a member answers: nothing is there, and it is ours. */
const asked = "/xdooria/meta/"

const doneAt = (revision: string | number) => ({ _tag: "Done" as const, revision: BigInt(revision) })

const comparison = ({ createRevision, key }: Condition) => ({
  key: Buffer.from(key),
  target: "Create" as const,
  result: "Equal" as const,
  create_revision: String(createRevision)
})

/** What another try may mend. */
const passing: ReadonlyArray<Failure["_tag"]> = ["Unavailable", "TooLarge", "Compacted"]

/** Every member has said why, or the one that decides. */
const reasonOf = ({ _tag, detail }: Failure): Unavailable | Refused =>
  passing.includes(_tag) ? new Unavailable({ detail }) : new Refused({ detail })

/** The store, and whether it is there. */
export interface Etcd extends Store {
  /** Asks a member for an answer that needs the others, too. */
  readonly ping: Effect.Effect<void, Unavailable | Refused>
}

/**
 * A store on the members of etcd; it dials when it is first asked. Its connections end with the scope: what uses it must
 * have ended by then.
 *
 * Fails when a file of TLS cannot be read, or is not what it should be.
 */
export const make = (settings: EtcdSettings): Effect.Effect<Etcd, InvalidConfig, Scope.Scope> =>
  Effect.gen(function* () {
    const { endpoints, requestTimeout } = settings
    const credentials = yield* credentialsOf(settings)
    // Processes that start with the same list do not all go to the first.
    const first = yield* Random.nextIntBetween(0, endpoints.length - 1)
    const line = Effect.acquireRelease(
      Effect.sync(() => new Line(endpoints, first, (address) => new Connection(address, credentials, requestTimeout))),
      (line) => Effect.sync(() => line.close())
    )
    // Watches do not end with a connection that was given up for a slow call.
    const [calls, watches] = [yield* line, yield* line]
    const tokens = new Tokens(settings)

    /** Asks one member after the other, each once, for as long as nothing was sent or it may be sent twice. */
    const ask = <A>(
      use: (connection: Connection, metadata: grpc.Metadata) => Effect.Effect<A, Failure>,
      isRepeatable = true
    ): Effect.Effect<A, Failure> =>
      Effect.gen(function* () {
        const problems: Array<string> = []
        let mayRenew = true
        for (;;) {
          const { connection } = calls
          let used: grpc.Metadata | undefined
          const outcome = yield* tokens.on(connection).pipe(
            Effect.flatMap((metadata) => use(connection, (used = metadata))),
            Effect.result
          )
          if (Result.isSuccess(outcome)) return outcome.success
          const failure = outcome.failure
          if (failure._tag === "Stale" && mayRenew && used !== undefined && tokens.forget(used)) {
            mayRenew = false
            continue
          }
          problems.push(`${connection.address}: ${failure.detail}`)
          const end: Failure = { ...failure, detail: problems.join("; ") }
          if (failure._tag !== "Unavailable") return yield* Effect.fail(end)
          calls.giveUp(connection)
          if (problems.length >= endpoints.length || (failure.isSent && !isRepeatable)) return yield* Effect.fail(end)
        }
      })

    const grant = (ttlMillis: number): ReturnType<Store["grant"]> =>
      Effect.suspend(() => {
        // An id of ours makes a grant the same grant when it is sent again. Never from a seed, and of 52 bits, which are
        // exact also where the driver finds no integers of 64.
        const lease = String((randomBytes(8).readBigUInt64BE() >> 12n) | 1n)
        const TTL = Math.ceil(ttlMillis / 1_000)
        return ask((connection, metadata) => connection.call("leaseGrant", { ID: lease, TTL }, metadata)).pipe(
          Effect.map((granted) => ({ lease, ttlMillis: Number(granted.TTL) * 1_000 })),
          Effect.catchIf(
            ({ _tag }) => _tag === "Exists",
            () => Effect.succeed({ lease, ttlMillis: TTL * 1_000 })
          ),
          Effect.mapError(reasonOf)
        )
      })

    const put: Store["put"] = ({ condition, key: name, lease, value }) => {
      const key = Buffer.from(name)
      const request = { key, value: Buffer.from(value), lease }
      const plain = (connection: Connection, metadata: grpc.Metadata) =>
        Effect.map(connection.call("put", request, metadata), ({ header }) => doneAt(header.revision))
      const guarded = (connection: Connection, metadata: grpc.Metadata) =>
        Effect.map(
          connection.call(
            "txn",
            {
              compare: [comparison(condition!)],
              success: [{ request_put: request }],
              failure: [{ request_range: { key } }]
            },
            metadata
          ),
          ({ header, responses, succeeded }) => {
            if (succeeded) return doneAt(header.revision)
            const found = responses[0]?.response_range?.kvs[0]
            return { _tag: "Conflict" as const, entry: found === undefined ? undefined : entryOf(found) }
          }
        )
      return ask<Effect.Success<ReturnType<Store["put"]>>>(condition === undefined ? plain : guarded, false).pipe(
        Effect.mapError(reasonOf)
      )
    }

    return {
      ping: ask((connection, metadata) => connection.call("range", { key: Buffer.from(asked) }, metadata)).pipe(
        // That it has no right to the key is an answer, too.
        Effect.catchIf(
          ({ _tag }) => _tag === "Denied",
          () => Effect.void
        ),
        Effect.asVoid,
        Effect.mapError(reasonOf)
      ),
      grant,
      keepAlive: (lease) =>
        ask((connection, metadata) => connection.keepAlive(lease, metadata)).pipe(
          Effect.map((seconds) => seconds * 1_000),
          Effect.mapError(reasonOf)
        ),
      revoke: (lease) =>
        ask((connection, metadata) => connection.call("leaseRevoke", { ID: lease }, metadata)).pipe(
          Effect.asVoid,
          Effect.catchIf(
            ({ _tag }) => _tag === "Gone",
            () => Effect.void
          ),
          Effect.mapError(reasonOf)
        ),
      put,
      remove: (condition) => {
        const request = {
          compare: [comparison(condition)],
          success: [{ request_delete_range: { key: Buffer.from(condition.key) } }],
          failure: []
        }
        return ask((connection, metadata) => connection.call("txn", request, metadata)).pipe(
          Effect.asVoid,
          Effect.mapError(reasonOf)
        )
      },
      list: (prefix) =>
        Effect.mapError(
          listed((range) => ask((connection, metadata) => connection.call("range", range, metadata)), prefix),
          reasonOf
        ),
      watch: (prefix, from) =>
        Stream.suspend(() => {
          const { connection } = watches
          const failed = (failure: Failure, metadata?: grpc.Metadata): Unavailable | Refused => {
            const detail = `${connection.address}: ${failure.detail}`
            if (failure._tag === "Unavailable") watches.giveUp(connection)
            // The next watch asks for another token.
            const isMended = failure._tag === "Stale" && metadata !== undefined && tokens.forget(metadata)
            return isMended ? new Unavailable({ detail }) : reasonOf({ ...failure, detail })
          }
          return Stream.unwrap(
            Effect.map(
              Effect.mapError(tokens.on(connection), (failure) => failed(failure)),
              (metadata) =>
                Stream.mapError(watch(connection, metadata, { prefix, from, every: requestTimeout }), (failure) =>
                  failed(failure, metadata)
                )
            )
          )
        })
    }
  })

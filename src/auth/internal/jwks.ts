// The public keys of the services that sign, as they publish them (RFC 7517): read over HTTP and kept.
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { createPublicKey } from "node:crypto"
import * as http from "node:http"
import * as https from "node:https"
import * as Health from "../../health/Health.ts"
import { Kid, readJson } from "./jwt.ts"
import { algorithmOf, type PublicKey, publicKey } from "./keys.ts"

/** The largest answer that is read, in bytes: 100 keys are less. */
const largest = 64 * 1024

/** How long a read may take. */
const patience = Duration.seconds(5)

/** How often the keys are read by themselves, so that a key that was taken out verifies no longer. */
const interval = Duration.minutes(5)

/** How long after a read an unknown key is no reason for another, in nanoseconds: anybody may name one. */
const pause = 30_000_000_000n

/** What it is called in the health of the service. */
const component = "jwks"

/** How long after a failure it is tried again, at least and at most. */
const retry = { first: Duration.seconds(1), last: Duration.seconds(30) }

/** Why keys could not be read, without what was read. */
class Unread {
  readonly detail: string
  constructor(detail: string) {
    this.detail = detail
  }
}

/** Gets a document, once: another address that the answer names is not asked, and nothing larger than 64 KB is read. */
const get = (url: string): Effect.Effect<Buffer, Unread> =>
  Effect.callback((resume) => {
    const client = url.startsWith("https:") ? https : http
    // Without an agent no connection is kept.
    const request = client.get(url, { agent: false, headers: { accept: "application/json" } })
    const fail = (detail: string) => {
      resume(Effect.fail(new Unread(detail)))
      request.destroy()
    }
    const onError = (error: NodeJS.ErrnoException) => fail(error.code ?? error.name)
    request.on("error", onError).on("response", (response) => {
      if (response.statusCode !== 200) fail(`status ${response.statusCode}`)
      const chunks: Array<Buffer> = []
      let size = 0
      response
        .on("data", (chunk: Buffer) => {
          size += chunk.length
          if (size > largest) fail(`more than ${largest} bytes`)
          else chunks.push(chunk)
        })
        .on("end", () => resume(Effect.succeed(Buffer.concat(chunks))))
        .on("error", onError)
    })
    return Effect.sync(() => request.destroy())
  })

const decodeSet = Schema.decodeUnknownOption(
  Schema.Struct({ keys: Schema.Array(Schema.Unknown).check(Schema.isMaxLength(100)) })
)

const member = Schema.optionalKey(Schema.String)

const decodeKey = Schema.decodeUnknownOption(
  Schema.Struct({
    kty: Schema.String,
    kid: Kid,
    use: Schema.optionalKey(Schema.Literal("sig")),
    alg: member,
    key_ops: Schema.optionalKey(Schema.Array(Schema.String)),
    crv: member,
    x: member,
    y: member,
    n: member,
    e: member
  })
)

/** What RFC 7518 gives private keys and secrets, and no public key. */
const privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]

/** Whether who reads it could sign: so everybody who read it can. */
const isPrivate = (entry: unknown): boolean =>
  Predicate.isObject(entry) && privateMembers.some((name) => Object.hasOwn(entry, name))

/** Reads a public entry; none for one that is not for any algorithm of ours. */
const keyOf = (entry: unknown): PublicKey | undefined => {
  const decoded = Option.getOrUndefined(decodeKey(entry))
  if (decoded === undefined) return undefined
  const { alg, key_ops: uses = ["verify"], kid, use: _, ...key } = decoded
  if (!uses.includes("verify")) return undefined
  const made = Result.try(() => createPublicKey({ key, format: "jwk" }))
  const algorithm = Result.isSuccess(made) ? algorithmOf(made.success) : undefined
  return Result.isFailure(made) || algorithm === undefined || (alg ?? algorithm) !== algorithm
    ? undefined
    : publicKey(made.success, algorithm, kid)
}

/** What a document gives. `mistakes`: what should not be in it and is not taken, in words and without any of it. */
interface Read {
  readonly keys: ReadonlyMap<string, PublicKey>
  readonly mistakes: string
}

const keysOf = (body: Buffer): Effect.Effect<Read, Unread> => {
  const set = decodeSet(readJson(body))
  if (Option.isNone(set)) return Effect.fail(new Unread("no set of keys"))
  const keys = new Map<string, PublicKey>()
  const count = { "not public": 0, "of a name that another has": 0 }
  for (const entry of set.value.keys) {
    if (isPrivate(entry)) count["not public"]++
    else {
      const key = keyOf(entry)
      if (key === undefined) continue
      if (keys.has(key.kid)) count["of a name that another has"]++
      else keys.set(key.kid, key)
    }
  }
  const mistakes = Object.entries(count)
    .filter(([, times]) => times > 0)
    .map(([what, times]) => `${times} ${what}`)
  return keys.size === 0
    ? Effect.fail(new Unread(["a set without any key that fits", ...mistakes].join(", ")))
    : Effect.succeed({ keys, mistakes: mistakes.join(", ") })
}

/** Keys that are read from elsewhere. */
export interface RemoteKeys {
  readonly current: () => ReadonlyMap<string, PublicKey>
  /** Why the last read failed; undefined after one that did not. */
  readonly problem: () => string | undefined
  /** Reads the keys, unless that was done within 30 seconds. Who asks while they are being read waits for that. */
  readonly refresh: Effect.Effect<void>
}

const isSame = (one: ReadonlyMap<string, PublicKey>, other: ReadonlyMap<string, PublicKey>): boolean =>
  one.size === other.size && [...one].every(([kid, { key }]) => other.get(kid)?.key.equals(key) === true)

/**
 * Reads keys now, every five minutes, and when a token names one that is unknown. What was read last is kept while the
 * server is away.
 *
 * - `url`: `auth.jwks_url`
 * - `onChange`: called when other keys verify than before
 */
export const follow = (url: string, onChange: () => void): Effect.Effect<RemoteKeys, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const clock = yield* Clock.Clock
    let keys: ReadonlyMap<string, PublicKey> = new Map()
    let problem: string | undefined = "they were not read yet"
    let isSaid = false
    let mistakes = ""
    let readAt = clock.monotonicTimeNanosUnsafe()
    let reading: Fiber.Fiber<void> | undefined

    const accept = (read: Read) =>
      Effect.gen(function* () {
        if (read.mistakes !== mistakes && read.mistakes !== "") {
          yield* Effect.logWarning(`auth: keys at auth.jwks_url are not taken: ${read.mistakes}`)
        }
        mistakes = read.mistakes
        if (!isSame(keys, read.keys)) {
          keys = read.keys
          onChange()
          yield* Effect.logInfo("auth: the keys that verify were read").pipe(
            Effect.annotateLogs({ keys: [...keys.keys()] })
          )
        } else if (isSaid) yield* Effect.logInfo("auth: the keys that verify can be read again")
        problem = undefined
        isSaid = false
        yield* Health.report(component, { status: "up" })
      })

    const refuse = ({ detail }: Unread) =>
      Effect.gen(function* () {
        problem = detail
        // Keys that were read go on verifying.
        if (keys.size === 0) {
          yield* Health.report(component, { status: "down", detail: `the keys that verify tokens: ${detail}` })
        }
        if (!isSaid)
          yield* Effect.logWarning("auth: the keys that verify cannot be read").pipe(
            Effect.annotateLogs({ error: detail })
          )
        isSaid = true
      })

    const once = get(url).pipe(
      Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.fail(new Unread("no answer in time")) }),
      Effect.flatMap(keysOf),
      Effect.matchEffect({ onSuccess: accept, onFailure: refuse }),
      Effect.ensuring(
        Effect.sync(() => {
          reading = undefined
        })
      )
    )

    // In the scope of the room: who asked may leave, and the next one would have to wait for its pause to end.
    const read = Effect.suspend(() => {
      if (reading !== undefined) return Fiber.await(reading)
      readAt = clock.monotonicTimeNanosUnsafe()
      return Effect.flatMap(Effect.forkIn(once, scope), (fiber) => Fiber.await((reading = fiber)))
    })

    let failures = 0
    const background = Effect.gen(function* () {
      yield* read
      failures = problem === undefined ? 0 : failures + 1
      yield* Effect.sleep(
        failures === 0
          ? interval
          : Duration.min(Duration.times(retry.first, 2 ** Math.min(failures - 1, 10)), retry.last)
      )
    })
    // At once, so that the first who asks waits for this read.
    yield* Effect.forkScoped(Effect.forever(background), { startImmediately: true })
    return {
      current: () => keys,
      problem: () => problem,
      refresh: Effect.suspend(() =>
        reading === undefined && clock.monotonicTimeNanosUnsafe() - readAt < pause ? Effect.void : Effect.asVoid(read)
      )
    }
  })

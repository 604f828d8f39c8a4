import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hash,
  type KeyObject,
  randomBytes,
  timingSafeEqual
} from "node:crypto"
import { CryptoError, type CryptoErrorReason, InvalidInput, InvalidKey, NotSealed } from "./CryptoError.ts"

export * from "./Password.ts"

const failed = (reason: CryptoErrorReason): Result.Result<never, CryptoError> =>
  Result.fail(new CryptoError({ reason }))

/**
 * The bytes of a text: UTF-8, or of a text with a lone surrogate, which that cannot hold, others that are the UTF-8 of
 * none. So two texts are never one.
 */
const bytesOf = (text: string): Buffer =>
  text.isWellFormed() ? Buffer.from(text) : Buffer.concat([Buffer.of(0xff), Buffer.from(text, "utf16le")])

/**
 * A random token as base64url: what a caller must not guess.
 *
 * - `bytes`: of chance, 16 to 64; anything else is a defect. Default 32
 */
export const token = (bytes: number = 32): Effect.Effect<Redacted.Redacted<string>> =>
  Number.isInteger(bytes) && bytes >= 16 && bytes <= 64
    ? Effect.sync(() => Redacted.make(randomBytes(bytes).toString("base64url")))
    : Effect.die(new RangeError("a token has 16 to 64 bytes"))

/** Whether two secrets are one, in a time that tells nothing of either, nor of their lengths. */
export const equals = (one: Redacted.Redacted<string>, other: Redacted.Redacted<string>): boolean =>
  timingSafeEqual(
    hash("sha256", bytesOf(Redacted.value(one)), "buffer"),
    hash("sha256", bytesOf(Redacted.value(other)), "buffer")
  )

/**
 * A key for {@link hmac}. It does not print.
 *
 * - `secret`: 32 bytes of UTF-8 or more
 *
 * Fails with `InvalidKey` when it is shorter, or has a lone surrogate, which UTF-8 cannot hold.
 */
export const macKey = (secret: Redacted.Redacted<string>): Result.Result<KeyObject, CryptoError> => {
  const text = Redacted.value(secret)
  const bytes = Buffer.from(text)
  if (!text.isWellFormed()) return failed(new InvalidKey({ problem: "it is not well-formed" }))
  return bytes.length < 32
    ? failed(new InvalidKey({ problem: "it has fewer than 32 bytes" }))
    : Result.succeed(createSecretKey(bytes))
}

/**
 * The HMAC-SHA256 of a text in UTF-8, as base64url. Compare two of them with {@link equals}. A text with a lone surrogate
 * has one that no other text has.
 */
export const hmac = (key: KeyObject, text: string): string =>
  createHmac("sha256", key).update(bytesOf(text)).digest("base64url")

const TypeId = "~xdooria/utils/Crypto/KeyRing"

/** Keys for {@link seal} and {@link open}, made by {@link keyRing}. It does not print. */
export interface KeyRing {
  readonly [TypeId]: { readonly current: string; readonly keys: ReadonlyMap<string, KeyObject> }
}

/** 32 bytes as base64 or base64url, padded or not. */
const base64Key = /^[A-Za-z0-9+/_-]{43}=?$/

/**
 * A ring of keys for AES-256-GCM. To roll over: add the new key everywhere, make it the current one everywhere, and take
 * out the old one when nothing that it sealed is left.
 *
 * - `current`: the id of the key that seals
 * - `keys`: by id (1 to 64 letters, digits, `_` or `-`) 32 random bytes each as base64, such as {@link token} makes
 *
 * Fails with `InvalidKey` for a key or an id that is not so, and when `current` is not among them.
 */
export const keyRing = (options: {
  readonly current: string
  readonly keys: Readonly<Record<string, Redacted.Redacted<string>>>
}): Result.Result<KeyRing, CryptoError> => {
  const keys = new Map<string, KeyObject>()
  for (const [id, secret] of Object.entries(options.keys)) {
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(id)) return failed(new InvalidKey({ problem: "its id is no plain name" }))
    if (!base64Key.test(Redacted.value(secret))) {
      return failed(new InvalidKey({ problem: "it is not the base64 of 32 bytes" }))
    }
    keys.set(id, createSecretKey(Buffer.from(Redacted.value(secret), "base64")))
  }
  return keys.has(options.current)
    ? Result.succeed({ [TypeId]: { current: options.current, keys } })
    : failed(new InvalidKey({ problem: "the current one is missing" }))
}

const version = "1"
const nonceBytes = 12
const tagBytes = 16

/** What is authenticated beside the text: no sealed text is ever read as one of another version, key or purpose. */
const bound = (id: string, associated: string): Buffer => bytesOf(`${version}.${id}.${associated}`)

/**
 * Seals a text with the current key, so that it can be stored or handed out: `1.<key id>.<base64url>`.
 *
 * - `plain`: any well-formed text
 * - `associated`: any text; what the sealed one belongs to, such as `refresh:<family>`: it opens with the same one only.
 *   It is not in the sealed text
 *
 * Two seals of a text differ. A key may seal 2^32 texts: their nonces are random. Fails with `InvalidInput` when the
 * text has a lone surrogate, which UTF-8 cannot hold.
 */
export const seal = (
  ring: KeyRing,
  plain: Redacted.Redacted<string>,
  associated: string
): Effect.Effect<string, CryptoError> =>
  Effect.suspend(() => {
    const text = Redacted.value(plain)
    if (!text.isWellFormed()) {
      return Effect.fail(new CryptoError({ reason: new InvalidInput({ problem: "the text is not well-formed" }) }))
    }
    const { current, keys } = ring[TypeId]
    const nonce = randomBytes(nonceBytes)
    const cipher = createCipheriv("aes-256-gcm", keys.get(current)!, nonce)
    const sealed = cipher.setAAD(bound(current, associated)).update(text, "utf8")
    const last = cipher.final()
    const all = Buffer.concat([nonce, sealed, last, cipher.getAuthTag()])
    return Effect.succeed(`${version}.${current}.${all.toString("base64url")}`)
  })

/**
 * Opens what {@link seal} sealed with any key of the ring.
 *
 * Fails with `NotSealed` for anything else.
 */
export const open = (
  ring: KeyRing,
  sealed: string,
  associated: string
): Result.Result<Redacted.Redacted<string>, CryptoError> => {
  const parts = sealed.split(".", 4)
  const [prefix, id = "", data = ""] = parts
  const key = ring[TypeId].keys.get(id)
  const all = Buffer.from(data, "base64url")
  // Node's decoder is lenient: without the last test several texts would open as one. What is too short has no tag.
  const isSealed = parts.length === 3 && prefix === version && all.toString("base64url") === data
  if (!isSealed || key === undefined) return failed(new NotSealed())
  return Result.try({
    try: () => {
      const decipher = createDecipheriv("aes-256-gcm", key, all.subarray(0, nonceBytes), { authTagLength: tagBytes })
      decipher.setAAD(bound(id, associated)).setAuthTag(all.subarray(-tagBytes))
      const plain = decipher.update(all.subarray(nonceBytes, -tagBytes))
      return Redacted.make(Buffer.concat([plain, decipher.final()]).toString())
    },
    catch: () => new CryptoError({ reason: new NotSealed() })
  })
}

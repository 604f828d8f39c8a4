import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import { argon2, randomBytes, timingSafeEqual } from "node:crypto"
import { CryptoError, type CryptoErrorReason, InvalidHash, InvalidInput } from "./CryptoError.ts"

/** What a hash costs, as argon2id has it (RFC 9106). */
export interface PasswordCost {
  /** Memory of one hash, in KiB: 8 for each lane at least. */
  readonly memory: number
  /** Passes over the memory. */
  readonly passes: number
  /** Lanes, computed one after the other. */
  readonly parallelism: number
}

/** OWASP's choice of 19 MiB: about 50 ms of a core, and as much memory for each password that is being hashed. */
export const passwordCost: PasswordCost = { memory: 19_456, passes: 2, parallelism: 1 }

/** The costs that a stored hash may ask for: a row that was tampered with must not take all memory. */
const highest: PasswordCost = { memory: 65_536, passes: 10, parallelism: 4 }

/** The longest password, in characters. */
export const longestPassword = 256

/** How many hashes are computed at once. Two of libuv's four threads stay free for files and names of hosts. */
const atOnce = 2

const saltBytes = 16
const tagBytes = 32

interface Parsed extends PasswordCost {
  readonly salt: Buffer
  readonly tag: Buffer
}

const encoded = (bytes: Buffer): string => bytes.toString("base64").replace(/=+$/, "")

/** The text form of password hashes that most of the field reads (PHC). */
const written = ({ memory, parallelism, passes, salt, tag }: Parsed): string =>
  `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${encoded(salt)}$${encoded(tag)}`

const phc =
  /^\$argon2id\$v=19\$m=([1-9]\d{0,9}),t=([1-9]\d{0,9}),p=([1-9]\d{0,9})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/

const failed = (reason: CryptoErrorReason): Result.Result<never, CryptoError> =>
  Result.fail(new CryptoError({ reason }))

const inBounds = ({ memory, parallelism, passes }: PasswordCost): boolean =>
  memory >= 8 * parallelism &&
  memory <= highest.memory &&
  passes <= highest.passes &&
  parallelism <= highest.parallelism

const parsed = (hash: Redacted.Redacted<string>): Result.Result<Parsed, CryptoError> => {
  const [, m, t, p, salt = "", tag = ""] = phc.exec(Redacted.value(hash)) ?? []
  const cost = { memory: Number(m), passes: Number(t), parallelism: Number(p) }
  return m !== undefined && inBounds(cost)
    ? Result.succeed({ ...cost, salt: Buffer.from(salt, "base64"), tag: Buffer.from(tag, "base64") })
    : failed(new InvalidHash())
}

/**
 * A password as it is hashed: normalised by NFKC, as NIST SP 800-63B has it, so that what is typed on one keyboard is what is
 * typed on another. Nothing when none can be made of it.
 */
const normalised = (text: string): string | undefined => {
  // Of one character NFKC rarely makes fewer than an eighth: what is longer is not looked at.
  if (text.length > 8 * longestPassword || !text.isWellFormed()) return undefined
  const normal = text.normalize("NFKC")
  return normal !== "" && [...normal].length <= longestPassword ? normal : undefined
}

/** Whether {@link Passwords} take a text: 1 to 256 characters once it is normalised, none of them a lone surrogate. */
export const isPassword = (text: string): boolean => normalised(text) !== undefined

const bytesOf = (password: Redacted.Redacted<string>): Result.Result<Buffer, CryptoError> => {
  const normal = normalised(Redacted.value(password))
  return normal === undefined
    ? failed(new InvalidInput({ problem: `a password has 1 to ${longestPassword} characters` }))
    : Result.succeed(Buffer.from(normal))
}

/** Not to be interrupted: a hash that has begun holds its memory until it ends, whoever waits for it. */
const derived = (message: Buffer, cost: PasswordCost, nonce: Buffer, tagLength: number): Effect.Effect<Buffer> =>
  Effect.uninterruptible(
    Effect.callback<Buffer>((resume) => {
      const { memory, parallelism, passes } = cost
      // Its one error is that there is no memory: a defect, as everywhere.
      argon2("argon2id", { message, nonce, parallelism, tagLength, memory, passes }, (error, tag) =>
        resume(error === null ? Effect.succeed(tag) : Effect.die(error))
      )
    })
  )

/** Hashes passwords and looks whether one fits. */
export interface Passwords {
  /**
   * The hash of a password with a salt of its own: `$argon2id$v=19$m=..,t=..,p=..$salt$hash`, at most 128 characters.
   *
   * - `password`: 1 to 256 characters; how short one may be is the caller's to say
   *
   * Fails with `InvalidInput`.
   */
  readonly hash: (password: Redacted.Redacted<string>) => Effect.Effect<Redacted.Redacted<string>, CryptoError>
  /**
   * Whether a password is that of a hash.
   *
   * - `hash`: undefined where there is none, since the account is unknown: it is false then, and takes as long as for one
   *   of the present cost, so that time does not tell who has an account
   *
   * Fails with `InvalidInput` for a password that no hash was made of, and with `InvalidHash`.
   */
  readonly verify: (
    password: Redacted.Redacted<string>,
    hash: Redacted.Redacted<string> | undefined
  ) => Effect.Effect<boolean, CryptoError>
  /** Whether a hash should be made again, at the next login: it has another cost than those that are made now. */
  readonly needsRehash: (hash: Redacted.Redacted<string>) => boolean
}

/**
 * Passwords by argon2id, two at once: others wait, and one who is interrupted while waiting leaves. A storm of logins takes
 * time, not memory. One for a process.
 *
 * - `cost`: of the hashes that are made; those that are verified have their own. Up to 64 MiB, 10 passes and 4 lanes;
 *   more is a defect
 */
export const passwords = (cost: PasswordCost = passwordCost): Effect.Effect<Passwords> => {
  if (!inBounds(cost)) return Effect.die(new RangeError("a hash costs at most 64 MiB, 10 passes and 4 lanes"))
  return Effect.map(Semaphore.make(atOnce), (slots): Passwords => {
    const derive = (message: Buffer, of: PasswordCost, salt: Buffer, length: number) =>
      slots.withPermit(derived(message, of, salt, length))
    // No password has a hash of zeros.
    const nobody: Parsed = { ...cost, salt: Buffer.alloc(saltBytes), tag: Buffer.alloc(tagBytes) }
    return {
      hash: Effect.fnUntraced(function* (password) {
        const message = yield* Effect.fromResult(bytesOf(password))
        const salt = randomBytes(saltBytes)
        return Redacted.make(written({ ...cost, salt, tag: yield* derive(message, cost, salt, tagBytes) }))
      }),
      verify: Effect.fnUntraced(function* (password, hash) {
        const message = yield* Effect.fromResult(bytesOf(password))
        const stored = hash === undefined ? nobody : yield* Effect.fromResult(parsed(hash))
        const tag = yield* derive(message, stored, stored.salt, stored.tag.length)
        return timingSafeEqual(tag, stored.tag)
      }),
      needsRehash: (hash) =>
        Result.match(parsed(hash), {
          onFailure: () => true,
          onSuccess: ({ memory, parallelism, passes }) =>
            memory !== cost.memory || passes !== cost.passes || parallelism !== cost.parallelism
        })
    }
  })
}

// The compact form of a JWT (RFC 7515), read by the rules of RFC 8725: one text is one token, and nothing that a header says
// chooses a key or an algorithm.
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { createHmac, type KeyObject, timingSafeEqual, verify } from "node:crypto"
import { type AuthErrorReason, AlgorithmNotAllowed, Malformed, Missing, TooLarge } from "../AuthError.ts"

/** The longest token that is looked at, in characters. Ours have about 400. */
const longest = 8192

/** The algorithms that there are keys for. */
export const algorithms = ["HS256", "EdDSA", "ES256", "RS256"] as const

/** See {@link algorithms}. */
export type Algorithm = (typeof algorithms)[number]

/** What a header may call a key. */
export const Kid = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9_-]{1,64}$/))

// What else is in a header, such as jku, x5u or jwk, is not looked at; crit is: it says that this would be wrong.
const decodeHeader = Schema.decodeUnknownResult(
  Schema.Struct({
    alg: Schema.String,
    typ: Schema.optionalKey(Schema.String),
    kid: Schema.optionalKey(Kid),
    crit: Schema.optionalKey(Schema.Never)
  })
)

/** A token that was taken apart. Nothing in it is known to be true. */
export interface Parts {
  readonly algorithm: Algorithm
  readonly kid: string | undefined
  readonly typ: string | undefined
  /** The claims, as text. */
  readonly payload: Buffer
  /** What the signature is of. */
  readonly signed: string
  readonly signature: Buffer
}

const malformed = (problem: string) => new Malformed({ problem })

/** Node passes over what is no base64url, a further dot too; a token that has several texts could not be known by its text. */
const bytesOf = (part: string): Buffer | undefined => {
  const bytes = Buffer.from(part, "base64url")
  return bytes.toString("base64url") === part ? bytes : undefined
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Reads JSON in UTF-8; undefined for anything else. */
export const readJson = (bytes: Uint8Array): unknown =>
  Result.getOrUndefined(Result.try((): unknown => JSON.parse(utf8.decode(bytes))))

const isAlgorithm = (name: string): name is Algorithm => (algorithms as ReadonlyArray<string>).includes(name)

/** Takes a token apart. Fails with `Missing`, `TooLarge`, `Malformed` or `AlgorithmNotAllowed`. */
export const parse = (text: string): Result.Result<Parts, AuthErrorReason> => {
  if (text === "") return Result.fail(new Missing())
  if (text.length > longest) return Result.fail(new TooLarge())
  const first = text.indexOf(".")
  const second = text.indexOf(".", first + 1)
  if (first < 0 || second < 0) return Result.fail(malformed("it has no three parts"))
  const head = bytesOf(text.slice(0, first))
  const payload = bytesOf(text.slice(first + 1, second))
  const signature = bytesOf(text.slice(second + 1))
  if (head === undefined || payload === undefined || signature === undefined) {
    return Result.fail(malformed("a part is not base64url"))
  }
  const header = decodeHeader(readJson(head))
  if (Result.isFailure(header)) return Result.fail(malformed("its header is not one of ours"))
  const { alg, kid, typ } = header.success
  if (!isAlgorithm(alg)) return Result.fail(new AlgorithmNotAllowed())
  return Result.succeed({ algorithm: alg, kid, typ, payload, signed: text.slice(0, second), signature })
}

/** A key that verifies, for one algorithm. */
export interface VerifyKey {
  readonly algorithm: Algorithm
  readonly key: KeyObject
}

// Signatures are verified on this thread: a hop to another and back costs more than HS256, and most tokens are remembered.
const verifiers: Readonly<Record<Algorithm, (signed: Buffer, key: KeyObject, signature: Buffer) => boolean>> = {
  HS256: (signed, key, signature) => {
    const expected = createHmac("sha256", key).update(signed).digest()
    return expected.length === signature.length && timingSafeEqual(expected, signature)
  },
  EdDSA: (signed, key, signature) => verify(null, signed, key, signature),
  ES256: (signed, key, signature) => verify("sha256", signed, { key, dsaEncoding: "ieee-p1363" }, signature),
  RS256: (signed, key, signature) => verify("sha256", signed, key, signature)
}

/** Whether a key signed a token. The algorithm is the one of the key. */
export const isSignedBy = ({ signature, signed }: Parts, { algorithm, key }: VerifyKey): boolean =>
  verifiers[algorithm](Buffer.from(signed), key, signature)

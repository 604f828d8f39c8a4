// The keys of a configuration. Each is for one algorithm, and known by one name in every service that has it.
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { calculateJwkThumbprint } from "jose"
import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  type JsonWebKey,
  type KeyObject
} from "node:crypto"
import { InvalidConfig, Rejected } from "../../config/ConfigError.ts"
import { readPem } from "../../utils/Tls.ts"
import type { AuthSettings } from "../Auth.ts"
import type { Algorithm, VerifyKey } from "./jwt.ts"

/** A key that signs: a secret, or the private half of a pair. */
export interface SigningKey {
  readonly kid: string
  readonly algorithm: Algorithm
  readonly key: KeyObject
}

/** The keys of a service. */
export interface Keys {
  /** None in a service that only verifies. */
  readonly signing: SigningKey | undefined
  readonly verifying: ReadonlyMap<string, VerifyKey>
  /** The public ones among those that verify. */
  readonly published: ReadonlyArray<PublicKey>
}

/** A secret as a key. Its name tells nothing of it, and is the same in every service. */
export const secretKey = (secret: Redacted.Redacted): SigningKey => {
  const key = createSecretKey(Buffer.from(Redacted.value(secret)))
  const kid = createHmac("sha256", key).update("xdooria/auth/kid").digest("base64url").slice(0, 22)
  return { kid, algorithm: "HS256", key }
}

/** The algorithm that a pair of keys is for; undefined when it is for none of ours. */
export const algorithmOf = ({ asymmetricKeyDetails, asymmetricKeyType }: KeyObject): Algorithm | undefined => {
  if (asymmetricKeyType === "ed25519") return "EdDSA"
  if (asymmetricKeyType === "ec" && asymmetricKeyDetails?.namedCurve === "prime256v1") return "ES256"
  if (asymmetricKeyType !== "rsa") return undefined
  const { modulusLength = 0, publicExponent = 0n } = asymmetricKeyDetails ?? {}
  // With an exponent of 1 each text is its own signature; Node takes such a key.
  return modulusLength >= 2048 && publicExponent >= 3n && publicExponent % 2n === 1n ? "RS256" : undefined
}

/** A key that verifies, and that others may read. */
export interface PublicKey extends VerifyKey {
  readonly kid: string
  readonly jwk: JsonWebKey
}

/** A public key under its name. */
export const publicKey = (key: KeyObject, algorithm: Algorithm, kid: string): PublicKey => ({
  kid,
  algorithm,
  key,
  jwk: { ...key.export({ format: "jwk" }), kid, alg: algorithm, use: "sig" }
})

/** A public key under the name that RFC 7638 makes of it, which is the same in every service. */
const named = (key: KeyObject, algorithm: Algorithm): Effect.Effect<PublicKey> =>
  Effect.map(
    Effect.promise(() => calculateJwkThumbprint(key.export({ format: "jwk" }))),
    (kid) => publicKey(key, algorithm, kid)
  )

const kinds = "Ed25519, P-256, or RSA from 2048 bits with an odd exponent from 3"

/** Reads a key from a file. The text is looked at, as Node makes a public key of a private one. */
const readKey = (path: string, name: string, half: "private" | "public") =>
  Effect.gen(function* () {
    const content = `a ${half} key (${kinds}), not encrypted`
    const wrong = (actual: string) =>
      new InvalidConfig({
        reason: new Rejected({ issues: [{ source: path, path: name, expected: `a PEM file with ${content}`, actual }] })
      })
    const pem = yield* readPem(path, name, content)
    if (pem.includes("ENCRYPTED")) return yield* wrong("an encrypted key")
    if (half === "public" && pem.includes("PRIVATE KEY")) return yield* wrong("a private key")
    const key = yield* Effect.try({
      try: () => (half === "private" ? createPrivateKey(pem) : createPublicKey(pem)),
      catch: (error) => wrong((error as NodeJS.ErrnoException).code ?? "an error")
    })
    const algorithm = algorithmOf(key)
    return algorithm === undefined ? yield* wrong("another kind of key") : { key, algorithm }
  })

/** Whether a configuration names any key of our own tokens. */
export const hasKeys = ({ jwksUrl, previousSecrets, secret, signingKeyFile, verifyKeyFiles }: AuthSettings): boolean =>
  Redacted.value(secret) !== "" ||
  previousSecrets.length > 0 ||
  signingKeyFile !== "" ||
  verifyKeyFiles.length > 0 ||
  jwksUrl !== ""

/** Reads the keys of a configuration, once. Fails when a file cannot be read, or holds no key that fits. */
export const load = (settings: AuthSettings): Effect.Effect<Keys, InvalidConfig> =>
  Effect.gen(function* () {
    const { previousSecrets, secret, signingKeyFile, verifyKeyFiles } = settings
    const own = Redacted.value(secret) === "" ? undefined : secretKey(secret)
    // The key that signs is among those that verify before a rollover and after.
    const published = new Map<string, PublicKey>()
    let pair: SigningKey | undefined
    if (signingKeyFile !== "") {
      const { algorithm, key } = yield* readKey(signingKeyFile, "auth.signing_key_file", "private")
      const half = yield* named(createPublicKey(key), algorithm)
      pair = { kid: half.kid, algorithm, key }
      published.set(half.kid, half)
    }
    for (const path of verifyKeyFiles) {
      const { algorithm, key } = yield* readKey(path, "auth.verify_key_files", "public")
      const one = yield* named(key, algorithm)
      published.set(one.kid, one)
    }
    const secrets = [...(own === undefined || pair !== undefined ? [] : [own]), ...previousSecrets.map(secretKey)]
    return {
      signing: pair ?? own,
      verifying: new Map([...secrets, ...published.values()].map((key) => [key.kid, key])),
      published: [...published.values()]
    }
  })

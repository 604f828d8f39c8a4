import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { randomBytes } from "node:crypto"

const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** A UUID of RFC 9562, versions 1 to 8, as lower-case text with its four hyphens. Neither nil nor max: they name nothing. */
export const Uuid = Schema.String.pipe(
  Schema.check(Schema.isPattern(pattern, { expected: "a UUID in lower case" })),
  Schema.brand("Uuid")
)

/** See the schema of the same name. */
export type Uuid = typeof Uuid.Type

/** A UUID from text in upper or lower case, as RFC 9562 has readers take it; written in lower case. */
export const FromString = Schema.String.pipe(Schema.decodeTo(Uuid, SchemaTransformation.toLowerCase()))

/** The UUID that a text in upper or lower case is; none when it is anything else, such as one in braces. */
export const parse: (text: string) => Option.Option<Uuid> = Schema.decodeOption(FromString)

// One for the process: what it gives is in one order.
const random = SecureRandom.make(randomBytes)

const branded = (text: string): Uuid => text as Uuid

/** A new UUID of 122 random bits from the system's secure source. */
export const v4: Effect.Effect<Uuid> = Effect.map(random.uuidV4(), branded)

/**
 * A new UUID that begins with the time of the Clock, in milliseconds: rows in the order of such ids are rows in the order
 * of their making.
 *
 * Each sorts after the one before, in this process: also within a millisecond, and when the clock was set back; the time
 * in it may then be ahead of the clock. It tells when it was made, and its successors are close by: 32 bits of each are
 * fresh. What must not be guessed is a {@link v4} or a token of Crypto.
 */
export const v7: Effect.Effect<Uuid> = Effect.map(random.uuidV7(), branded)

/** The time in a UUID of version 7; none for other versions. */
export const timestamp = (uuid: Uuid): Option.Option<DateTime.Utc> =>
  uuid[14] === "7" ? DateTime.make(Number.parseInt(uuid.slice(0, 8) + uuid.slice(9, 13), 16)) : Option.none()

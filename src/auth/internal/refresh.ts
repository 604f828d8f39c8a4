// Refresh tokens: `<player>.<family>.<secret>`, of which only a digest is stored. The secret of a successor is made of the
// used one and of a salt that is stored: who uses a token twice within the grace gets the same successor, and neither the
// store nor an old token alone tells it.
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { createHmac, hash, randomBytes } from "node:crypto"
import { type AuthErrorReason, Malformed, Missing, TooLarge } from "../AuthError.ts"
import { isName } from "./claims.ts"

/** A refresh token, taken apart. */
export interface RefreshToken {
  readonly playerId: string
  readonly family: string
  readonly secret: string
}

/** Longer than any token of ours, of either kind. */
const longest = 8_192

const form = /^(.{1,64})\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})$/

/** Whether a text can be the name of a login: as {@link first} makes them. */
export const isFamily = (text: string): boolean => /^[A-Za-z0-9_-]{22}$/.test(text)

/** Takes a text apart. Fails with `Missing`, `TooLarge` or `Malformed`. */
export const parse = (text: string): Result.Result<RefreshToken, AuthErrorReason> => {
  if (text === "") return Result.fail(new Missing())
  if (text.length > longest) return Result.fail(new TooLarge())
  const [, playerId, family, secret] = form.exec(text) ?? []
  return playerId === undefined || family === undefined || secret === undefined || !isName(playerId)
    ? Result.fail(new Malformed({ problem: "it is not a refresh token" }))
    : Result.succeed({ playerId, family, secret })
}

/** The text that the player holds. */
export const render = ({ family, playerId, secret }: RefreshToken): Redacted.Redacted =>
  Redacted.make(`${playerId}.${family}.${secret}`)

/** What is stored of a token. */
export const digestOf = (token: RefreshToken): string => hash("sha256", Redacted.value(render(token)), "base64url")

/** The first token of a new family. */
export const first = (playerId: string): RefreshToken => ({
  playerId,
  family: randomBytes(16).toString("base64url"),
  secret: randomBytes(32).toString("base64url")
})

/** A salt of its own for each successor. */
export const newSalt = (): string => randomBytes(32).toString("base64url")

/** The one that comes after a token. */
export const successor = (token: RefreshToken, salt: string): RefreshToken => ({
  ...token,
  secret: createHmac("sha256", token.secret).update(salt).digest("base64url")
})

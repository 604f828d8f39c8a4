// The work that every server of the comparisons does, whatever it is built with.
import { GameServiceService, type GetPlayerResponse } from "../../../src/gen/game.ts"

const { getPlayer } = GameServiceService

/** The service of the comparisons: a call, and a stream of the same messages. */
export const Methods = {
  getPlayer,
  watch: { ...getPlayer, path: "/game.StreamService/Watch", responseStream: true }
} as const

/** What a request holds: with its frame about 100 bytes. */
export const playerId = "p".repeat(90)

/** What a response holds. */
export const response = (id: string): GetPlayerResponse => ({ player: { id, name: "Ann", level: 7, exp: 300n } })

/** As long as a JWT. */
export const token = `${"h".repeat(36)}.${"c".repeat(120)}.${"s".repeat(43)}`

export const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

/** How many messages a stream has. */
export const streamLength = 1_000

interface Verified {
  readonly playerId: string
  readonly roles: ReadonlyArray<string>
  readonly tokenId: string
  readonly expiresAt: number
}

const verified = new Map<string, Verified>([
  [token, { playerId: "p1", roles: ["player"], tokenId: "t1", expiresAt: Date.now() + 3_600_000 }]
])

/** A verifier that knows the token: the cost of the first sight of one is the same for all, and left out. */
export const verify = (token: string): Verified | undefined => {
  const known = verified.get(token)
  return known === undefined || known.expiresAt <= Date.now() ? undefined : known
}

/** Takes a line of the log and forgets it. */
export const nullSink = { write: (_line: string): void => {} }

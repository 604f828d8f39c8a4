// A session in the list of its gateway: `player device id`, where id is the epoch, or for a session of a Go service `~`
// and a digest of its token. None of them has a blank.
import type { Kick, SessionData } from "../Session.ts"
import { type Claimed, digestOf } from "./judge.ts"

/** The member that stands for a session. */
export const memberOf = (session: SessionData): string =>
  `${session.playerId} ${session.device} ${session.epoch === 0 ? `~${digestOf(session.token)}` : session.epoch}`

/** The member of a session that a gateway is told about, where its epoch says which. */
export const memberOfKick = ({ device, epoch, playerId }: Kick): string => `${playerId} ${device} ${epoch}`

/** What a member claims. */
export interface Member {
  readonly playerId: string
  readonly device: string
  readonly epoch: number
  readonly claim: Claimed
}

/** Reads a member; undefined for what this room has not written. */
export const parse = (member: string, gateway: string): Member | undefined => {
  const match = /^(\S+) (\S*) (?:(\d+)|~([0-9a-f]{32}))$/.exec(member)
  if (match === null) return undefined
  const [, playerId, device, epoch, digest] = match
  const claim = digest === undefined ? { epoch: Number(epoch), gateway } : { epoch: 0, digest, gateway }
  return { playerId: playerId!, device: device!, epoch: claim.epoch, claim }
}

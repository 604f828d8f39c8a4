// A session in the list of its gateway: `player device id`, where id is the epoch, or for a session of a Go service `~`
// and a digest of its token. None of them has a blank.
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Kick, type SessionData } from "../Session.ts"
import { checkDevice, type Player, playerOf } from "./input.ts"
import { type Claimed, digestOf } from "./judge.ts"

/** What is published for a gateway; of a session without an epoch also the digest of its token, which says which it is. */
export const Notice = Schema.Struct({ ...Kick.fields, of: Schema.optionalKey(Schema.String) })

/** See {@link Notice}. */
export type Notice = typeof Notice.Type

/** The member that stands for a session. */
export const memberOf = (session: SessionData): string =>
  `${session.playerId} ${session.device} ${session.epoch === 0 ? `~${digestOf(session.token)}` : session.epoch}`

/** The member of a session that a gateway is told about. */
export const memberOfNotice = ({ device, epoch, of = "", playerId }: Notice): string =>
  `${playerId} ${device} ${epoch === 0 ? `~${of}` : epoch}`

/** Whether a member is of a Go service's session, which may come back with the same token. */
export const mayComeBack = (member: string): boolean => member.includes(" ~")

/** What a member claims. */
export interface Member {
  readonly player: Player
  readonly device: string
  readonly epoch: number
  readonly claim: Claimed
}

/** Reads a member; undefined for what this room has not written. */
export const parse = (member: string, gateway: string): Member | undefined => {
  const match = /^(\S+) (\S*) (?:(\d+)|~([0-9a-f]{32}))$/.exec(member)
  if (match === null) return undefined
  const [, playerId, device, epoch, digest] = match
  const player = Result.flatMap(checkDevice(device!), () => playerOf(playerId!))
  if (Result.isFailure(player)) return undefined
  const claim = digest === undefined ? { epoch: Number(epoch), gateway } : { epoch: 0, digest, gateway }
  return { player: player.success, device: device!, epoch: claim.epoch, claim }
}

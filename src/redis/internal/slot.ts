import * as Channel from "../Channel.ts"
import type * as Command from "../Command.ts"
import * as Key from "../Key.ts"

/** How many slots a cluster has. */
export const slotCount = 16_384

/** CRC-16/XMODEM of each byte, as the cluster uses it. */
const table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021
  return crc & 0xffff
})

/** What of a key decides its slot: what stands between the first `{` and the next `}`, if there is something. */
const tagOf = (key: string): string => {
  const open = key.indexOf("{")
  const close = open === -1 ? -1 : key.indexOf("}", open + 1)
  return close > open + 1 ? key.slice(open + 1, close) : key
}

/** Whether a part of a key in braces decides its slot. */
export const hasTag = (key: string): boolean => tagOf(key) !== key

/** The slot of a key or a sharded channel in a cluster, 0 to 16383. */
export const slotOf = (key: string): number => {
  let crc = 0
  for (const byte of Buffer.from(tagOf(key))) crc = ((crc << 8) ^ table[((crc >> 8) ^ byte) & 0xff]!) & 0xffff
  return crc % slotCount
}

/** What decides the slot of an operation: the name that its keys share one with. */
export interface Place {
  readonly tag: string
}

const keyOf = (argument: Command.Argument): Key.Any | undefined => {
  if (typeof argument !== "object") return undefined
  if (Key.isKey(argument)) return argument
  return Channel.isChannel(argument) && argument.isSharded ? argument.key : undefined
}

/** Where operations run together; undefined without keys and sharded channels, "cross" when they are of several slots. */
export const placeOf = (commands: ReadonlyArray<Command.Any>, prefix: string): Place | undefined | "cross" => {
  let owner: string | undefined
  for (const { args } of commands) {
    for (const argument of args) {
      const key = keyOf(argument)
      if (key === undefined || key.owner === owner) continue
      if (owner !== undefined && slotOf(prefix + owner) !== slotOf(prefix + key.owner)) return "cross"
      owner = key.owner
    }
  }
  return owner === undefined ? undefined : { tag: prefix + owner }
}

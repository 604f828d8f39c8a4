import { BlockList, isIP, isIPv6 } from "node:net"
import type { Peer } from "../Call.ts"
import type { ServerCall } from "./transport.ts"

/** The metadata in which a server that passes calls on names who called it. */
export const forwardedFor = "x-forwarded-for"

const family = (address: string): "ipv4" | "ipv6" => (isIPv6(address) ? "ipv6" : "ipv4")

/** Whether it names addresses: one, or a network as `10.0.0.0/8`. */
export const isNetwork = (text: string): boolean => {
  const [address = "", bits, ...rest] = text.split("/")
  const version = isIP(address)
  if (version === 0 || rest.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
}

/**
 * Tells who is at the other end of a call: the peer itself, or the one that a trusted peer passes the call on for.
 *
 * - `trusted`: addresses and networks whose `x-forwarded-for` is believed
 */
export const make = (trusted: ReadonlyArray<string>): ((call: ServerCall) => Peer) => {
  if (trusted.length === 0) return ({ peer }) => peer
  const proxies = new BlockList()
  for (const text of trusted) {
    const [address = "", bits] = text.split("/")
    if (bits === undefined) proxies.addAddress(address, family(address))
    else proxies.addSubnet(address, Number(bits), family(address))
  }
  return ({ metadata, peer }) => {
    const value = metadata.get(forwardedFor)[0]
    if (typeof value !== "string" || !proxies.check(peer.address, family(peer.address))) return peer
    // The last one is what the trusted peer wrote; what stands before it, anybody may have.
    const address = value.slice(value.lastIndexOf(",") + 1).trim()
    return isIP(address) === 0 ? peer : { address }
  }
}

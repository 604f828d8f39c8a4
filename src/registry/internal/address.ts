import { BlockList, isIPv4, isIPv6 } from "node:net"
import { networkInterfaces } from "node:os"

const wildcards = ["0.0.0.0", "[::]", "::", ""]

const split = (address: string): readonly [host: string, port: string] => {
  const end = address.lastIndexOf(":")
  return [address.slice(0, end), address.slice(end + 1)]
}

/** The first address of this machine that another one can reach, the loopback address when it has none. */
const reachable = (): string =>
  Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ family, internal }) => family === "IPv4" && !internal)?.address ?? "127.0.0.1"

/**
 * Where others reach a server.
 *
 * - `bound`: where it listens, `host:port`
 * - `advertise`: what the configuration says: nothing, a host, or `host:port`
 */
export const advertised = (bound: string, advertise: string): string => {
  if (/:\d+$/.test(advertise) && !advertise.endsWith("]")) return advertise
  const [host, port] = split(bound)
  if (advertise !== "") return `${advertise}:${port}`
  return `${wildcards.includes(host) ? reachable() : host}:${port}`
}

/** What a socket is bound to for all interfaces; as no text, since it has many spellings. */
const unspecified = new BlockList()
unspecified.addAddress("0.0.0.0", "ipv4")
unspecified.addAddress("::", "ipv6")

/** How long the name of a host may be, as in DNS. */
const mostHost = 253

const isHost = (host: string): boolean => {
  const inner = /^\[([\da-f:.]+)\]$/i.exec(host)?.[1]
  if (inner !== undefined) return isIPv6(inner) && !unspecified.check(inner, "ipv6")
  if (isIPv4(host)) return !unspecified.check(host, "ipv4")
  const labels = host.split(".")
  // What ends as a number is an address to resolvers, in spellings of their own: `0`, `127.1`, `0x7f000001`.
  const isNumber = /^(?:\d+|0x[\da-f]*)$/i.test(labels.at(-1)!)
  return host.length <= mostHost && !isNumber && labels.every((label) => /^[a-z\d-]{1,63}$/i.test(label))
}

/**
 * Whether others can dial an address: `host:port`, of a machine and not of all its interfaces. The host is a name of
 * letters, digits, `-` and `.`, an IPv4 address, or an IPv6 address in brackets.
 */
export const isDialable = (address: unknown): address is string => {
  if (typeof address !== "string") return false
  const [host, port] = split(address)
  return /^[1-9]\d{0,4}$/.test(port) && Number(port) <= 65_535 && isHost(host)
}

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

/** Whether others can dial an address: it names a machine, not all of its interfaces. */
export const isDialable = (address: string): boolean => !wildcards.includes(split(address)[0])

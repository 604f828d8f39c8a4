/** The host and the port of an address, which may be `[::1]:6379`. */
export const hostAndPort = (address: string): { readonly host: string; readonly port: number } => {
  const colon = address.lastIndexOf(":")
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, "$1"), port: Number(address.slice(colon + 1)) }
}

/** The address of a host and a port. */
export const addressOf = (host: string, port: number): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`

/** Whether a server can listen there. */
export const isPort = (port: number): boolean => Number.isInteger(port) && port > 0 && port < 65_536

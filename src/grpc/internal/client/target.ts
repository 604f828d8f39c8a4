import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { formatAddress, isLoopback } from "../address.ts"
import type { ClientTransport } from "../transport.ts"

/** An instance with the name that it goes by. */
export interface Located {
  readonly address: string
  readonly authority: string
}

/** One address of a target. A unix socket has a path and no port. */
interface Address {
  readonly host: string
  readonly port: string
  readonly text: string
}

const scheme = /^(?:(?:dns|ipv4|ipv6):(?:\/\/\/)?)/
const hostAndPort = /^(?:\[([\da-f:.]+)\]|([\w.-]+)):(\d{1,5})$/i

const parseAddress = (text: string): Address | undefined => {
  const match = hostAndPort.exec(text)
  if (match === null || Number(match[3]) > 65_535) return undefined
  return { host: match[1] ?? match[2]!, port: match[3]!, text }
}

/**
 * The addresses of a target such as `game:50051`, `dns:///game:50051`, `ipv4:127.0.0.1:1,127.0.0.1:2` or `unix:/tmp/x`;
 * nothing when it is none.
 */
export const parse = (target: string): ReadonlyArray<Address> | undefined => {
  if (target.startsWith("unix:")) return [{ host: "", port: "", text: target }]
  const addresses = target.replace(scheme, "").split(",").map(parseAddress)
  return addresses.every((address) => address !== undefined) ? addresses : undefined
}

/** Whether an address is this machine, so that plain text to it meets nobody. */
export const isLocal = (address: string): boolean =>
  parse(address)?.every(({ host }) => host === "" || isLoopback(host)) === true

const isName = ({ host }: Address): boolean => host !== "" && !/^[\d.]+$|:/.test(host)

/** How long the addresses of a name hold, and how soon one is asked for again that has none. */
const [holds, again] = [Duration.seconds(10), Duration.seconds(1)]

type Lookup = ClientTransport["lookup"]

const locate = (address: Address, lookup: Lookup): Effect.Effect<ReadonlyArray<Located> | undefined> =>
  Effect.map(lookup(address.host), (found) =>
    found?.map((host) => ({ address: formatAddress(host, address.port), authority: address.text }))
  )

/**
 * The instances behind addresses. A name stands for all its addresses, looked up again now and then: grpc-js would keep
 * them inside of one connection, where no balancing, no ejection and no retry tells them apart. A name that is lost
 * keeps the addresses that it had.
 */
export const resolve = (addresses: ReadonlyArray<Address>, lookup: Lookup): Stream.Stream<ReadonlyArray<Located>> => {
  const known = addresses.map((address) =>
    isName(address) ? [] : [{ address: address.text, authority: address.text }]
  )
  if (!addresses.some(isName)) return Stream.concat(Stream.succeed(known.flat()), Stream.never)
  const look = Effect.map(
    Effect.forEach(addresses, (address) => (isName(address) ? locate(address, lookup) : Effect.undefined), {
      concurrency: "unbounded"
    }),
    (found) => {
      found.forEach((located, i) => {
        if (located !== undefined) known[i] = [...located]
      })
      return known.flat()
    }
  )
  return Stream.unfold(Duration.zero, (pause) =>
    Effect.gen(function* () {
      if (!Duration.isZero(pause)) yield* Effect.sleep(Duration.times(pause, yield* Random.nextBetween(0.8, 1.2)))
      const located = yield* look
      return [located, known.every((those) => those.length > 0) ? holds : again] as const
    })
  )
}

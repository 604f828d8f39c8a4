import * as Stream from "effect/Stream"

/**
 * An instance that can be called.
 *
 * - `address`: `host:port`
 * - `metadata`: what it says of itself. `keepalive: "true"` says that it lets clients ping every 5 s, as ours do;
 *   `weight` is how many shares of the calls it takes, a whole number from 1 to 100, 1 by default
 */
export interface Endpoint {
  readonly address: string
  readonly metadata: Readonly<Record<string, string>>
}

/**
 * The instances of a service, now and after every change. A client that shares one with others, by reference, shares
 * their connections too. An empty list is believed.
 */
export type Resolver = Stream.Stream<ReadonlyArray<Endpoint>>

/** A fixed list of instances. */
export const endpoints = (
  addresses: ReadonlyArray<string>,
  metadata: Readonly<Record<string, string>> = {}
): Resolver => Stream.concat(Stream.succeed(addresses.map((address) => ({ address, metadata }))), Stream.never)

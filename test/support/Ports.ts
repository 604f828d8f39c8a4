import * as Effect from "effect/Effect"
import { randomInt } from "node:crypto"
import * as Net from "node:net"

/** The lowest port that this project's tests take. */
export const lowest = 10_240

/** The highest: those from 32768 on are given to outgoing connections and are sometimes taken. */
export const highest = 32_767

/**
 * A port of 127.0.0.1 that is free now, from {@link lowest} to {@link highest}, drawn at random so that processes that
 * ask at the same time get different ones. Another process may take it before you do: where a server can bind to port
 * 0 by itself, let it.
 */
export const free: Effect.Effect<number> = Effect.callback<number>((resume) => {
  const attempt = () => {
    const server = Net.createServer()
    server.once("error", attempt)
    server.listen(randomInt(lowest, highest + 1), "127.0.0.1", () => {
      const { port } = server.address() as Net.AddressInfo
      server.close(() => resume(Effect.succeed(port)))
    })
  }
  attempt()
})

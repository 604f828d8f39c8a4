import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as dns from "node:dns/promises"

const lookupTime = Duration.seconds(5)

/** The IP addresses that the system knows for a name; nothing when it cannot tell. */
export const lookup = (host: string): Effect.Effect<ReadonlyArray<string> | undefined> =>
  Effect.tryPromise(() => dns.lookup(host, { all: true })).pipe(
    Effect.timeout(lookupTime),
    Effect.match({
      onFailure: () => undefined,
      onSuccess: (found) => found.map(({ address }) => address)
    })
  )

import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Leader, layerEmbedded } from "xdooria/registry"

// Runs in every process, and works in one of them at a time. When the leadership is lost the work is interrupted, before
// another can lead, and the process stands for election again.
const season = (name: string) =>
  Leader.lead("season-end", { id: name })(({ token }) =>
    // The token rises with every leader: a database can refuse one that is no more, see Fence of room lock.
    Console.log(`${name} pays out the season`).pipe(Effect.andThen(Effect.sleep("20 millis")), Effect.as(token))
  )

const program = Effect.gen(function* () {
  const leader = yield* Leader
  yield* leader.observe("season-end").pipe(
    Stream.runForEach((leading) =>
      Option.isSome(leading) ? Console.log(`leads: ${leading.value.id}`) : Console.log("nobody leads")
    ),
    Effect.forkScoped
  )
  const tokens = yield* Effect.all([season("one"), season("two"), season("three")], { concurrency: "unbounded" })
  yield* Console.log(`each token is higher: ${tokens.every((token, index) => token > (tokens[index - 1] ?? 0n))}`)

  // Or by hand: a leadership lasts as long as its scope.
  const term = Effect.flatMap(leader.elect("season-end"), (leadership) =>
    leadership.whileLeader(Effect.repeat(Effect.void, Schedule.recurs(3)))
  )
  yield* Effect.scoped(term)
})

// A service has RegistryLive here, and competes with all processes.
await Effect.runPromise(Effect.provide(Effect.scoped(program), layerEmbedded()))

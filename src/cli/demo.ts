import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import { Address } from "../config/Config.ts"
import * as Grpc from "../grpc/Grpc.ts"
import { GrpcClientLive } from "../grpc/GrpcClientLive.ts"
import { GatewayApi } from "../services/gateway/api.ts"
import * as Uuid from "../utils/Uuid.ts"
import * as Player from "./demo/Player.ts"
import { reconcile } from "./demo/reconcile.ts"
import { lineOf, rowsOf, summaryOf, tableOf } from "./demo/show.ts"
import { Tally } from "./demo/Tally.ts"
import { devAddress } from "./flags.ts"

/** No gateway answers, so nobody can play. */
class NoGateway extends Schema.TaggedError<NoGateway>("xdooria/cli/NoGateway")("NoGateway", {
  addr: Schema.String
}) {
  override get message(): string {
    return `No gateway answers at ${this.addr}. Does one run there? npm start runs one; --addr names others`
  }
}

/** What the services hold is not what they said. */
class Unreconciled extends Schema.TaggedError<Unreconciled>("xdooria/cli/Unreconciled")("Unreconciled", {
  count: Schema.Int
}) {
  override get message(): string {
    return `${this.count} differences between what the services said and what they hold`
  }
}

const whole = (name: string, most: number) =>
  Flag.Int(name).pipe(Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: most }))))

const options = {
  players: whole("players", 5_000).pipe(Flag.withDescription("How many play, 1 to 5000"), Flag.withDefault(50)),
  seconds: whole("seconds", 86_400).pipe(
    Flag.withDescription("How long they play once all are in, 1 to 86400"),
    Flag.withDefault(30)
  ),
  addr: Flag.String("addr").pipe(
    Flag.withDescription(`The gateways, host:port, separated by commas; ${devAddress} when not given`),
    Flag.withSchema(Schema.String.check(Schema.makeFilter((text) => text.split(",").every(Schema.is(Address))))),
    Flag.withDefault(devAddress)
  )
}

/** What the shop sells that players buy. */
const items = ["potion", "scroll", "sword"]

/** How many players join at once: each costs the auth service the hash of a password. */
const joining = 4

/** How many players are asked for at once in the end. */
const asking = 16

const ask = Effect.fnUntraced(function* (addresses: ReadonlyArray<string>) {
  const gateway = yield* Grpc.client(GatewayApi, { target: Grpc.endpoints(addresses) })
  yield* gateway.healthCheck({}, { waitForReady: true, deadline: "5 seconds" })
})

/** Tells how many are in, once in a second. */
const showJoining = (count: number, joined: () => number) =>
  Effect.forever(
    Effect.delay(
      Effect.suspend(() => Console.log(`${joined()} of ${count} players have joined`)),
      "1 second"
    )
  )

/** Tells how it goes, once in a second: in a terminal as a table in one place, elsewhere as a line each. */
const show = Effect.fnUntraced(function* (tally: Tally, players: ReadonlyArray<Player.Player>, seconds: number) {
  const isTerminal = yield* (yield* Stdio.Stdio).stdoutIsTerminal
  const { call, game } = players[0]!.account
  let height = 0
  for (let passed = 1; passed <= seconds; passed++) {
    yield* Effect.sleep("1 second")
    const rows = rowsOf(tally, passed, seconds)
    if (!isTerminal) {
      yield* Console.log(lineOf(rows))
      continue
    }
    const top = yield* call((options) => game.getTop({ board: "arena", limit: 5 }, options)).pipe(
      Effect.map(({ standings }) => standings),
      Effect.timeoutOrElse({ duration: "200 millis", orElse: () => Effect.succeed([]) }),
      Effect.orElseSucceed(() => [])
    )
    const table = tableOf(rows, top)
    yield* Console.log(`${height === 0 ? "" : `\u001b[${height}A`}${table}\u001b[J`.trimEnd())
    height = table.split("\n").length - 1
  }
})

/** `xdooria demo`: plays a game against running services, and then holds them to what they said. */
export const demo = Command.make(
  "demo",
  options,
  Effect.fnUntraced(
    function* ({ addr, players: count, seconds }) {
      const addresses = addr.split(",")
      yield* Effect.mapError(ask(addresses), () => new NoGateway({ addr }))
      const tally = new Tally()
      const run = (yield* Uuid.v4).slice(0, 8)
      const join = Effect.fnUntraced(function* (i: number) {
        const player = yield* Player.make({ name: `demo-${run}-${i + 1}`, addresses, items, tally })
        tally.players++
        return player
      })
      yield* Console.log(`${count} players join at ${addr}`)
      const players = yield* Effect.forEach(
        Array.from({ length: count }, (_, i) => i),
        join,
        { concurrency: joining }
      ).pipe(Effect.raceFirst(showJoining(count, () => tally.players)))
      const playing = yield* Effect.forEach(players, ({ play }) => Effect.forkScoped(play))
      yield* show(tally, players, seconds)
      yield* Fiber.interruptAll(playing)
      const faults = (yield* Effect.forEach(players, reconcile, { concurrency: asking })).flat()
      yield* Console.log(summaryOf(tally, faults))
      if (faults.length > 0) return yield* new Unreconciled({ count: faults.length })
    },
    Effect.scoped,
    Effect.provide(GrpcClientLive)
  )
).pipe(
  Command.withDescription("Play with many players through the gateway, and check in the end that nothing was lost"),
  Command.withExamples([
    { command: "xdooria demo", description: "50 players for 30 seconds against `npm start`" },
    {
      command: "xdooria demo --players 200 --seconds 120 --addr 10.0.0.1:50051,10.0.0.2:50051",
      description: "At two gateways: stop one meanwhile"
    }
  ])
)

// `xdooria demo` against the fleet while its instances are rolled, killed and frozen, and while etcd is away: what it says
// of itself at its end is what counts.
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as Fault from "../faults/Fault.ts"
import * as Servers from "../support/Servers.ts"
import * as Fleet from "./Fleet.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))

interface Demo {
  readonly code: number | null
  readonly output: string
}

/** Plays until it ends by itself. `isOn`: done when all players are in. */
const play = (
  addresses: ReadonlyArray<string>,
  { players, seconds }: Params,
  isOn: Deferred.Deferred<void>
): Effect.Effect<Demo> =>
  Effect.callback<Demo>((resume) => {
    const args = ["demo", "--players", `${players}`, "--seconds", `${seconds}`, "--addr", addresses.join(",")]
    const child = spawn(process.execPath, ["src/main.ts", ...args], { cwd: root })
    let output = ""
    const keep = (bytes: Buffer) => {
      output += String(bytes)
      if (output.includes("second 1 of")) Deferred.doneUnsafe(isOn, Effect.void)
    }
    child.stdout.on("data", keep)
    child.stderr.on("data", keep)
    child.once("close", (code) => resume(Effect.succeed({ code, output })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

const numberIn = ({ output }: Demo, pattern: RegExp): number =>
  Number(pattern.exec(output)?.[1]?.replaceAll(",", "") ?? Number.NaN)

interface Params {
  readonly services: ReadonlyArray<Fleet.ServiceName>
  readonly players: number
  /** After the players have joined. */
  readonly seconds: number
  /** Between two things that happen, and how long one lasts that has an end. */
  readonly millis: number
}

const scaled: Params = { services: ["auth", "game", "game", "gateway", "gateway"], players: 4, seconds: 4, millis: 500 }

const full: Params = {
  services: ["auth", "game", "game", "game", "gateway", "gateway"],
  players: 200,
  seconds: 60,
  millis: 12_000
}

/** Plays while something happens, and gives what the demo says at its end. */
const during = (params: Params, happen: (fleet: Fleet.Fleet) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    const address = Servers.servers.postgres
    if (Servers.isMissing(address)) return yield* Effect.die(new Error(address.missing))
    const fleet = yield* Fleet.start(address, params.services)
    const gateways = Fleet.of(fleet, "gateway").map(({ address }) => address)
    const isOn = yield* Deferred.make<void>()
    const playing = yield* Effect.forkChild(play(gateways, params, isOn))
    // One that ends before says why.
    yield* Effect.raceFirst(Deferred.await(isOn), Fiber.await(playing))
    yield* happen(fleet)
    const demo = yield* Fiber.join(playing)
    return {
      acked: numberIn(demo, /([\d,]+) acknowledged changes/),
      lost: 0,
      duplicated: 0,
      unknown: 0,
      maxOutageMs: 0,
      recoverMs: 0,
      output: demo.output.slice(-2_000),
      extra: {
        exit: demo.code ?? -1,
        isClean: /reconciliation: clean/.test(demo.output) ? 1 : 0,
        longestAwayMs: 1_000 * numberIn(demo, /longest time without a connection: ([\d.]+) s/)
      }
    }
  })

interface Measured extends Fault.Measured {
  readonly output: string
  readonly extra: Readonly<Record<string, number>>
}

const complaintsOf = ({ extra, output }: Measured, awayMillis: number): ReadonlyArray<string> => [
  ...(extra["exit"] === 0 && extra["isClean"] === 1 ? [] : [`the demo ended with ${extra["exit"]}: ${output}`]),
  ...(extra["longestAwayMs"]! <= awayMillis ? [] : [`a player was away for ${extra["longestAwayMs"]} ms`])
]

const servers = ["postgres", "redis", "etcd"] as const

const each = (fleet: Fleet.Fleet) => [Fleet.of(fleet, "game")[0]!, Fleet.of(fleet, "gateway")[0]!]

const rolledAndKilled = Fault.scenario({
  id: "DEMO/kill",
  room: "fleet",
  title: "a game and a gateway are rolled, then killed, under playing players",
  servers,
  scaled,
  full,
  run: (params) =>
    during(params, (fleet) =>
      Effect.gen(function* () {
        for (const one of each(fleet)) {
          yield* Effect.andThen(one.stop, one.start)
          yield* Effect.sleep(params.millis)
        }
        for (const one of each(fleet)) {
          yield* Effect.andThen(one.kill, one.start)
          yield* Effect.sleep(params.millis)
        }
      })
    ),
  judge: (measured) => complaintsOf(measured, 2_000)
})

const frozen = Fault.scenario({
  id: "DEMO/freeze",
  room: "fleet",
  title: "a game, then a gateway is frozen under playing players",
  servers,
  scaled,
  full,
  run: (params) =>
    during(params, (fleet) =>
      Effect.forEach(
        each(fleet),
        (one) =>
          Effect.acquireUseRelease(
            one.freeze,
            () => Effect.sleep(params.millis),
            () => one.thaw
          ),
        { discard: true }
      )
    ),
  judge: (measured) => complaintsOf(measured, 9_000)
})

const etcdAway = Fault.scenario({
  id: "DEMO/etcd",
  room: "fleet",
  title: "etcd is away under playing players",
  servers,
  scaled,
  full: { ...full, seconds: 90, millis: 60_000 },
  run: (params) =>
    during(params, (fleet) =>
      Effect.gen(function* () {
        yield* fleet.etcd.kill()
        yield* Effect.sleep(params.millis)
        yield* Effect.orDie(fleet.etcd.restart)
      })
    ),
  judge: (measured) => complaintsOf(measured, 2_000)
})

export default [rolledAndKilled, frozen, etcdAway]

// What room session promises while the link to Redis fails: npm run faults -- F01-session --seed 1
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import type { SessionData } from "xdooria/session"
import { makeLive } from "xdooria/session/live"
import * as Fault from "../faults/Fault.ts"
import { client, freshPrefix, single } from "../redis/Backends.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import { isMissing, servers } from "../support/Servers.ts"
import { listen, loginOf, standing } from "./SessionContract.ts"

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const realServer = Effect.suspend(() => {
  const server = servers.redis
  return isMissing(server) ? Effect.die(new Error(server.missing)) : Effect.succeed(server)
})

/** A login as its caller saw it. */
interface Attempt {
  readonly session: Omit<SessionData, "epoch">
  /** Undefined while it is not known. */
  readonly epoch: number | undefined
  readonly outcome: "acked" | "unknown" | "failed"
}

const lostReplies = Fault.scenario({
  id: "F01-session",
  room: "session",
  title: "players log in again and again while replies are lost and connections are cut",
  servers: ["redis"],
  scaled: { players: 20, rounds: 4 },
  full: { players: 50, rounds: 20 },
  run: ({ players, rounds }, seed) =>
    Effect.gen(function* () {
      const server = yield* realServer
      const proxy = yield* FaultProxy.make({ ...server, seed })
      const keyPrefix = freshPrefix()
      const open = (address: { readonly host: string; readonly port: number }) =>
        Effect.flatMap(client(single(address), { keyPrefix }), (redis) => Effect.provide(makeLive(), redis))
      const faulty = yield* open({ host: "127.0.0.1", port: proxy.port })
      const direct = yield* open(server)
      // The gateway hears through the faulty link too.
      const heard = yield* listen(faulty, "gw-1")
      const attempts = Array.from({ length: players }, (): Array<Attempt> => [])

      let isOver = false
      const once = (player: number) =>
        Effect.gen(function* () {
          const login = loginOf(`p${player}`, "gw-1", { text: `token ${attempts[player]!.length}` })
          const session = { ...login, device: "", loginTime: undefined }
          const attempt = yield* Effect.match(faulty.login(login), {
            onSuccess: ({ epoch }): Attempt => ({ session, epoch, outcome: "acked" }),
            onFailure: ({ isSafeToRetry }): Attempt => ({
              session,
              epoch: undefined,
              outcome: isSafeToRetry ? "failed" : "unknown"
            })
          })
          attempts[player]!.push(attempt)
          yield* Effect.sleep(5 + 20 * (yield* Random.next))
        })
      const load = yield* Effect.forkScoped(
        Effect.forEach(attempts, (_, player) => Effect.repeat(once(player), { until: () => isOver }), {
          concurrency: "unbounded",
          discard: true
        })
      )
      for (let round = 0; round < rounds; round++) {
        yield* Effect.sleep(100 + 100 * (yield* Random.next))
        yield* proxy.dropReplies
        yield* Effect.sleep("150 millis")
        yield* proxy.heal
      }
      yield* Effect.sleep("300 millis")
      isOver = true
      yield* Fiber.join(load)

      const all = attempts.flat()
      const count = (outcome: Attempt["outcome"]) => all.filter((one) => one.outcome === outcome).length
      let [lost, phantom, several] = [0, 0, 0]
      const replaced: Array<string> = []
      for (const own of attempts) {
        const verdicts = yield* Effect.forEach(own, ({ session }) => standing(direct, { ...session, epoch: 0 }))
        const valid = own.flatMap((_, index) => (verdicts[index] === "valid" ? [index] : []))
        const lastAcked = own.findLastIndex(({ outcome }) => outcome === "acked")
        if (valid.length !== 1) several++
        if ((valid[0] ?? -1) < lastAcked) lost++
        if (valid.some((index) => own[index]!.outcome === "failed")) phantom++
        const ended = own.filter(({ epoch }, index) => epoch !== undefined && !valid.includes(index))
        replaced.push(...ended.map(({ epoch, session }) => `${session.playerId} ${epoch}`))
      }
      // Nobody is left who thinks that a session goes on which does not.
      const untold = Effect.map(heard.all, (kicks) => {
        const told = new Set(kicks.map(({ epoch, playerId }) => `${playerId} ${epoch}`))
        return replaced.filter((session) => !told.has(session)).length
      })
      const left = yield* Effect.repeat(untold, {
        until: (number) => number === 0,
        schedule: Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(100)])
      })
      return {
        acked: count("acked"),
        unknown: count("unknown"),
        lost,
        phantom,
        duplicated: 0,
        maxOutageMs: 0,
        recoverMs: 0,
        extra: { failed: count("failed"), several, untold: left }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ acked, extra, unknown }) => [
    ...(acked > 0 && unknown > 0 ? [] : [`${acked} acknowledged, ${unknown} unknown: nothing was met`]),
    ...(extra!["several"] === 0 ? [] : [`${extra!["several"]} players do not have exactly one session`]),
    ...(extra!["untold"] === 0 ? [] : [`a gateway was not told of ${extra!["untold"]} sessions within 2 s`])
  ]
})

export default [lostReplies]

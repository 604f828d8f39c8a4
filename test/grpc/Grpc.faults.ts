import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import { GrpcError } from "xdooria/grpc"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import * as Fault from "../faults/Fault.ts"
import * as History from "../support/History.ts"
import { handlers, live, player, start } from "./Game.ts"

const answer = { player: player("p1"), levelsGained: 0 }

/** How a handler can be wrong, by the first word of the request id. */
const defects: Record<string, () => unknown> = {
  throws: () => {
    throw new Error("thrown")
  },
  dies: () => Effect.die(new Error("died")),
  rejects: () => Promise.reject(new Error("rejected")),
  promises: () => Effect.promise(() => Promise.reject(new Error("rejected"))),
  twice: () =>
    Effect.callback((resume) => {
      resume(Effect.die(new Error("first")))
      resume(Effect.succeed(answer))
    }),
  never: () => Effect.never
}

const kinds = ["good", "good", "good", "good", ...Object.keys(defects)]

interface Seen {
  goodFailed: number
  withoutId: number
  unlogged: number
  unexpected: number
  slowestNever: number
}

const handlerDefects = Fault.scenario({
  id: "F48",
  room: "grpc",
  title: "handlers that throw, die, reject, answer twice or never",
  scaled: { calls: 400, concurrency: 32, maxDeadlineMillis: 200 },
  full: { calls: 20_000, concurrency: 64, maxDeadlineMillis: 1000 },
  run: ({ calls, concurrency, maxDeadlineMillis }, seed) =>
    Effect.gen(function* () {
      const history = yield* History.make
      const log = yield* LogRecorder
      const applied: Array<string> = []
      const gainExp = ({ requestId }: { readonly requestId: string }) => {
        const defect = defects[requestId.split(" ")[0]!]
        if (defect !== undefined) return defect()
        applied.push(requestId)
        return Effect.succeed(answer)
      }
      const game = yield* start(live({ maxDeadline: Duration.millis(maxDeadlineMillis) }), handlers({ gainExp }))
      const seen: Seen = { goodFailed: 0, withoutId: 0, unlogged: 0, unexpected: 0, slowestNever: 0 }
      const errorIds = new Set<string>()

      const one = Effect.fnUntraced(function* (kind: string, requestId: string) {
        const startedAt = yield* Clock.currentTimeMillis
        const exit = yield* Effect.exit(Effect.flip(game.gainExp({ playerId: "p1", requestId, amount: 1n })))
        const reason = Exit.isSuccess(exit) && exit.value instanceof GrpcError ? exit.value.reason : undefined
        if (kind === "good") {
          if (reason === undefined) yield* history.acked(requestId)
          else seen.goodFailed++
        } else if (kind === "never") {
          if (reason?._tag !== "OutcomeUnknown" || reason.code !== "DEADLINE_EXCEEDED") seen.unexpected++
          seen.slowestNever = Math.max(seen.slowestNever, (yield* Clock.currentTimeMillis) - startedAt)
        } else if (reason?._tag !== "Internal") {
          seen.unexpected++
        } else if (reason.errorId === undefined || errorIds.has(reason.errorId)) {
          seen.withoutId++
        } else {
          errorIds.add(reason.errorId)
        }
      })

      const drawn = yield* Effect.forEach(Array.from({ length: calls }), () => Random.choice(kinds)).pipe(
        Random.withSeed(seed)
      )
      yield* Effect.forEach(drawn, (kind, i) => one(kind, `${kind} ${i}`), { concurrency, discard: true })
      const logged = new Set((yield* log.lines).map((line) => line["error_id"]))
      seen.unlogged = [...errorIds].filter((id) => !logged.has(id)).length
      const verdict = yield* history.verdict(applied)
      return { ...verdict, extra: { ...seen, good: drawn.filter((kind) => kind === "good").length } }
    }).pipe(Effect.provide(LoggerTest)),
  judge: ({ acked, extra = {} }, { maxDeadlineMillis }) => {
    const { good, slowestNever, ...zeros } = extra
    return [
      ...(acked === good ? [] : [`${good} good calls, ${acked} answered`]),
      ...(slowestNever! > maxDeadlineMillis + 1000 ? [`a call without an answer ended after ${slowestNever} ms`] : []),
      ...Object.entries(zeros).flatMap(([what, count]) => (count > 0 ? [`${what}: ${count}`] : []))
    ]
  }
})

export default [handlerDefects]

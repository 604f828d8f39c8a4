import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Command from "../Command.ts"
import type * as Key from "../Key.ts"
import type { Redis, Runner } from "../Redis.ts"
import { Conflict, CrossSlot, RedisFailure, UnexpectedReply } from "../RedisError.ts"
import { decoded } from "./Call.ts"
import { classify } from "./classify.ts"
import { placeOf } from "./slot.ts"
import * as Wire from "./wire.ts"

const multi = Command.make("MULTI", [], Command.ok)

const queued: Command.Decode<void> = (reply) =>
  reply === "QUEUED"
    ? Result.succeed(undefined)
    : Result.fail(new UnexpectedReply({ problem: "the command was not queued" }))

/** As it is said between MULTI and EXEC. A script is: its text, since EXEC passes over a hash that it does not know. */
const inQueue = (command: Command.Any): Command.Any<void> => ({ ...command, isBinary: false, decode: queued })

/** The replies, or null when a watched key had changed. Among them are errors: each command has its own. */
const exec = Command.make<ReadonlyArray<unknown> | null>(
  "EXEC",
  [],
  (reply) =>
    reply === null || Array.isArray(reply)
      ? Result.succeed(reply)
      : Result.fail(new UnexpectedReply({ problem: "not a reply for each command" })),
  { binary: true }
)

/** A watched key had changed: nothing was applied. Not to be mixed up with what the body fails with. */
const conflict: unique symbol = Symbol("conflict")

/** Runs the commands, all or none, unless a watched key has changed. */
const commit = (
  own: Runner,
  commands: ReadonlyArray<Command.Any>
): Effect.Effect<ReadonlyArray<unknown>, RedisFailure | typeof conflict> =>
  Effect.gen(function* () {
    // Written in this order, without waiting in between.
    const answers = yield* Effect.all(
      [own.run(multi), ...commands.map((one) => own.run(inQueue(one))), own.run(exec)],
      {
        concurrency: "unbounded"
      }
    )
    const replies = answers.at(-1) as ReadonlyArray<unknown> | null
    if (replies === null) return yield* Effect.fail(conflict)
    return yield* Effect.forEach(commands, (command, index) => {
      const reply = replies[index]
      return reply instanceof Error
        ? Effect.fail(
            new RedisFailure({
              reason: classify(reply, { wasSent: true, isIdempotent: false }),
              command: command.name
            })
          )
        : decoded(command, Wire.replyOf(reply ?? null, command.isBinary))
    })
  })

const backoff = Schedule.min([Schedule.exponential("5 millis"), Schedule.spaced("100 millis")]).pipe(Schedule.jittered)

/** See `Redis.watch`. */
export const watch =
  ({ keyPrefix, reserve }: Pick<Redis["Service"], "keyPrefix" | "reserve">) =>
  <E, R>(
    keys: ReadonlyArray<Key.Any>,
    body: (own: Runner) => Effect.Effect<ReadonlyArray<Command.Any>, E, R>,
    attempts = 10
  ): Effect.Effect<ReadonlyArray<unknown>, E | RedisFailure, R> => {
    const watching: Command.Any<void> = Command.make<void>("WATCH", keys as ReadonlyArray<Key.Key<never>>, Command.ok)
    const attempt = Effect.fnUntraced(function* (own: Runner) {
      yield* own.run(watching)
      // When it fails or is interrupted the connection, which still watches, is closed with the scope.
      const commands = yield* body(own)
      if (placeOf([watching, ...commands], keyPrefix) === "cross") {
        return yield* new RedisFailure({ reason: new CrossSlot(), command: "MULTI" })
      }
      return yield* commit(own, commands)
    })
    return reserve(keys[0]).pipe(
      Effect.flatMap((own) =>
        Effect.retry(attempt(own), {
          schedule: backoff,
          times: Math.max(0, attempts - 1),
          while: (error) => error === conflict
        })
      ),
      Effect.catchIf(
        (error): error is typeof conflict => error === conflict,
        () => Effect.fail(new RedisFailure({ reason: new Conflict({ attempts }), command: "EXEC" }))
      ),
      Effect.scoped
    )
  }

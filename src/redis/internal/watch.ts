import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Command from "../Command.ts"
import type * as Key from "../Key.ts"
import type { Runner } from "../Redis.ts"
import { Conflict, CrossSlot, InvalidInput, OutcomeUnknown, RedisFailure, UnexpectedReply } from "../RedisError.ts"
import { decoded, inTransaction } from "./Call.ts"
import { encoded, refusal } from "./Calls.ts"
import type { Pool, Reserved } from "./Pool.ts"
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

/**
 * Where a user may not run MULTI the commands after it would be done one by one. So the connection is asked first, once,
 * with a transaction of nothing; before it watches, since that ends there.
 */
const mayMulti = (own: Reserved): Effect.Effect<void, RedisFailure> =>
  Effect.suspend(() =>
    own.connection.mayMulti
      ? Effect.void
      : own.run(multi).pipe(
          Effect.andThen(own.run(exec)),
          Effect.andThen(
            Effect.sync(() => {
              own.connection.mayMulti = true
            })
          )
        )
  )

/** MULTI before commands. When it is refused though it was not before, they are done nevertheless, one by one. */
const bound = (own: Reserved): Effect.Effect<void, RedisFailure> =>
  Effect.catchIf(
    own.run(multi),
    ({ reason }) => reason._tag === "PermissionDenied" || reason._tag === "Rejected",
    () => {
      own.connection.mayMulti = false
      const reason = new OutcomeUnknown({ detail: "MULTI was refused" })
      return Effect.fail(new RedisFailure({ reason, command: "MULTI" }))
    }
  )

/** Runs the commands, all or none, unless a watched key has changed. */
const commit = (
  own: Reserved,
  commands: ReadonlyArray<Command.Any>
): Effect.Effect<ReadonlyArray<unknown>, RedisFailure | typeof conflict> =>
  Effect.gen(function* () {
    // Written in this order, without waiting in between.
    const answers = yield* Effect.all([bound(own), ...commands.map((one) => own.run(inQueue(one))), own.run(exec)], {
      concurrency: "unbounded"
    })
    const replies = answers.at(-1) as ReadonlyArray<unknown> | null
    if (replies === null) return yield* Effect.fail(conflict)
    return yield* Effect.forEach(commands, (command, index) => {
      const reply = replies[index]
      return reply instanceof Error
        ? Effect.fail(inTransaction(commands, command, reply))
        : decoded(command, Wire.replyOf(reply ?? null, command.isBinary))
    })
  })

const backoff = Schedule.min([Schedule.exponential("5 millis"), Schedule.spaced("100 millis")]).pipe(Schedule.jittered)

/** See `Redis.watch`. */
export const watch =
  (keyPrefix: string, pool: Pool) =>
  <E, R>(
    keys: ReadonlyArray<Key.Any>,
    body: (own: Runner) => Effect.Effect<ReadonlyArray<Command.Any>, E, R>,
    attempts = 10
  ): Effect.Effect<ReadonlyArray<unknown>, E | RedisFailure, R> => {
    const watching: Command.Any<void> = Command.make<void>("WATCH", keys as ReadonlyArray<Key.Key<never>>, Command.ok)
    const attempt = Effect.fnUntraced(function* (own: Reserved) {
      yield* mayMulti(own)
      yield* own.run(watching)
      // When it fails or is interrupted the connection, which still watches, is closed with the scope.
      const commands = yield* body(own)
      if (placeOf([watching, ...commands], keyPrefix) === "cross") {
        return yield* new RedisFailure({ reason: new CrossSlot(), command: "MULTI" })
      }
      // Before anything is said: what was queued until then would be done without the rest.
      for (const command of commands) {
        const body = encoded(command, keyPrefix)
        if (Result.isFailure(body)) return yield* refusal(command, body.failure)
      }
      return yield* commit(own, commands)
    })
    if (!Number.isInteger(attempts) || attempts < 1) {
      return Effect.fail(new RedisFailure({ reason: new InvalidInput({ problem: "attempts is not 1 or more" }) }))
    }
    return pool.reserved(keys[0]).pipe(
      Effect.flatMap((own) =>
        Effect.retry(attempt(own), {
          schedule: backoff,
          times: attempts - 1,
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

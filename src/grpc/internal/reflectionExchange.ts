// A call of any kind, bytes for bytes. HTTP/2 knows no kinds of calls: each sends messages and gets messages.
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import { fromEnded, type ReflectError } from "./reflectionError.ts"
import type { ClientListener, Connection, Entries } from "./transport.ts"

/**
 * What a call needs.
 *
 * - `path`: such as `/game.GameService/GetPlayer`
 * - `deadline`: in milliseconds of the epoch; Infinity for none
 * - `reason`: why the connection fails, when more is known than the call tells
 * - `requests`: sent as they come, then the server is told that there are no more
 */
export interface Exchange<E, R> {
  readonly connection: Connection
  readonly path: string
  readonly metadata: Entries
  readonly deadline: number
  readonly reason: () => string | undefined
  readonly requests: Stream.Stream<Buffer, E, R>
}

/**
 * Makes the call when it is run, and gives the responses. A response is read when it is asked for, and a request when
 * the one before is on its way, so that neither side fills the memory of this one. It ends when the server ends it, whatever is left to send; it is cancelled when nobody wants its responses any more.
 */
export const responses = <E, R>(exchange: Exchange<E, R>): Stream.Stream<Buffer, ReflectError | E, R> => {
  type Ending = Pull.Pull<never, ReflectError | E>
  type Next = Pull.Pull<readonly [Buffer], ReflectError | E>
  const start = Effect.gen(function* () {
    const { connection, path, metadata, deadline, reason, requests } = exchange
    let ending: Ending | undefined
    let waiting: ((next: Next) => void) | undefined
    const end = (how: Ending) => {
      ending ??= how
      waiting?.(ending)
    }
    const listener: ClientListener = {
      onHeaders: () => {},
      onMessage: (message) => waiting?.(Effect.succeed([message])),
      onEnd: (ended) => {
        const details = (ended.sent ? undefined : reason()) ?? ended.details
        end(ended.code === 0 ? Cause.done() : Effect.fail(fromEnded({ ...ended, details })))
      }
    }
    const call = yield* Effect.acquireRelease(
      Effect.sync(() => connection.open(path, metadata, deadline, listener)),
      // Of a call that has ended nothing is left to cancel.
      (call) => Effect.sync(() => call.cancel())
    )
    const next: Next = Effect.callback((resume) => {
      if (ending !== undefined) return resume(ending)
      waiting = (next) => {
        waiting = undefined
        resume(next)
      }
      call.read()
    })
    const send = (message: Buffer) => Effect.callback<void>((resume) => call.send(message, () => resume(Effect.void)))
    yield* Stream.runForEach(requests, send).pipe(
      Effect.andThen(Effect.sync(() => call.halfClose())),
      // The requests cannot be made: whoever waits for responses is to know why.
      Effect.catchCause((cause) => Effect.sync(() => end(Effect.failCause(cause)))),
      Effect.forkScoped
    )
    return Stream.fromPull(Effect.succeed(next))
  })
  return Stream.unwrap(start)
}

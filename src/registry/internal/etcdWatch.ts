// The watch of etcd: one stream for each prefix, and no faith in silence.
import type * as grpc from "@grpc/grpc-js"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import {
  changeOf,
  classifyEnd,
  type Connection,
  type Duplex,
  type Failure,
  rangeOf,
  silent,
  type WatchRequest,
  type WatchResponse
} from "./etcdConnection.ts"
import type { Watched } from "./store.ts"

type Wire = Duplex<WatchRequest, WatchResponse>

/** As many responses wait here; the rest wait at the server. */
const mostWaiting = 64

const failing =
  (queue: Queue.Enqueue<Watched, Failure | Cause.Done>) =>
  (failure: Failure): void =>
    void Queue.failCauseUnsafe(queue, Cause.fail(failure))

/**
 * Tells every change of the keys with a prefix from a revision on, on one connection. Fails when that is lost.
 *
 * - `every`: how often a sign of life is asked for; who shows none for as long is given up
 */
export const watch = (
  connection: Connection,
  metadata: grpc.Metadata,
  { every, from, prefix }: { readonly prefix: string; readonly from: bigint; readonly every: Duration.Duration }
): Stream.Stream<Watched, Failure> =>
  Stream.suspend(() => {
    let wire: Wire | undefined
    const told = Stream.callback<Watched, Failure>((queue) =>
      Effect.gen(function* () {
        let isHeard = false
        let last = from - 1n
        const fail = failing(queue)

        const hear = ({
          canceled,
          compact_revision,
          cancel_reason,
          created,
          events,
          header,
          watch_id
        }: WatchResponse) => {
          isHeard = true
          if (canceled && BigInt(compact_revision) !== 0n) {
            Queue.offerUnsafe(queue, { _tag: "Compacted" })
            return void Queue.endUnsafe(queue)
          }
          if (canceled) return fail(classifyEnd(cancel_reason))
          if (events.length > 0) {
            // The header's revision is the store's, which may be ahead of what it has told.
            last = BigInt(events.at(-1)!.kv.mod_revision)
            Queue.offerUnsafe(queue, { _tag: "Changes", changes: events.map(changeOf) })
          } else {
            // An answer to what was asked on the stream is of no watch; etcd 3.4 does not put it in order with events.
            const isOrdered = !created && BigInt(watch_id) !== -1n
            Queue.offerUnsafe(queue, { _tag: "Progress", revision: isOrdered ? BigInt(header.revision) : last })
          }
          if (Queue.sizeUnsafe(queue) >= mostWaiting) wire?.pause()
        }

        wire = yield* Effect.acquireRelease(
          Effect.sync(() => {
            const opened = connection.watch(metadata, fail)
            opened?.on("data", hear)
            opened?.write({
              create_request: { ...rangeOf(prefix), start_revision: String(from), progress_notify: true }
            })
            return opened
          }),
          (opened) => Effect.sync(() => opened?.cancel())
        )
        if (wire === undefined) return fail(silent(every, false))
        for (;;) {
          isHeard = false
          wire.write({ progress_request: {} })
          yield* Effect.sleep(every)
          if (!isHeard && !wire.isPaused()) return fail(silent(every, true))
        }
      })
    )
    return Stream.tap(told, () => Effect.sync(() => (wire?.isPaused() === true ? wire.resume() : undefined)))
  })

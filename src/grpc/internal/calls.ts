import type * as Clock from "effect/Clock"
import type { Peer } from "../Call.ts"
import { type Failure, refusal } from "./failure.ts"
import type { ServerCall } from "./transport.ts"

/** A call that has not ended on both sides. */
export interface OpenCall {
  /** Since when it has to end in time, on the clock of `monotonicMillis`. */
  readonly since: number
  /** Ends it with a status, behind what was sent, and interrupts its handler. */
  end(failure: Failure): void
  /** Ends it now, with a status when one still passes, else by a reset. */
  cut(failure: Failure): void
}

/** What the calls of one server share. */
export interface Calls {
  readonly clock: Clock.Clock
  /** Calls that have to end in time, oldest first: a handler may still run, or a reply is still on its way out. */
  readonly open: Set<OpenCall>
  /** Calls whose responses are a stream, which may go on as long as both sides like. */
  readonly standing: Set<OpenCall>
  /** Called when `open` becomes empty. */
  onEmpty: () => void
  /** No further streams of responses are begun. */
  isStopping: boolean
  /** Who is at the other end. */
  readonly peerOf: (call: ServerCall) => Peer
  readonly maxDeadlineMillis: number
  readonly maxMetadataSize: number
  readonly maxMessageSize: number
}

/** Takes a call off those that have to end in time. */
export const leave = (calls: Calls, call: OpenCall): void => {
  if (calls.open.delete(call) && calls.open.size === 0) calls.onEmpty()
}

/** How calls end that a stopping server has waited for long enough. */
export const stopping = refusal("UNAVAILABLE", "the server is stopping")

/** How streams end that it does not wait for. */
export const leaving: Failure = { ...stopping, level: "Info" }

import * as grpc from "@grpc/grpc-js"
import type * as Clock from "effect/Clock"
import * as http2 from "node:http2"
import { monotonicMillis } from "./clock.ts"

/** What grpc-js keeps to itself: what it makes an HTTP/2 server of, and those that it has made. */
interface Internals {
  readonly commonServerOptions: http2.ServerOptions
  readonly http2Servers: ReadonlyMap<http2.Http2Server, unknown>
}

/**
 * Calls that a connection may open and give up: so many a second, and so many at once. Node's own limit (33 and 1000)
 * takes a client whose calls run into their deadlines for an attacker, and cuts its good calls too: as many as may be
 * open at once, each given up within a second, are no attack.
 */
const [resetRate, resetBurst] = [2000, 4000]

/** Frames that must be answered, a second and at once. */
const [pingRate, pingBurst] = [1, 60]

/** The largest answer to such a frame: a PING of 17 bytes, in a record of TLS. */
const answerSize = 64

/** grpc-js, grpc-go and others lengthen the time between their pings when they read this. */
const tooManyPings = Buffer.from("too_many_pings")

/**
 * Counts the frames of a connection that must be answered, PING and SETTINGS. As grpc-go has it, those that come while
 * we send something else are free: clients measure the connection with pings as long as data comes.
 */
class Answers {
  readonly #session: http2.ServerHttp2Session
  readonly #clock: Clock.Clock
  #left = pingBurst
  #countedAt: number
  /** Since they were last free: how many there were, and from which byte on. */
  #count = 0
  #from = 0

  constructor(session: http2.ServerHttp2Session, clock: Clock.Clock) {
    this.#session = session
    this.#clock = clock
    this.#countedAt = monotonicMillis(clock)
  }

  count(): void {
    const session = this.#session
    if (session.destroyed) return
    const written = session.socket.bytesWritten
    if (written - this.#from > (this.#count + 1) * answerSize) {
      this.#from = written
      this.#count = 0
      this.#left = pingBurst
    }
    const now = monotonicMillis(this.#clock)
    this.#left = Math.min(pingBurst, this.#left + ((now - this.#countedAt) * pingRate) / 1000) - 1
    this.#countedAt = now
    this.#count++
    if (this.#left >= 0) return
    session.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, tooManyPings)
    // What is written leaves when this turn of the event loop has ended.
    setImmediate(() => session.destroy())
  }
}

/**
 * Makes what takes the connections of a server, and limits what they may do beside calls: one that pings more than once
 * a second for long is told ENHANCE_YOUR_CALM and closed; one that gives up calls by the thousands is closed.
 */
export const createInjector = (native: grpc.Server, clock: Clock.Clock): grpc.ConnectionInjector => {
  const { commonServerOptions, http2Servers } = native as unknown as Internals
  Object.assign(commonServerOptions, { streamResetBurst: resetBurst, streamResetRate: resetRate })
  const injector = native.createConnectionInjector(grpc.ServerCredentials.createInsecure())
  for (const server of http2Servers.keys()) {
    server.on("session", (session) => {
      const answers = new Answers(session, clock)
      const count = () => answers.count()
      session.on("ping", count).on("remoteSettings", count)
    })
  }
  return injector
}

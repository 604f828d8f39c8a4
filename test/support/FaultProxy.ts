// A TCP proxy between a client under test and a real server, to break what passes between them. It is made of sockets
// and real timers, never of Effect's clock: the test that drives it may run under TestClock.
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { randomInt } from "node:crypto"
import * as Net from "node:net"
import * as Ports from "./Ports.ts"
import { seeded } from "./Seeded.ts"

/**
 * What happens to the chunk of a request that a predicate chose, and to its connection.
 *
 * - `cut`: the request is not passed on and the connection is reset: surely not applied
 * - `cutAfterReply`: the request is passed on; when the server's first reply arrives it is swallowed and the
 *   connection is reset: surely processed, and the client cannot know
 * - `dropReply`: the request is passed on, every reply from then on is swallowed, and the connection stays open
 */
export type Action = "cut" | "cutAfterReply" | "dropReply"

/** A rule in force, and its receipts. */
export interface Rule {
  /** How often it has been applied. A `cutAfterReply` counts when the reply was swallowed. */
  readonly fired: Effect.Effect<number>
  /** Waits for the first time. */
  readonly first: Effect.Effect<void>
}

/** A running proxy. The connections that it holds end with its scope. */
export interface FaultProxy {
  /** Its port, below 32768 unless it is the server's. */
  readonly port: number
  /** Resets every connection that is open now; new ones pass. */
  readonly cut: Effect.Effect<void>
  /** Keeps connections open, new ones too, and passes nothing either way until `heal`; then what was held passes. */
  readonly blackhole: Effect.Effect<void>
  /** Passes requests and swallows replies until `heal`, which resets the connections that missed one. */
  readonly dropReplies: Effect.Effect<void>
  /** Makes every chunk late by 0.5 to 1.5 times as many milliseconds, drawn by the seed; order is kept. */
  readonly delay: (millis: number) => Effect.Effect<void>
  /** Ends each connection, open or new, when exactly so many more bytes have gone from server to client. */
  readonly closeAfter: (bytes: number) => Effect.Effect<void>
  /** Applies an action to each request chunk that the predicate chooses, until `heal`. */
  readonly onRequest: (predicate: (bytes: Buffer) => boolean, action: Action) => Effect.Effect<Rule>
  /** Passes everything again. */
  readonly heal: Effect.Effect<void>
  /** How many clients are connected now. */
  readonly connections: Effect.Effect<number>
  /** How many connections were accepted since the start. */
  readonly accepted: Effect.Effect<number>
}

interface RuleState {
  readonly predicate: (bytes: Buffer) => boolean
  readonly action: Action
  readonly fire: () => void
}

interface Faults {
  blackhole: boolean
  dropReplies: boolean
  delayMillis: number
  closeAfter: number | undefined
  rules: Array<RuleState>
}

/**
 * Ends a connection with a reset. While a FIN is on its way a reset is refused, and Node then loses the socket without
 * closing it: such a socket is closed instead.
 */
export const abort = (socket: Net.Socket): void => {
  if (socket.destroyed) return
  const isEnding = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0
  if (isEnding) socket.destroy()
  else socket.resetAndDestroy()
}

/** One direction of a connection: a queue of chunks, each due at its time, and the end of the stream as `undefined`. */
class Direction {
  private readonly queue: Array<{ readonly due: number; readonly bytes: Buffer | undefined }> = []
  private readonly from: Net.Socket
  private readonly to: Net.Socket
  private readonly faults: Faults
  private readonly random: () => number
  private lastDue = 0
  private timer: NodeJS.Timeout | undefined
  private full = false

  constructor(from: Net.Socket, to: Net.Socket, faults: Faults, random: () => number) {
    this.from = from
    this.to = to
    this.faults = faults
    this.random = random
  }

  push(bytes: Buffer | undefined): void {
    const late = this.faults.delayMillis * (0.5 + this.random())
    this.lastDue = Math.max(this.lastDue, performance.now() + late)
    this.queue.push({ due: this.lastDue, bytes })
    this.pump()
  }

  pump(): void {
    clearTimeout(this.timer)
    if (this.faults.blackhole) return void this.from.pause()
    if (!this.full) this.from.resume()
    while (this.queue[0] !== undefined && this.queue[0].due <= performance.now()) {
      const { bytes } = this.queue.shift()!
      if (bytes === undefined) this.to.end()
      else if (!this.to.write(bytes)) this.hold()
    }
    if (this.queue[0] !== undefined)
      this.timer = setTimeout(() => this.pump(), this.queue[0].due - performance.now() + 1)
  }

  stop(): void {
    clearTimeout(this.timer)
    this.queue.length = 0
  }

  private hold(): void {
    if (this.full) return
    this.full = true
    this.from.pause()
    this.to.once("drain", () => {
      this.full = false
      this.pump()
    })
  }
}

class Connection {
  private readonly client: Net.Socket
  private readonly server = new Net.Socket({ allowHalfOpen: true })
  private readonly requests: Direction
  private readonly replies: Direction
  private readonly faults: Faults
  private dialled = false
  private missedReply = false
  private awaiting: RuleState | undefined
  private swallowing = false
  private replied = 0

  constructor(
    client: Net.Socket,
    faults: Faults,
    random: () => number,
    translate: (reply: Buffer) => Buffer,
    onClose: () => void
  ) {
    this.client = client
    this.faults = faults
    this.requests = new Direction(client, this.server, faults, random)
    this.replies = new Direction(this.server, client, faults, random)
    client.on("data", (bytes: Buffer) => this.request(bytes))
    client.on("end", () => this.requests.push(undefined))
    this.server.on("data", (bytes: Buffer) => this.reply(translate(bytes)))
    this.server.on("end", () => this.replies.push(undefined))
    for (const socket of [client, this.server]) {
      // A broken socket is what this proxy is for: the other side gets the reset, nobody else hears of it.
      socket.on("error", () => this.reset())
      socket.setNoDelay(true)
    }
    client.on("close", onClose)
  }

  /** Connects to the server, once, when nothing holds the connection back. */
  dial(host: string, port: number): void {
    if (this.dialled || this.faults.blackhole) return void this.client.pause()
    this.dialled = true
    this.server.connect({ host, port })
    this.client.resume()
  }

  reset(): void {
    this.requests.stop()
    this.replies.stop()
    abort(this.client)
    abort(this.server)
  }

  pump(): void {
    this.requests.pump()
    this.replies.pump()
  }

  /** After `heal` a stream with a hole in it must not go on: TCP never loses bytes in the middle. */
  heal(): void {
    this.replied = 0
    if (this.missedReply) this.reset()
  }

  countFromNow(): void {
    this.replied = 0
  }

  private request(bytes: Buffer): void {
    const rule = this.faults.rules.find(({ predicate }) => predicate(bytes))
    if (rule?.action === "cut") {
      rule.fire()
      return this.reset()
    }
    if (rule?.action === "cutAfterReply") this.awaiting = rule
    if (rule?.action === "dropReply") {
      this.swallowing = true
      rule.fire()
    }
    this.requests.push(bytes)
  }

  private reply(bytes: Buffer): void {
    if (this.awaiting !== undefined) {
      this.awaiting.fire()
      return this.reset()
    }
    if (this.swallowing || this.faults.dropReplies) {
      this.missedReply = true
      return
    }
    const { closeAfter } = this.faults
    if (closeAfter === undefined || this.replied + bytes.length < closeAfter) {
      this.replied += bytes.length
      return this.replies.push(bytes)
    }
    this.replies.push(bytes.subarray(0, closeAfter - this.replied))
    this.replies.push(undefined)
    this.replied = closeAfter
    this.server.removeAllListeners("data").removeAllListeners("end")
    this.server.destroy()
  }
}

/** Puts one text in the place of another of the same length, wherever it is. */
const translated = (bytes: Buffer, from: string, to: string): Buffer => {
  for (let at = bytes.indexOf(from); at !== -1; at = bytes.indexOf(from, at + to.length)) bytes.write(to, at)
  return bytes
}

/**
 * Starts a proxy on a free port of 127.0.0.1.
 *
 * - `host`, `port`: the server behind it; it may be down, then a client is reset as soon as it connects
 * - `seed`: an integer; the same seed draws the same delays
 * - `at`: a loopback address where it listens instead, on the server's own port. In what the server says, `host` is
 *   replaced by it, for servers that tell where others are: with a proxy for each, clients get there through proxies, and
 *   the servers talk to each other directly. As long as `host`, and not taken on that port
 *
 * It lives until its scope closes, which resets what is still connected.
 */
export const make = (options: {
  readonly host: string
  readonly port: number
  readonly seed: number
  readonly at?: string
}): Effect.Effect<FaultProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const faults: Faults = { blackhole: false, dropReplies: false, delayMillis: 0, closeAfter: undefined, rules: [] }
    const random = seeded(options.seed)
    const open = new Set<Connection>()
    let accepted = 0
    const { at, host } = options
    const translate = (bytes: Buffer) => (at === undefined ? bytes : translated(bytes, host, at))

    const server = Net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
      accepted++
      const connection = new Connection(client, faults, random, translate, () => open.delete(connection))
      open.add(connection)
      connection.dial(host, options.port)
    })
    const port = yield* listen(server, open, at === undefined ? undefined : { host: at, port: options.port })

    const all = (use: (connection: Connection) => void) => Effect.sync(() => [...open].forEach(use))
    const set = (change: Partial<Faults>) => Effect.sync(() => void Object.assign(faults, change))

    return {
      port,
      cut: all((connection) => connection.reset()),
      blackhole: Effect.andThen(
        set({ blackhole: true }),
        all((connection) => connection.pump())
      ),
      dropReplies: set({ dropReplies: true }),
      delay: (delayMillis) => set({ delayMillis }),
      closeAfter: (bytes) =>
        Effect.andThen(
          set({ closeAfter: bytes }),
          all((connection) => connection.countFromNow())
        ),
      onRequest: (predicate, action) =>
        Effect.map(Deferred.make<void>(), (first) => {
          let fired = 0
          const fire = () => {
            fired++
            Deferred.doneUnsafe(first, Effect.void)
          }
          faults.rules.push({ predicate, action, fire })
          return { fired: Effect.sync(() => fired), first: Deferred.await(first) }
        }),
      heal: Effect.andThen(
        // A list of its own each time: rules are added to it.
        Effect.suspend(() =>
          set({ blackhole: false, dropReplies: false, delayMillis: 0, closeAfter: undefined, rules: [] })
        ),
        all((connection) => {
          connection.heal()
          connection.dial(host, options.port)
          connection.pump()
        })
      ),
      connections: Effect.sync(() => open.size),
      accepted: Effect.sync(() => accepted)
    }
  })

const listen = (
  server: Net.Server,
  open: ReadonlySet<Connection>,
  fixed: { readonly host: string; readonly port: number } | undefined
): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      const attempt = () =>
        server.listen(fixed ?? { host: "127.0.0.1", port: randomInt(Ports.lowest, Ports.highest + 1) })
      server.on("error", (error: NodeJS.ErrnoException) => {
        if (fixed === undefined && error.code === "EADDRINUSE") attempt()
        else resume(Effect.die(error))
      })
      server.once("listening", () => resume(Effect.succeed((server.address() as Net.AddressInfo).port)))
      attempt()
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const connection of open) connection.reset()
      })
  )

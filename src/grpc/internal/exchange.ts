// A call in memory, as HTTP/2 would carry it between two: what is sent is copied, waits until it is read, and holds its
// sender back when too much of it waits. Nothing arrives before its sender has gone on.
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Scheduler from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import type { Metadata } from "../Call.ts"
import type {
  Accept,
  ClientCall,
  ClientListener,
  Ended,
  Entries,
  ServerCall,
  ServerListener,
  Status
} from "./transport.ts"

/** What one direction of a call holds before its sender waits, in bytes: HTTP/2 grants a stream as much. */
const windowSize = 65_535

/** What gRPC puts before every message, so that empty ones count as well. */
const frameSize = 5

const cancelled = 1
const deadlineExceeded = 4
const resourceExhausted = 8

/** How the calls of a transport are moved on. */
export interface Pump {
  /** In milliseconds of the epoch. */
  readonly now: () => number
  /** Runs a task after the one that runs, behind those that wait. */
  readonly later: (task: () => void) => void
  /** Runs a task at a time in milliseconds of the epoch, never when it is Infinity; gives what calls it off. */
  readonly at: (time: number, task: () => void) => () => void
}

/** A pump on the clock and the scheduler of its caller: with those of a test, the test sees every delivery. */
export const makePump: Effect.Effect<Pump, never, Scope.Scope> = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const dispatcher = (yield* Scheduler.Scheduler).makeDispatcher()
  const run = yield* FiberSet.makeRuntime<never>()
  return {
    now: () => clock.currentTimeMillisUnsafe(),
    later: (task) => dispatcher.scheduleTask(task, 0),
    at: (time, task) => {
      if (time === Infinity) return () => {}
      const left = Duration.millis(Math.max(0, time - clock.currentTimeMillisUnsafe()))
      const fiber = run(Effect.andThen(Effect.sleep(left), Effect.sync(task)))
      return () => fiber.interruptUnsafe()
    }
  }
})

/** Metadata that has arrived: texts of one name are joined, as by HTTP/2. */
const metadataOf = (entries: Entries): Metadata => {
  const values: Record<string, Array<string | Buffer>> = Object.create(null)
  for (const [name, value] of entries) {
    const sent = (values[name.toLowerCase()] ??= [])
    if (typeof value !== "string") sent.push(value)
    else sent[0] = sent.length === 0 ? value : `${String(sent[0])}, ${value}`
  }
  return { get: (name) => values[name.toLowerCase()] ?? [], toJSON: () => values }
}

const none = (): void => {}

/** Something on its way: it arrives when the receiver asks for it, or as soon as all before it has. */
interface Item {
  readonly size: number
  readonly asked: boolean
  readonly arrive: () => void
}

/** One direction of a call. */
class Pipe {
  readonly #pump: Pump
  #items: Array<Item> = []
  #senders: Array<() => void> = []
  #held = 0
  #asked = 0
  #flows = false
  #closed = false

  constructor(pump: Pump) {
    this.#pump = pump
  }

  /** Sends; `sent` is told, at once or later, when what waits fits into the window. */
  put(item: Item, sent: () => void): void {
    if (this.#closed) return
    this.#items.push(item)
    this.#held += item.size
    this.#flow()
    if (this.#held > windowSize) this.#senders.push(sent)
    else sent()
  }

  /** Asks for one message more. */
  read(): void {
    this.#asked++
    this.#flow()
  }

  /** Forgets what has not arrived. */
  close(): void {
    this.#closed = true
    this.#items = []
    this.#senders = []
  }

  #flow(): void {
    if (this.#flows || this.#closed) return
    this.#flows = true
    this.#pump.later(() => {
      this.#flows = false
      for (let item = this.#items[0]; item !== undefined; item = this.#items[0]) {
        if (item.asked && this.#asked === 0) break
        if (item.asked) this.#asked--
        this.#items.shift()
        this.#held -= item.size
        item.arrive()
      }
      if (this.#held > windowSize) return
      const senders = this.#senders
      this.#senders = []
      for (const sent of senders) sent()
    })
  }
}

/** What a server in a network is. */
export interface ServerOptions {
  readonly accept: Accept
  /** In bytes. */
  readonly maxMessageSize: number
  /** Calls at once on one connection. */
  readonly maxConcurrentStreams: number
}

/** A call between a client and a server: two pipes, and how it ends on each side. */
export class Exchange {
  readonly #pump: Pump
  readonly #path: string
  readonly #metadata: Entries
  readonly #deadline: number
  readonly #client: ClientListener
  readonly #maxMessageSize: number
  readonly #requests: Pipe
  readonly #responses: Pipe
  readonly #stopTimer: () => void
  #server: ServerListener | undefined
  #maxRequestSize = 0
  #onLeave = none
  #accepted = false
  #headersSent = false
  #over = false

  constructor(
    pump: Pump,
    path: string,
    metadata: Entries,
    deadline: number,
    client: ClientListener,
    maxMessageSize: number
  ) {
    this.#pump = pump
    this.#path = path
    this.#metadata = metadata
    this.#deadline = deadline
    this.#client = client
    this.#maxMessageSize = maxMessageSize
    this.#requests = new Pipe(pump)
    this.#responses = new Pipe(pump)
    this.#stopTimer = pump.at(deadline, () => this.fail(deadlineExceeded, "the deadline passed"))
  }

  get isOver(): boolean {
    return this.#over
  }

  /** What the client does with it. */
  readonly clientCall: ClientCall = {
    read: () => this.#responses.read(),
    send: (message, sent) => {
      const limit = this.#maxMessageSize
      if (message.length > limit) return this.fail(resourceExhausted, `a request larger than ${limit} bytes`)
      this.#requests.put(
        this.#message(message, (copy) => this.#receive(copy)),
        sent
      )
    },
    halfClose: () => this.#requests.put({ size: 0, asked: true, arrive: () => this.#server!.onHalfClose() }, none),
    cancel: () => this.fail(cancelled, "cancelled by the client")
  }

  /** What the server does with it. */
  readonly #serverCall: () => ServerCall = () => ({
    path: this.#path,
    metadata: metadataOf(this.#metadata),
    deadline: this.#deadline,
    peer: { address: "127.0.0.1" },
    read: () => this.#requests.read(),
    sendHeaders: (entries) => this.#sendHeaders(entries),
    send: (message, sent) => {
      this.#sendHeaders([])
      this.#responses.put(
        this.#message(message, (copy) => this.#reply(copy)),
        sent
      )
    },
    end: (status) =>
      // As with a socket, the server is done when the rest fits into what the client may leave unread.
      this.#responses.put({ size: 0, asked: false, arrive: () => this.#finish(status) }, () =>
        this.#pump.later(() => this.#leave())
      ),
    reset: () => this.fail(cancelled, "reset by the server")
  })

  /** Brings it to a server; `onLeave` is called when the server has no more to do with it. */
  accept(server: ServerOptions, onLeave: () => void): void {
    this.#maxRequestSize = server.maxMessageSize
    this.#onLeave = onLeave
    this.#accepted = true
    this.#server = server.accept(this.#serverCall())
  }

  /** Ends it for both sides, whatever is on its way. */
  fail(code: number, details: string): void {
    if (this.#over) return
    this.#end({ code, details, trailers: metadataOf([]), sent: this.#accepted })
  }

  #finish({ code, details, trailers }: Status): void {
    this.#end({ code, details, trailers: metadataOf(trailers), sent: true })
  }

  #end(ended: Ended): void {
    this.#over = true
    this.#stopTimer()
    this.#requests.close()
    this.#responses.close()
    this.#pump.later(() => {
      this.#client.onEnd(ended)
      this.#leave()
    })
  }

  #leave(): void {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    this.#requests.close()
    server.onClose()
    this.#onLeave()
  }

  #sendHeaders(entries: Entries): void {
    if (this.#headersSent) return
    this.#headersSent = true
    const arrive = () => this.#client.onHeaders(metadataOf(entries))
    this.#responses.put({ size: 0, asked: false, arrive }, none)
  }

  #message(message: Buffer, receive: (copy: Buffer) => void): Item {
    const copy = Buffer.from(message)
    return { size: copy.length + frameSize, asked: true, arrive: () => receive(copy) }
  }

  #receive(message: Buffer): void {
    const limit = this.#maxRequestSize
    const server = this.#server!
    if (message.length > limit) return server.onRefused("RESOURCE_EXHAUSTED", `a request larger than ${limit} bytes`)
    server.onMessage(message)
  }

  #reply(message: Buffer): void {
    const limit = this.#maxMessageSize
    if (message.length > limit) return this.fail(resourceExhausted, `a response larger than ${limit} bytes`)
    this.#client.onMessage(message)
  }
}

// What channels, streams of events and watched transactions promise while connections are cut:
// npm run faults -- F12-channels --seed 1
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Ref from "effect/Ref"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { randomUUID } from "node:crypto"
import { Channel, Command, EventStream, Key, Redis } from "xdooria/redis"
import { layerLive } from "xdooria/redis/live"
import * as Fault from "../faults/Fault.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as History from "../support/History.ts"
import * as Recorder from "../support/Recorder.ts"
import { isMissing, servers } from "../support/Servers.ts"
import { eventually, freshPrefix, type Options, single } from "../support/RedisBackends.ts"

type Client = Redis["Service"]
type Heard = Channel.Event<number>

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const clientOf = (options: Options): Effect.Effect<Client, unknown, Scope.Scope> =>
  Effect.map(Layer.build(layerLive(options)), (context) => Context.get(context, Redis))

/** How many messages are missing without a Gap that says so. The numbers rise by one. */
const unannounced = (events: ReadonlyArray<Heard>): number => {
  let next: number | undefined
  let missing = 0
  for (const event of events) {
    if (event._tag === "Gap") next = undefined
    else {
      if (next !== undefined && event.value !== next) missing++
      next = event.value + 1
    }
  }
  return missing
}

/** Hears a channel through the proxy, while somebody else counts on it. */
const counting = Effect.fnUntraced(function* (direct: Client, client: Client, channel: Channel.Channel<number>) {
  const heard = yield* Recorder.make<Heard>()
  yield* Effect.forkScoped(Stream.runForEach(client.subscribe(channel), heard.record))
  yield* heard.first(({ _tag }) => _tag === "Gap")
  let n = 0
  const say = Effect.suspend(() => Effect.flatMap(Effect.fromResult(Command.publish(channel, n++)), direct.run))
  yield* Effect.forkScoped(Effect.schedule(say, Schedule.spaced("5 millis")))
  return heard
})

/** Appends ids, each until it is there, and gives the next. */
const appending = (client: Client, stream: EventStream.EventStream<string, "events">, history: History.History) =>
  Effect.suspend(() => {
    const once = randomUUID()
    return EventStream.append(stream, once, { once }).pipe(
      Effect.provideService(Redis, client),
      Effect.retry({ schedule: Schedule.spaced("20 millis"), while: (error) => error.isSafeToRetry }),
      Effect.matchEffect({ onSuccess: () => history.acked(once), onFailure: () => history.unknown(once) })
    )
  })

interface Counts {
  readonly done: number
  readonly unknown: number
}

/** Adds one, read first and then set, and counts what became of it. */
const adding = (client: Client, key: Key.Key<"events">, counts: Ref.Ref<Counts>) =>
  client
    .watch(
      [key],
      (own) => Effect.map(own.run(Command.get(key)), (now) => [Command.set(key, String(Number(now ?? "0") + 1))]),
      1_000
    )
    .pipe(
      Effect.matchEffect({
        onSuccess: () => Ref.update(counts, (now) => ({ ...now, done: now.done + 1 })),
        onFailure: ({ isSafeToRetry }) =>
          Ref.update(counts, (now) => (isSafeToRetry ? now : { ...now, unknown: now.unknown + 1 }))
      })
    )

const valuesOf = (entries: ReadonlyArray<Command.Entry>) =>
  entries.map(({ fields }) => JSON.parse(fields.get("value")!) as string)

const cuts = Fault.scenario({
  id: "F12-channels",
  room: "redis",
  title: "every connection lives a second, of those that hear, append, consume and watch too",
  servers: ["redis"],
  scaled: { millis: 2_500, fibers: 3 },
  full: { millis: 120_000, fibers: 4 },
  run: ({ fibers, millis }, seed) =>
    Effect.gen(function* () {
      const address = servers.redis
      if (isMissing(address)) return yield* Effect.die(new Error(address.missing))
      const keyPrefix = freshPrefix()
      const proxy = yield* FaultProxy.make({ ...address, seed })
      const direct = yield* clientOf({ ...single(address), keyPrefix })
      const client = yield* clientOf({ addrs: [`127.0.0.1:${proxy.port}`], keyPrefix })
      const key = yield* Effect.fromResult(Key.make("events", "e"))
      const counter = Key.beside(key, "xd:counter")
      const beside = (["xd:appended", "xd:appended-at", "xd:dead", "xd:counter"] as const).map((words) =>
        Key.beside(key, words)
      )
      yield* Effect.addFinalizer(() => Effect.orDie(direct.run(Command.del(key, ...beside))))

      const stream = EventStream.make(key, Schema.String)
      const channel = yield* Effect.fromResult(Channel.make("faults", Schema.Finite)("count"))
      const heard = yield* counting(direct, client, channel)
      const history = yield* History.make
      const handled = new Set<string>()
      yield* EventStream.consume(stream, { group: "g", consumer: "c" }, ({ value }) =>
        Effect.sync(() => void handled.add(value))
      ).pipe(Effect.provideService(Redis, client), Effect.forkScoped)

      const end = (yield* Clock.currentTimeMillis) + millis
      const forTheTime = <A, E>(effect: Effect.Effect<A, E>) =>
        effect.pipe(
          Effect.andThen(Effect.sleep("5 millis")),
          Effect.repeat({ while: () => Effect.map(Clock.currentTimeMillis, (now) => now < end) })
        )
      const inject = Effect.gen(function* () {
        yield* Effect.sleep(300 + 600 * (yield* Random.next))
        yield* proxy.cut
      })
      const counts = yield* Ref.make<Counts>({ done: 0, unknown: 0 })
      const faults = yield* Effect.forkScoped(Effect.forever(inject))
      yield* Effect.all(
        Array.from({ length: fibers }, () => [
          forTheTime(appending(client, stream, history)),
          forTheTime(adding(client, counter, counts))
        ]).flat(),
        { concurrency: "unbounded", discard: true }
      )
      yield* Fiber.interrupt(faults)

      const applied = valuesOf(yield* direct.run(Command.xrange(key, "-", "+")))
      yield* eventually(
        "all is handled",
        Effect.sync(() => applied.every((id) => handled.has(id)))
      ).pipe(Effect.ignore)
      const gaps = (yield* heard.all).filter(({ _tag }) => _tag === "Gap").length
      const added = Number((yield* direct.run(Command.get(counter))) ?? "0")
      const { done, unknown } = yield* Ref.get(counts)
      const verdict = yield* history.verdict(applied)
      return {
        ...verdict,
        extra: {
          heard: (yield* heard.all).length - gaps,
          gaps,
          unannounced: unannounced(yield* heard.all),
          unhandled: applied.filter((id) => !handled.has(id)).length,
          added: done,
          addedUnknown: unknown,
          addedWrongly: Math.max(0, done - added, added - done - unknown)
        }
      }
    }).pipe(Random.withSeed(seed), quiet),
  judge: ({ acked, extra }) => [
    ...(extra!["gaps"]! > 1 ? [] : ["no subscription met a cut"]),
    ...(acked > 0 && extra!["added"]! > 0 && extra!["heard"]! > 0 ? [] : ["nothing was done"]),
    ...(["unannounced", "unhandled", "addedWrongly"] as const)
      .filter((name) => extra![name]! > 0)
      .map((name) => `${extra![name]} ${name}`)
  ]
})

export default [cuts]

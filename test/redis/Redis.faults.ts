// What room redis promises, and the rooms on it, while links to its servers fail: npm run faults -- F01 --seed 1
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Random from "effect/Random"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { randomUUID } from "node:crypto"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as Fault from "../faults/Fault.ts"
import * as Recorder from "../support/Recorder.ts"
import {
  appliedOf,
  type Feature,
  features,
  heldTooLong,
  type Kind,
  kinds,
  onEachKind,
  plain,
  quiet,
  throughProxies
} from "./FaultKit.ts"

const strayed = ({ strays }: { readonly strays: number }) =>
  strays === 0 ? [] : [`${strays} connections went past the proxies`]

const lostReplies = (kind: Kind) =>
  Fault.scenario({
    id: `F01/${kind}`,
    room: "redis",
    title: "replies are lost after the operation was done, then the connection is cut",
    servers: [kinds[kind]],
    scaled: { operations: 200, fibers: 50 },
    full: { operations: 1_000, fibers: 50 },
    run: ({ fibers, operations }, seed) =>
      Effect.gen(function* () {
        const { direct, links, load, strays } = yield* throughProxies(kind, seed)
        const injected = yield* Ref.make(0)
        const inject = Effect.gen(function* () {
          yield* Effect.sleep(100 + 200 * (yield* Random.next))
          yield* links.dropReplies
          yield* Effect.sleep("200 millis")
          yield* links.heal
          yield* Ref.update(injected, (n) => n + 1)
        })
        const faults = yield* Effect.forkScoped(Effect.forever(inject))
        const all = features()
        const ofFeature = (feature: Feature) =>
          Effect.forEach(
            Array.from({ length: operations }),
            () => Effect.andThen(load.carefully(feature), Effect.sleep("5 millis")),
            { concurrency: fibers, discard: true }
          )
        yield* Effect.forEach(all, ofFeature, { concurrency: "unbounded", discard: true })
        yield* Fiber.interrupt(faults)
        yield* links.heal
        const verdict = yield* load.history.verdict(yield* appliedOf(all, direct))
        const extra = { injected: yield* Ref.get(injected), strays: yield* strays, ...(yield* load.held) }
        return { ...verdict, extra }
      }).pipe(Random.withSeed(seed), quiet),
    judge: ({ acked, extra, unknown }) => [
      ...(unknown > 0 && acked > 0 ? [] : [`${unknown} unknown, ${acked} acknowledged: nothing was met`]),
      ...heldTooLong(extra),
      ...strayed(extra)
    ]
  })

/** Takes out what nobody holds, and tells how much is left, in bytes. */
const memory = Effect.sync(() => {
  setFlagsFromString("--expose-gc")
  const collect = runInNewContext("gc") as () => void
  collect()
  collect()
  const { arrayBuffers, external, heapUsed } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
})

const blackhole = (kind: Kind) =>
  Fault.scenario({
    id: `F02/${kind}`,
    room: "redis",
    title: "nothing passes the links for a while, and nobody is told",
    servers: [kinds[kind]],
    scaled: { holeMillis: 2_200, perSecond: 500 },
    full: { holeMillis: 20_000, perSecond: 500 },
    run: ({ holeMillis, perSecond }, seed) =>
      Effect.gen(function* () {
        const { direct, links, load, strays } = yield* throughProxies(kind, seed)
        const { history } = load
        const answers = yield* Recorder.make<number>()
        const all = plain
        let unsent = 0
        const one = Effect.gen(function* () {
          const id = randomUUID()
          const feature = all[yield* Random.nextIntBetween(0, all.length)]!
          const result = yield* load.once(feature, id)
          if (Result.isSuccess(result)) {
            yield* history.acked(id)
            return yield* Effect.flatMap(Clock.currentTimeMillis, answers.record)
          }
          const { isSafeToRetry, reason } = result.failure
          if (reason._tag === "Unavailable") unsent++
          yield* isSafeToRetry ? history.failed(id) : history.unknown(id)
        })
        const calls = yield* FiberSet.make()
        const clock = yield* Effect.forkScoped(
          Effect.schedule(
            Effect.forEach(Array.from({ length: perSecond / 50 }), () => FiberSet.run(calls, one)),
            Schedule.spaced("20 millis")
          )
        )
        yield* Effect.sleep("300 millis")
        const before = yield* memory
        yield* links.blackhole
        yield* Effect.sleep(holeMillis)
        const held = (yield* memory) - before
        yield* history.healed
        yield* links.heal
        const healed = yield* Clock.currentTimeMillis
        const next = yield* Effect.timeoutOption(
          answers.first((at) => at >= healed),
          "10 seconds"
        )
        yield* Fiber.interrupt(clock)
        yield* FiberSet.awaitEmpty(calls)
        const verdict = yield* history.verdict(yield* appliedOf(all, direct))
        return {
          ...verdict,
          recoverMs: next._tag === "Some" ? next.value - healed : Infinity,
          extra: {
            heldMb: Math.round((held / 1024 / 1024) * 10) / 10,
            unsent,
            strays: yield* strays,
            ...(yield* load.held)
          }
        }
      }).pipe(Random.withSeed(seed), quiet),
    judge: ({ extra, recoverMs, unknown }) => [
      ...heldTooLong(extra),
      ...strayed(extra),
      ...(unknown > 0 ? [] : ["no caller met the hole"]),
      ...(extra.heldMb < 20 ? [] : [`${extra.heldMb} MB are held in the hole`]),
      ...(recoverMs <= 2_000 ? [] : [`first success ${recoverMs} ms after the heal, not within 2000`])
    ]
  })

const cuts = (kind: Kind) =>
  Fault.scenario({
    id: `F12/${kind}`,
    room: "redis",
    title: "every connection lives a second",
    servers: [kinds[kind]],
    scaled: { millis: 2_000, fibers: 4 },
    full: { millis: 120_000, fibers: 8 },
    run: ({ fibers, millis }, seed) =>
      Effect.gen(function* () {
        const { direct, links, load, strays } = yield* throughProxies(kind, seed)
        const all = features()
        /** Operations of each feature for a time, with a pause like that of a caller that has something to do. */
        const forTheTime = Effect.fnUntraced(function* (time: number) {
          const end = (yield* Clock.currentTimeMillis) + time
          const done = yield* Ref.make(0)
          const loop = (feature: Feature) =>
            load
              .carefully(feature)
              .pipe(
                Effect.andThen(Ref.update(done, (n) => n + 1)),
                Effect.andThen(Effect.sleep("5 millis")),
                Effect.repeat({ while: () => Effect.map(Clock.currentTimeMillis, (now) => now < end) })
              )
          const loops = all.flatMap((feature) => Array.from({ length: fibers }, () => loop(feature)))
          yield* Effect.all(loops, { concurrency: "unbounded", discard: true })
          return (yield* Ref.get(done)) / time
        })
        // Links that take their time, so that a cut meets what is on its way.
        yield* links.delay(2)
        const clean = yield* forTheTime(Math.min(1_000, millis / 2))
        const inject = Effect.gen(function* () {
          yield* Effect.sleep(300 + 600 * (yield* Random.next))
          yield* links.cut
        })
        const before = yield* links.accepted
        const faults = yield* Effect.forkScoped(Effect.forever(inject))
        const faulty = yield* forTheTime(millis)
        yield* Fiber.interrupt(faults)
        const dials = (yield* links.accepted) - before
        const verdict = yield* load.history.verdict(yield* appliedOf(all, direct))
        return {
          ...verdict,
          extra: {
            throughput: Math.round((faulty / clean) * 100),
            dialsPerSecond: Math.round((dials / millis) * 10_000) / 10,
            strays: yield* strays,
            ...(yield* load.held)
          }
        }
      }).pipe(Random.withSeed(seed), quiet),
    judge: ({ extra, unknown }) => [
      ...heldTooLong(extra),
      ...strayed(extra),
      ...(unknown > 0 ? [] : ["no operation met a cut"]),
      ...(extra.dialsPerSecond <= 10 ? [] : [`${extra.dialsPerSecond} dials a second`]),
      ...(extra.throughput >= 30 ? [] : [`${extra.throughput} % of the clean throughput, not 30`])
    ]
  })

export default [lostReplies, blackhole, cuts].flatMap((make) => onEachKind(make))

// Calls by name of methods of all four kinds, on a server of bare grpc-js.
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { GrpcReflect } from "xdooria/grpc/live"
import { callAll, callOne, honest, item, itemOf, kinds, type Method, serve, type Wire } from "./Reflected.ts"

const fail = (call: Wire, details: string) =>
  call.emit("error", { code: grpc.status.FAILED_PRECONDITION, details, metadata: new grpc.Metadata() })

/** Gives back what it gets, one by one. */
const echo: Method = (call) => {
  call.on("data", (bytes: Buffer) => call.write(bytes))
  call.on("end", () => call.end())
}

/** As many as asked for; then it fails, if its name is that. */
const watch: Method = (call) =>
  call.on("data", (bytes: Buffer) => {
    const { count, name } = itemOf(bytes)
    for (let n = 1n; n <= count; n++) call.write(item(name, n))
    if (name === "fail") fail(call, "no more")
    else call.end()
  })

const sum: Method = (call) => {
  let total = 0n
  call.on("data", (bytes: Buffer) => (total += itemOf(bytes).count))
  call.on("end", () => {
    call.write(item("sum", total))
    call.end()
  })
}

const methods = {
  "/kinds.Kinds/Echo": echo,
  "/kinds.Kinds/Watch": watch,
  "/kinds.Kinds/Sum": sum,
  "/kinds.Kinds/Talk": echo
}

const started = (changes: Readonly<Record<string, Method>> = {}, version: "v1" | "v1alpha" = "v1") =>
  Effect.map(serve({ ...methods, ...changes }, { reflection: honest(kinds), version }), ({ address }) => ({
    address,
    all: (name: string, request: string) => callAll({ address, method: `kinds.Kinds/${name}`, request }),
    one: (name: string, request: string) => callOne({ address, method: `kinds.Kinds/${name}`, request })
  }))

const namesAndCounts = (all: ReadonlyArray<unknown>) =>
  (all as ReadonlyArray<{ readonly name: string; readonly count: string }>).map(({ count, name }) => `${name} ${count}`)

for (const version of ["v1", "v1alpha"] as const) {
  describe(`a call by name over ${version}`, () => {
    it.live("takes and gives one message", () =>
      Effect.gen(function* () {
        const { one } = yield* started({}, version)
        const request = `{"name":"a","count":"9007199254740993","colour":"COLOUR_RED","parts":{"x":{"kind":1}},"point":{"x":3}}`
        const answer = yield* one("Echo", request)
        assert.include(answer as object, { name: "a", count: "9007199254740993", colour: "COLOUR_RED" })
        assert.deepInclude(answer as object, { parts: { x: { kind: "KIND_SMALL" } }, sizes: [] })
        assert.deepInclude(answer as object, { point: { x: 3, ring: [] } })
      })
    )

    it.live("gives a stream", () =>
      Effect.gen(function* () {
        const { all } = yield* started({}, version)
        assert.deepStrictEqual(namesAndCounts(yield* all("Watch", `{"name":"a","count":3}`)), ["a 1", "a 2", "a 3"])
        assert.deepStrictEqual(yield* all("Watch", ""), [])
      })
    )

    it.live("takes a stream", () =>
      Effect.gen(function* () {
        const { all } = yield* started({}, version)
        const lines = `{"count":1}\n\n  {"count":2}\r\n{"count":4}`
        assert.deepStrictEqual(namesAndCounts(yield* all("Sum", lines)), ["sum 7"])
        assert.deepStrictEqual(namesAndCounts(yield* all("Sum", "")), ["sum 0"])
      })
    )

    it.live("takes and gives streams", () =>
      Effect.gen(function* () {
        const { all } = yield* started({}, version)
        assert.deepStrictEqual(namesAndCounts(yield* all("Talk", `{"name":"a"}\n{"name":"b"}`)), ["a 0", "b 0"])
      })
    )
  })
}

describe("a call by name of a method with streams", () => {
  it.live("sends and gives each message as it comes", () =>
    Effect.gen(function* () {
      const { address } = yield* started()
      const lines = yield* Queue.unbounded<string>()
      const seen = yield* Queue.unbounded<unknown>()
      const { responses, stream } = yield* GrpcReflect.call({
        address,
        method: "kinds.Kinds/Talk",
        requests: Stream.fromQueue(lines)
      })
      assert.isTrue(stream)
      yield* Effect.forkScoped(Stream.runForEach(responses, (json) => Queue.offer(seen, json)))
      // A line in parts; nothing more is said before the answer to it is there.
      for (const name of ["a", "b"]) {
        yield* Queue.offerAll(lines, [`{"name":`, `"${name}"}\n`])
        assert.deepStrictEqual(namesAndCounts([yield* Queue.take(seen)]), [`${name} 0`])
      }
    })
  )

  it.live("gives what came before an error, and then the error", () =>
    Effect.gen(function* () {
      const { address } = yield* started()
      const { responses } = yield* GrpcReflect.call({
        address,
        method: "kinds.Kinds/Watch",
        requests: Stream.succeed(`{"name":"fail","count":2}`)
      })
      const seen: Array<unknown> = []
      const error = yield* Effect.flip(Stream.runForEach(responses, (json) => Effect.sync(() => seen.push(json))))
      assert.deepStrictEqual(namesAndCounts(seen), ["fail 1", "fail 2"])
      assert.strictEqual(error.message, "FAILED_PRECONDITION no more")
    })
  )

  it.live("tells which line is wrong, and cancels", () =>
    Effect.gen(function* () {
      const cancelled = yield* Deferred.make<void>()
      const { all } = yield* started({
        "/kinds.Kinds/Talk": (call) => {
          call.resume()
          call.on("cancelled", () => Deferred.doneUnsafe(cancelled, Effect.void))
        }
      })
      const error = yield* Effect.flip(all("Talk", `{"name":"a"}\n\n{"nam":"b"}`))
      assert.strictEqual(error.code, "INVALID_ARGUMENT")
      assert.match(error.details, /^line 3: .*nam/)
      yield* Deferred.await(cancelled)
    })
  )

  it.live("is not made for one request that does not fit", () =>
    Effect.gen(function* () {
      let calls = 0
      const count: Method = (call) => {
        calls++
        call.resume()
      }
      const { all } = yield* started({ "/kinds.Kinds/Echo": count, "/kinds.Kinds/Watch": count })
      for (const name of ["Echo", "Watch"]) {
        assert.strictEqual((yield* Effect.flip(all(name, `{"nam":"b"}`))).code, "INVALID_ARGUMENT")
      }
      // Behind it, on the same server: what was begun before has arrived.
      yield* all("Talk", "{}")
      assert.strictEqual(calls, 0)
    })
  )

  it.live("fails as its requests do", () =>
    Effect.gen(function* () {
      const { address } = yield* started()
      for (const name of ["Echo", "Talk"]) {
        const { responses } = yield* GrpcReflect.call({
          address,
          method: `kinds.Kinds/${name}`,
          requests: Stream.fail("no input" as const)
        })
        assert.strictEqual(yield* Effect.flip(Stream.runDrain(responses)), "no input")
      }
    })
  )

  it.live("ends when the server ends it, whatever is left to send", () =>
    Effect.gen(function* () {
      const { address } = yield* started({ "/kinds.Kinds/Talk": (call) => call.on("data", () => call.end()) })
      const { responses } = yield* GrpcReflect.call({
        address,
        method: "kinds.Kinds/Talk",
        requests: Stream.concat(Stream.succeed("{}\n"), Stream.never)
      })
      assert.deepStrictEqual(yield* Stream.runCollect(responses), [])
    })
  )

  it.live("is cancelled when it is interrupted, or its responses are not wanted any more", () =>
    Effect.gen(function* () {
      const cancelled = yield* Queue.unbounded<string>()
      const open: Method = (call) => {
        call.on("data", (bytes: Buffer) => call.write(bytes))
        call.on("cancelled", () => Queue.offerUnsafe(cancelled, "cancelled"))
      }
      const { address } = yield* started({ "/kinds.Kinds/Watch": open })
      const begin = GrpcReflect.call({ address, method: "kinds.Kinds/Watch", requests: Stream.succeed("{}") })
      assert.strictEqual((yield* Stream.runCollect(Stream.take((yield* begin).responses, 1))).length, 1)
      yield* Queue.take(cancelled)
      const first = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkScoped(
        Stream.runForEach((yield* begin).responses, () => Deferred.succeed(first, undefined))
      )
      yield* Deferred.await(first)
      yield* Fiber.interrupt(fiber)
      yield* Queue.take(cancelled)
    })
  )

  it.live("has a deadline when it is told, and none otherwise", () =>
    Effect.gen(function* () {
      const deadlines = yield* Queue.unbounded<number>()
      const { address, one } = yield* started({
        "/kinds.Kinds/Watch": (call) => Queue.offerUnsafe(deadlines, Number(call.getDeadline())),
        "/kinds.Kinds/Echo": (call) => {
          Queue.offerUnsafe(deadlines, Number(call.getDeadline()))
          echo(call)
        }
      })
      const options = { address, method: "kinds.Kinds/Watch" }
      const told = yield* Effect.flip(callAll({ ...options, request: "", deadline: "300 millis" }))
      assert.strictEqual(told.code, "DEADLINE_EXCEEDED")
      assert.isTrue(Number.isFinite(yield* Queue.take(deadlines)))
      const { responses } = yield* GrpcReflect.call({ ...options, requests: Stream.empty })
      yield* Effect.forkScoped(Stream.runDrain(responses))
      assert.strictEqual(yield* Queue.take(deadlines), Infinity)
      yield* one("Echo", "")
      assert.isTrue(Number.isFinite(yield* Queue.take(deadlines)))
    })
  )

  it.live("reads no more than it is asked for, and sends no more than is read", () =>
    Effect.gen(function* () {
      const big = "x".repeat(100_000)
      let written = 0
      const full = yield* Queue.unbounded<string>()
      const { address } = yield* started({
        // Writes as long as there is room.
        "/kinds.Kinds/Watch": (call) => {
          const more = () => {
            while (written < 1000) {
              written++
              if (!call.write(item(big, 1n))) break
            }
          }
          call.on("drain", more)
          call.on("data", more)
        },
        // Reads nothing.
        "/kinds.Kinds/Sum": (call) => call.pause()
      })
      const { responses } = yield* GrpcReflect.call({
        address,
        method: "kinds.Kinds/Watch",
        requests: Stream.succeed("{}")
      })
      const gate = yield* Deferred.make<void>()
      const reader = yield* Effect.forkScoped(
        Stream.runForEach(responses, () => Effect.andThen(Queue.offer(full, "read"), Deferred.await(gate)))
      )
      yield* Queue.take(full)
      let sent = 0
      const lines = Stream.map(Stream.rechunk(Stream.range(1, 1000), 1), () => {
        sent++
        return `{"name":"${big}"}\n`
      })
      const summed = yield* GrpcReflect.call({ address, method: "kinds.Kinds/Sum", requests: lines })
      const sender = yield* Effect.forkScoped(Stream.runDrain(summed.responses))
      // Both sides have stopped when nothing moves while a call of another goes to and fro.
      let before = -1
      while (before !== written + sent) {
        before = written + sent
        for (let n = 0; n < 10; n++) yield* callOne({ address, method: "kinds.Kinds/Echo", request: "{}" })
      }
      assert.isBelow(written, 200)
      assert.isBelow(sent, 200)
      yield* Fiber.interruptAll([reader, sender])
    })
  )

  it.live("with one response has exactly one", () =>
    Effect.gen(function* () {
      const { one } = yield* started({
        "/kinds.Kinds/Echo": (call) => call.on("data", () => call.end()),
        "/kinds.Kinds/Sum": (call) => {
          call.write(item("a", 1n))
          call.write(item("b", 1n))
          call.end()
        }
      })
      assert.strictEqual((yield* Effect.flip(one("Echo", ""))).message, "INTERNAL the server gave no response")
      assert.strictEqual(
        (yield* Effect.flip(one("Sum", ""))).message,
        "INTERNAL the server gave more than one response"
      )
    })
  )

  it.live("sends metadata with everything", () =>
    Effect.gen(function* () {
      const seen = yield* Queue.unbounded<ReadonlyArray<unknown>>()
      const { address } = yield* started({
        "/kinds.Kinds/Echo": (call) => {
          Queue.offerUnsafe(seen, [...call.metadata.get("x-tag"), ...call.metadata.get("x-raw-bin")])
          echo(call)
        }
      })
      yield* callOne({
        address,
        method: "kinds.Kinds/Echo",
        request: "",
        metadata: [
          ["x-tag", "a"],
          ["X-Tag", "b"],
          ["x-raw-bin", "/w=="]
        ]
      })
      assert.deepStrictEqual(yield* Queue.take(seen), ["a, b", Buffer.from([0xff])])
    })
  )
})

describe("a list by name", () => {
  for (const version of ["v1", "v1alpha"] as const) {
    it.live(`has all services and the kinds of their methods, over ${version}`, () =>
      Effect.gen(function* () {
        const { address } = yield* started({}, version)
        const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
          name,
          requestStream,
          responseStream
        })
        assert.deepStrictEqual(yield* GrpcReflect.list({ address }), [
          {
            name: "kinds.Kinds",
            methods: [
              method("Echo", false, false),
              method("Watch", false, true),
              method("Sum", true, false),
              method("Talk", true, true)
            ]
          }
        ])
      })
    )
  }
})

// What a client tells of calls that fail on a real connection, and what becomes of its channels.
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as net from "node:net"
import { Grpc, GrpcError } from "xdooria/grpc"
import { layerClientLive } from "xdooria/grpc/live"
import { LoggerTest } from "xdooria/logger"
import { descriptors } from "../../src/gen/descriptors.ts"
import { GameServiceService } from "../../src/gen/game.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import { dial, GameApi, handlers, live, player, response, start } from "./Game.ts"
import * as Reflected from "./Reflected.ts"

const reasonOf = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.instanceOf(error, GrpcError)
    return error.reason
  })

/** A server that counts what it applied, a proxy before it, and a client of that. */
const behindProxy = Effect.gen(function* () {
  const applied: Array<string> = []
  const { address } = yield* start(
    live(),
    handlers({
      gainExp: ({ requestId }: { readonly requestId: string }) =>
        Effect.sync(() => {
          applied.push(requestId)
          return { player: player("p1"), levelsGained: 0 }
        })
    })
  )
  const proxy = yield* FaultProxy.make({ host: "127.0.0.1", port: Number(address.split(":")[1]), seed: 1 })
  const target = `127.0.0.1:${proxy.port}`
  const game = yield* dial(target)
  const gain = (requestId: string) => game.gainExp({ playerId: "p1", requestId, amount: 1n })
  return { applied, proxy, target, game, gain }
})

const carries = (text: string) => (bytes: Buffer) => bytes.includes(text)

describe("a lost reply", () => {
  it.live("of a method that may not be repeated is an unknown outcome, applied or not", () =>
    Effect.gen(function* () {
      const { applied, gain, proxy } = yield* behindProxy
      yield* gain("warm-up")
      yield* proxy.onRequest(carries("applied"), "cutAfterReply")
      yield* proxy.onRequest(carries("cut off"), "cut")
      const reasons = [yield* reasonOf(gain("applied")), yield* reasonOf(gain("cut off"))]
      for (const reason of reasons) {
        assert.include(reason, { _tag: "OutcomeUnknown", code: "UNAVAILABLE", isSafeToRetry: false })
      }
      assert.deepStrictEqual(applied, ["warm-up", "applied"])
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("of a method that may be repeated is safe to retry, and the next call has a new connection", () =>
    Effect.gen(function* () {
      const { game, proxy } = yield* behindProxy
      yield* proxy.onRequest(carries("p-lost"), "cutAfterReply")
      assert.include(yield* reasonOf(game.getPlayer({ playerId: "p-lost" })), {
        _tag: "Unavailable",
        isSafeToRetry: true
      })
      assert.deepStrictEqual(yield* game.getPlayer({ playerId: "p1" }), response("p1"))
      // Each of the four tries had a connection of its own, and the one that came after them.
      assert.strictEqual(yield* proxy.accepted, 5)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("that never comes ends at the deadline", () =>
    Effect.gen(function* () {
      const { game, proxy } = yield* behindProxy
      yield* game.healthCheck({})
      yield* proxy.blackhole
      const write = game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }, { deadline: "50 millis" })
      assert.include(yield* reasonOf(write), { _tag: "OutcomeUnknown", code: "DEADLINE_EXCEEDED" })
      const read = game.getPlayer({ playerId: "p1" }, { deadline: "50 millis" })
      assert.strictEqual((yield* reasonOf(read))._tag, "DeadlineExceeded")
    }).pipe(Effect.provide(LoggerTest))
  )
})

describe("a server that says nothing any more", () => {
  const pinged = (metadata: Readonly<Record<string, string>>) =>
    Effect.gen(function* () {
      const { proxy, target } = yield* behindProxy
      const context = yield* Layer.build(
        layerClientLive({ keepaliveTime: Duration.seconds(1), keepaliveTimeout: Duration.millis(100) })
      )
      const game = yield* Grpc.client(GameApi, { target: Grpc.endpoints([target], metadata) }).pipe(
        Effect.provide(context)
      )
      yield* game.healthCheck({})
      yield* proxy.blackhole
      return yield* reasonOf(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }, { deadline: "3 seconds" }))
    })

  it.live("is left by its connection when it lets clients ping it, and only then", () =>
    Effect.gen(function* () {
      const reasons = yield* Effect.all([pinged({ keepalive: "true" }), pinged({})], { concurrency: 2 })
      assert.deepStrictEqual(
        reasons.map((reason) => (reason._tag === "OutcomeUnknown" ? reason.code : reason._tag)),
        ["UNAVAILABLE", "DEADLINE_EXCEEDED"]
      )
    }).pipe(Effect.provide(LoggerTest))
  )
})

describe("a server that cannot be reached", () => {
  it.live("is told at once, and every call is safe to retry", () =>
    Effect.gen(function* () {
      const game = yield* dial("127.0.0.1:1")
      const reason = yield* reasonOf(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }))
      assert.include(reason, { _tag: "Unavailable", method: "game.GameService/GainExp", isSafeToRetry: true })
    })
  )

  it.live("when its name does not resolve", () =>
    Effect.gen(function* () {
      const game = yield* dial("game.invalid:50051", { allowInsecure: true })
      assert.strictEqual((yield* reasonOf(game.healthCheck({}, { deadline: "5 seconds" })))._tag, "Unavailable")
    })
  )

  it.live("within the deadline is safe to retry too: nothing was sent", () =>
    Effect.gen(function* () {
      const { proxy, target } = yield* behindProxy
      yield* proxy.blackhole
      const game = yield* dial(target)
      const call = game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }, { deadline: "50 millis" })
      assert.include(yield* reasonOf(call), { _tag: "DeadlineExceeded", isSafeToRetry: true })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("for want of a target, or of trust in the network", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(layerClientLive())
      const to = (options: Grpc.ClientOptions) => reasonOf(Grpc.client(GameApi, options).pipe(Effect.provide(context)))
      assert.include(yield* to({}), { _tag: "InvalidTarget", service: "game.GameService" })
      const trusting = yield* Layer.build(layerClientLive({ allowInsecure: true }))
      const odd = yield* reasonOf(Grpc.client(GameApi, { target: "\n" }).pipe(Effect.provide(trusting)))
      assert.strictEqual(odd._tag, "InvalidTarget")
      for (const target of ["game:50051", "dns:///game:50051", "ipv4:127.0.0.1:1,10.0.0.1:1", "[2001:db8::1]:50051"]) {
        assert.include(yield* to({ target }), { _tag: "InsecureTransport", address: target })
      }
      for (const target of ["localhost:1", "dns:///localhost:1", "ipv6:[::1]:1", "unix:/tmp/x", "127.9.9.9:1"]) {
        yield* Grpc.client(GameApi, { target }).pipe(Effect.provide(context))
      }
    }).pipe(Effect.scoped)
  )
})

describe("channels", () => {
  it.live("are shared by clients of the same target, and closed with the last of them", () =>
    Effect.gen(function* () {
      const { proxy, target } = yield* behindProxy
      const context = yield* Layer.build(layerClientLive())
      const [first, second] = yield* Effect.all([Scope.make(), Scope.make()])
      const open = (scope: Scope.Scope) =>
        Grpc.client(GameApi, { target }).pipe(Effect.provide(context), Scope.provide(scope))
      const [one, two] = [yield* open(first), yield* open(second)]
      yield* Effect.all([one.healthCheck({}), two.healthCheck({})], { concurrency: 2 })
      assert.strictEqual(yield* proxy.accepted, 1)
      yield* Scope.close(first, Exit.void)
      yield* two.healthCheck({})
      assert.strictEqual(yield* proxy.accepted, 1)
      yield* Scope.close(second, Exit.void)
      assert.include(yield* reasonOf(two.healthCheck({})), { _tag: "Unavailable", isSafeToRetry: true })
      // The leak check after this file finds a connection that stayed.
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("let a call that is under way end when their scope closes", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const { address } = yield* start(
        live(),
        handlers({
          getPlayer: () =>
            Deferred.succeed(started, undefined).pipe(Effect.andThen(Deferred.await(gate)), Effect.as(response("p1")))
        })
      )
      const scope = yield* Scope.make()
      const game = yield* dial(address).pipe(Scope.provide(scope))
      const call = yield* Effect.forkChild(game.getPlayer({ playerId: "p1" }))
      yield* Deferred.await(started)
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(yield* Fiber.join(call), response("p1"))
    }).pipe(Effect.provide(LoggerTest))
  )
})

const identity = (bytes: Buffer) => bytes

const answer = (
  { request }: grpc.ServerUnaryCall<{ readonly playerId: string }, Buffer>,
  reply: grpc.sendUnaryData<Buffer>
) => {
  const code = Number(request.playerId)
  if (Number.isNaN(code)) reply(null, Buffer.from("garbage"))
  else reply({ code, details: "no rows in result set" })
}

/** A server of grpc-js itself that answers with what the player id says: a status, or bytes. */
const foreign = Effect.map(
  Effect.acquireRelease(
    Effect.callback<readonly [grpc.Server, string]>((resume) => {
      const server = new grpc.Server()
      const { getPlayer, gainExp } = GameServiceService
      server.addService(
        {
          getPlayer: { ...getPlayer, responseSerialize: identity },
          gainExp: { ...gainExp, responseSerialize: identity }
        } as unknown as grpc.ServiceDefinition,
        { getPlayer: answer, gainExp: answer }
      )
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_, port) =>
        resume(Effect.succeed([server, `127.0.0.1:${port}`]))
      )
    }),
    ([server]) => Effect.sync(() => server.forceShutdown())
  ),
  ([, address]) => address
)

describe("a server of another kind", () => {
  const expected: Record<number, readonly [idempotent: string, other: string]> = {
    1: ["Unavailable", "OutcomeUnknown"],
    2: ["UnexpectedStatus", "UnexpectedStatus"],
    3: ["InvalidArgument", "InvalidArgument"],
    4: ["DeadlineExceeded", "OutcomeUnknown"],
    5: ["UnexpectedStatus", "UnexpectedStatus"],
    6: ["UnexpectedStatus", "UnexpectedStatus"],
    7: ["PermissionDenied", "PermissionDenied"],
    8: ["ResourceExhausted", "ResourceExhausted"],
    9: ["UnexpectedStatus", "UnexpectedStatus"],
    10: ["UnexpectedStatus", "UnexpectedStatus"],
    11: ["UnexpectedStatus", "UnexpectedStatus"],
    12: ["Unimplemented", "Unimplemented"],
    13: ["Internal", "Internal"],
    14: ["Unavailable", "OutcomeUnknown"],
    15: ["UnexpectedStatus", "UnexpectedStatus"],
    16: ["Unauthenticated", "Unauthenticated"],
    99: ["UnexpectedStatus", "UnexpectedStatus"]
  }

  it.live("is told by its status; its text stays out of the message", () =>
    Effect.gen(function* () {
      const game = yield* dial(yield* foreign)
      for (const [playerId, tags] of Object.entries(expected)) {
        const read = yield* reasonOf(game.getPlayer({ playerId }))
        const write = yield* reasonOf(game.gainExp({ playerId, requestId: "r1", amount: 1n }))
        assert.deepStrictEqual([read._tag, write._tag], [...tags], playerId)
        for (const reason of [read, write]) {
          assert.strictEqual("details" in reason && reason.details, "no rows in result set")
          assert.notInclude(reason.message, "rows")
        }
      }
    })
  )

  it.live("whose response does not decode has applied the call, and its reply is lost", () =>
    Effect.gen(function* () {
      const game = yield* dial(yield* foreign)
      const read = yield* reasonOf(game.getPlayer({ playerId: "p1" }))
      const write = yield* reasonOf(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }))
      assert.include(read, { _tag: "Internal", isSafeToRetry: true })
      assert.include(write, { _tag: "OutcomeUnknown", code: "INTERNAL" })
    })
  )
})

/** A server of grpc-js itself that applies a call, begins an answer or not, and ends with a status without entries. */
const applying = (begins: boolean, statuses: ReadonlyArray<readonly [code: number, details: string]>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<readonly [grpc.Server, string, () => number]>((resume) => {
        const server = new grpc.Server()
        let applied = 0
        const { gainExp } = GameServiceService
        server.addService({ gainExp } as unknown as grpc.ServiceDefinition, {
          gainExp: (call: grpc.ServerUnaryCall<unknown, unknown>, reply: grpc.sendUnaryData<unknown>) => {
            const [code, details] = statuses[applied++]!
            if (begins) call.sendMetadata(new grpc.Metadata())
            reply({ code, details })
          }
        })
        server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_, port) =>
          resume(Effect.succeed([server, `127.0.0.1:${port}`, () => applied]))
        )
      }),
      ([server]) => Effect.sync(() => server.forceShutdown())
    ),
    ([, address, applied]) => ({ address, applied })
  )

describe("a server that speaks in the driver's words", () => {
  const statuses = [
    [14, "Stream refused by server"],
    [13, "Stream refused by server"],
    [8, "Stream refused by server"],
    [4, "Deadline exceeded after 0.5s,waiting for name resolution"],
    [4, "Deadline exceeded after 0.5s,Waiting for LB pick"],
    [14, "No connection established. Last error: x"],
    [14, "Name resolution failed for target dns:x"]
  ] as const
  for (const begins of [true, false]) {
    it.live(`does not make an applied call safe to retry, ${begins ? "at the end of an answer" : "at once"}`, () =>
      Effect.gen(function* () {
        const { address, applied } = yield* applying(begins, statuses)
        const game = yield* dial(address)
        for (const [i, [code, details]] of statuses.entries()) {
          const reason = yield* reasonOf(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }))
          assert.include(reason, { details, isSafeToRetry: false }, `${code} ${details}`)
          assert.strictEqual(applied(), i + 1)
        }
      })
    )
  }
})

describe("a proxy of the environment", () => {
  const names = ["grpc_proxy", "https_proxy", "http_proxy"] as const
  const exempt = ["no_grpc_proxy", "no_proxy"] as const

  /** A listener that the environment names as proxy, while the scope is open; gives how many connected to it. */
  const proxied = Effect.acquireRelease(
    Effect.callback<{ readonly seen: () => number; readonly restore: () => void }>((resume) => {
      let connections = 0
      const server = net.createServer((socket) => {
        connections++
        socket.destroy()
      })
      server.listen(0, "127.0.0.1", () => {
        const before = { ...process.env }
        const { port } = server.address() as net.AddressInfo
        for (const name of names) process.env[name] = `http://127.0.0.1:${port}`
        for (const name of exempt) delete process.env[name]
        const restore = () => {
          for (const name of [...names, ...exempt]) {
            if (before[name] === undefined) delete process.env[name]
            else process.env[name] = before[name]
          }
          server.close()
        }
        resume(Effect.succeed({ seen: () => connections, restore }))
      })
    }),
    ({ restore }) => Effect.sync(restore)
  )

  it.live("gets nothing of a call in plain text", () =>
    Effect.gen(function* () {
      const { address } = yield* start(live(), handlers({}), { descriptors })
      const { seen } = yield* proxied
      const game = yield* dial(address)
      const metadata = { authorization: "Bearer canary" }
      yield* game.healthCheck({}, { metadata })
      const method = "game.GameService/HealthCheck"
      yield* Reflected.callOne({
        address,
        method,
        request: "",
        deadline: "10 seconds",
        metadata: Object.entries(metadata)
      })
      assert.strictEqual(seen(), 0)
    }).pipe(Effect.provide(LoggerTest))
  )
})

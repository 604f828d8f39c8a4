import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as Net from "node:net"
import * as Leaks from "./Leaks.ts"

describe("Leaks", () => {
  it("finds a fiber that waits for ever, and forgets it when it has ended", async () => {
    const before = Leaks.snapshot()
    const gate = Deferred.makeUnsafe<void>()
    const fiber = Effect.runFork(Deferred.await(gate))
    const [leak] = Leaks.since(before)
    assert.match(leak ?? "", /^fiber \d+ at .*Leaks\.test\.ts/)
    await Effect.runPromise(Fiber.interrupt(fiber))
    assert.deepStrictEqual(await Leaks.settle(before, 1_000), [])
  })

  it("counts fibers under layers and forks of forks", async () => {
    const before = Leaks.snapshot()
    const fiber = Effect.runFork(Effect.andThen(Effect.forkDetach(Effect.never), Effect.never))
    assert.lengthOf(Leaks.since(before), 2)
    await Effect.runPromise(Fiber.interrupt(fiber))
    const [detached] = Leaks.since(before)
    assert.match(detached ?? "", /^fiber/)
    for (const leaked of Leaks.snapshot()) {
      if (!before.has(leaked)) await Effect.runPromise(Fiber.interrupt(leaked as Fiber.Fiber<void>))
    }
    assert.deepStrictEqual(await Leaks.settle(before, 1_000), [])
  })

  it("finds a timer", async () => {
    const before = Leaks.snapshot()
    const timer = setTimeout(() => {}, 60_000)
    assert.match(Leaks.since(before).join("\n"), /^timer at .*Leaks\.test\.ts:\d+:\d+/)
    clearTimeout(timer)
    assert.deepStrictEqual(Leaks.since(before), [])
  })

  it("sees no timer that has fired, nor one that keeps nothing alive", async () => {
    const before = Leaks.snapshot()
    setTimeout(() => {}, 60_000).unref()
    await new Promise((resolve) => setTimeout(resolve, 1))
    assert.deepStrictEqual(await Leaks.settle(before, 1_000), [])
  })

  it("finds a listener and a socket, and waits for them to close", async () => {
    const before = Leaks.snapshot()
    const server = Net.createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    const socket = Net.connect((server.address() as Net.AddressInfo).port, "127.0.0.1")
    await once(socket, "connect")
    assert.match(Leaks.since(before).join("\n"), /Socket from \d+ to 127\.0\.0\.1:\d+/)
    assert.match(Leaks.since(before).join("\n"), /Server/)
    socket.destroy()
    server.close()
    assert.deepStrictEqual(await Leaks.settle(before, 1_000), [])
  })

  it("finds a child process", async () => {
    const before = Leaks.snapshot()
    const child = spawn("sleep", ["60"], { stdio: "ignore" })
    assert.match(Leaks.since(before).join("\n"), new RegExp(`ChildProcess sleep with id ${child.pid}`))
    child.kill()
    assert.deepStrictEqual(await Leaks.settle(before, 1_000), [])
  })

  it("gives up waiting and tells", async () => {
    const before = Leaks.snapshot()
    const timer = setTimeout(() => {}, 60_000)
    assert.lengthOf(await Leaks.settle(before, 30), 1)
    clearTimeout(timer)
  })
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ports from "./Ports.ts"

describe("Ports", () => {
  it.effect("gives ports below those of outgoing connections", () =>
    Effect.gen(function* () {
      const ports = yield* Effect.all(
        Array.from({ length: 20 }, () => Ports.free),
        { concurrency: "unbounded" }
      )
      for (const port of ports) assert.isTrue(port >= Ports.lowest && port <= Ports.highest)
    })
  )
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fault from "./Fault.ts"

const clean: Fault.Measured = { acked: 1, lost: 0, duplicated: 0, unknown: 0, maxOutageMs: 0, recoverMs: 0 }

const scenario = <E>(run: (params: number, seed: number) => Effect.Effect<Fault.Measured, E>) =>
  Fault.scenario({
    id: "F00",
    room: "none",
    title: "an example",
    scaled: 1,
    full: 2,
    run,
    judge: (measured) => (measured.acked === 0 ? ["nothing was acknowledged"] : [])
  })

describe("Fault", () => {
  it("passes the size's parameters and the seed, and has no complaints about a clean run", async () => {
    const seen: Array<ReadonlyArray<number>> = []
    const example = scenario((params, seed) => {
      seen.push([params, seed])
      return Effect.succeed(clean)
    })
    const result = await example.execute("scaled", 7)
    await example.execute("full", 8)
    assert.deepStrictEqual(seen, [
      [1, 7],
      [2, 8]
    ])
    assert.deepStrictEqual(result, { ...clean, id: "F00", seed: 7, leaks: 0, uncaught: 0, complaints: [] })
  })

  it("refuses lost, duplicated and phantom operations and asks the scenario's own judge", async () => {
    const broken = { ...clean, acked: 0, lost: 1, duplicated: 2, phantom: 3 }
    const { complaints } = await scenario(() => Effect.succeed(broken)).execute("scaled", 1)
    assert.deepStrictEqual(complaints, ["1 lost", "2 duplicated", "3 phantom", "nothing was acknowledged"])
  })

  it("tells of a run that fails", async () => {
    const { complaints } = await scenario(() => Effect.fail("no server")).execute("scaled", 1)
    assert.match(complaints[0] ?? "", /did not end.*no server/s)
  })

  it("counts what it leaves behind", async () => {
    let timer: NodeJS.Timeout | undefined
    const { complaints, leaks } = await scenario(() =>
      Effect.sync(() => {
        timer = setTimeout(() => {}, 60_000)
        return clean
      })
    ).execute("scaled", 1)
    clearTimeout(timer)
    assert.strictEqual(leaks, 1)
    assert.match(complaints.join("\n"), /^left behind: timer at .*Fault\.test\.ts/)
  })
})

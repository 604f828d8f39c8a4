import { assert, describe, it } from "@effect/vitest"
import * as RealServer from "../support/RealServer.ts"
import * as Servers from "../support/Servers.ts"
import type { Scenario } from "./Fault.ts"

/** One test for each scenario: run once, scaled, with seed 1. Called by test/<room>/<Room>.fault.test.ts. */
export const suite = (scenarios: ReadonlyArray<Scenario>): void => {
  for (const scenario of scenarios) {
    const name = `${scenario.id} ${scenario.title}`
    const missing = scenario.servers.find((server) => Servers.isMissing(Servers.servers[server]))
    if (missing !== undefined) {
      RealServer.suite(missing, name, () => {})
      continue
    }
    describe(scenario.room, () => {
      it(name, { timeout: 120_000 }, async () => {
        const result = await scenario.execute("scaled", 1)
        assert.deepStrictEqual(result.complaints, [], JSON.stringify(result, undefined, 2))
      })
    })
  }
}

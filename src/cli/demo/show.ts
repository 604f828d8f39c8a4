import type { Standing } from "../../gen/game.ts"
import type { Tally } from "./Tally.ts"

const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

const counted = (count: number): string => count.toLocaleString("en")

/** The kinds of failures with their numbers, the most frequent first. */
const failuresOf = ({ failures }: Tally): string =>
  failures.size === 0
    ? "none"
    : [...failures]
        .toSorted(([, one], [, other]) => other - one)
        .map(([kind, count]) => `${kind} ${counted(count)}`)
        .join(", ")

/** What a second was like, as rows of a name and a value. */
export const rowsOf = (tally: Tally, passed: number, all: number): ReadonlyArray<readonly [string, string]> => {
  const { calls, half, most } = tally.second()
  return [
    ["second", `${passed} of ${all}`],
    ["connected", `${tally.connected} of ${tally.players}`],
    ["calls/s", counted(calls)],
    ["p50, p99", `${half} ms, ${most} ms`],
    ["changes", counted(tally.changes)],
    ["pushes", counted(tally.pushes)],
    ["longest away", seconds(tally.longestAway)],
    ["failed tries", failuresOf(tally)]
  ]
}

/** The rows on one line. */
export const lineOf = (rows: ReturnType<typeof rowsOf>): string =>
  rows.map(([name, value]) => `${name} ${value}`).join("  ")

/** The rows as a table, with the first of the board beside. Each line clears what it replaces. */
export const tableOf = (rows: ReturnType<typeof rowsOf>, top: ReadonlyArray<Standing>): string =>
  [
    ...rows.map(([name, value]) => `${name.padEnd(14)}${value}`),
    "",
    "the arena",
    ...top.map(
      ({ playerId, rank, score }) => `${String(rank).padStart(3)}  ${counted(Number(score)).padStart(10)}  ${playerId}`
    )
  ]
    .map((line) => `${line}\u001b[K\n`)
    .join("")

/** What it all came to. */
export const summaryOf = (tally: Tally, faults: ReadonlyArray<string>): string => {
  const verdict =
    faults.length === 0
      ? `reconciliation: clean, ${counted(tally.changes)} acknowledged changes are there once, and balances are their ledgers`
      : `reconciliation: ${faults.length} differences`
  return [
    `${counted(tally.calls)} calls, ${counted(tally.changes)} changes, ${counted(tally.connections)} connections, ${counted(tally.pushes)} pushes`,
    `failed tries: ${failuresOf(tally)}`,
    `longest time without a connection: ${seconds(tally.longestAway)}`,
    verdict,
    ...faults.slice(0, 20).map((fault) => `  ${fault}`)
  ].join("\n")
}

// npm run bench -- <room>: runs test/<room>/<Room>.bench.ts, prints a table and writes results/<room>.json.
import { fork, type ChildProcess } from "node:child_process"
import { globSync, mkdirSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { fileURLToPath, pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import type { Comparison, Target } from "./Bench.ts"
import type { Order, Report } from "./part.ts"
import { median, type Ratio, ratioOf, rotate, type Sample, summarize, type Summary } from "./Statistics.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** The name under which the baseline takes part a second time: what it differs from 1 by is noise. */
const control = "(again)"

/**
 * How warm a candidate has to be, as code that is not compiled yet costs ten times as much: so many slices at least, then
 * on until so many calls were made, but not for longer than that.
 */
const warmth = { slices: 3, calls: 30_000, millis: 20_000 }

/** How often a server is started anew to be measured, at most: memory hardly differs from start to start. */
const mostStarts = 5

interface Part {
  readonly ready: unknown
  readonly ask: <R extends Report>(order: Order) => Promise<R>
  readonly stop: () => Promise<void>
}

const reportOf = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const gone = (code: number | null) => reject(new Error(`a part of the benchmark ended with ${code}`))
    child.once("exit", gone)
    child.once("message", (report) => {
      child.off("exit", gone)
      resolve(report)
    })
  })

const start = async (args: ReadonlyArray<string>): Promise<Part> => {
  const child = fork(fileURLToPath(new URL("part.ts", import.meta.url)), args, {
    execArgv: ["--conditions=xdooria-source", "--expose-gc"]
  })
  const ready = ((await reportOf(child)) as { readonly ready: unknown }).ready
  return {
    ready,
    ask: (order) => {
      const report = reportOf(child)
      child.send(order)
      return report as Promise<never>
    },
    stop: () =>
      new Promise((resolve) => {
        child.once("exit", () => resolve())
        child.disconnect()
      })
  }
}

/** A candidate at work: the process that does the load, and the one whose CPU counts. */
interface Contender {
  readonly label: string
  readonly candidate: string
  readonly load: Part
  readonly measured: Part
  readonly stop: () => Promise<void>
  readonly samples: Array<Sample>
}

const enter = async (file: string, comparison: Comparison, label: string, candidate: string): Promise<Contender> => {
  const args = [file, comparison.name, candidate]
  if (comparison.server === undefined) {
    const load = await start([...args, "load"])
    return { label, candidate, load, measured: load, stop: load.stop, samples: [] }
  }
  const server = await start([...args, "server"])
  const load = await start([...args, "load", JSON.stringify(server.ready)])
  const measured = comparison.measured === "load's CPU" ? load : server
  return {
    label,
    candidate,
    load,
    measured,
    stop: async () => void (await load.stop(), await server.stop()),
    samples: []
  }
}

const slice = async ({ load, measured }: Contender, millis: number): Promise<Sample> => {
  const before = await measured.ask<{ user: number; system: number }>("cpu")
  const { calls, seconds } = await load.ask<{ calls: number; seconds: number }>({ slice: millis })
  const after = await measured.ask<{ user: number; system: number }>("cpu")
  return {
    perSecond: calls / seconds,
    user: (after.user - before.user) / calls,
    system: (after.system - before.system) / calls
  }
}

const warm = async ({ load }: Contender, millis: number): Promise<void> => {
  const begin = performance.now()
  let made = 0
  for (let slices = 0; slices < warmth.slices || made < warmth.calls; slices++) {
    if (slices >= warmth.slices && performance.now() - begin > warmth.millis) return
    const { calls } = await load.ask<{ calls: number; seconds: number }>({ slice: millis })
    made += calls
  }
}

/** The candidates as they take part: the baseline twice. */
const entriesOf = ({ candidates }: Comparison): ReadonlyArray<readonly [label: string, candidate: string]> =>
  candidates.flatMap((candidate, index) =>
    index === 0
      ? [
          [candidate, candidate],
          [`${candidate} ${control}`, candidate]
        ]
      : [[candidate, candidate]]
  )

const range = ({ median, min, max }: Ratio) => `${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`

/** What came of a candidate: its row of the table, its ratios to the baseline, and what they were made of. */
interface Outcome {
  readonly label: string
  readonly candidate: string
  readonly row: Readonly<Record<string, string | number>>
  readonly ratios: Readonly<Partial<Record<keyof Target, Ratio>>>
  readonly samples: ReadonlyArray<unknown>
}

const rowOf = ({ perSecond, user, system, more, throughput, cpu }: Summary) => ({
  "calls/s": Math.round(perSecond),
  "against the baseline": range(throughput),
  "user us/call": user.toFixed(1),
  "system us/call": system.toFixed(1),
  "CPU against the baseline": range(cpu),
  "us/call more": more.toFixed(1)
})

const compare = async (
  file: string,
  comparison: Comparison,
  rounds: number,
  millis: number
): Promise<ReadonlyArray<Outcome>> => {
  const contenders: Array<Contender> = []
  for (const [label, candidate] of entriesOf(comparison)) {
    contenders.push(await enter(file, comparison, label, candidate))
  }
  for (const contender of contenders) await warm(contender, millis)
  for (let round = 0; round < rounds; round++) {
    for (const contender of rotate(contenders, round)) contender.samples.push(await slice(contender, millis))
  }
  for (const { stop } of contenders) await stop()
  return contenders.map(({ label, candidate, samples }) => {
    const summary = summarize(samples, contenders[0]!.samples)
    return { label, candidate, samples, row: rowOf(summary), ratios: summary }
  })
}

/** What a server holds when the load is there, in bytes. */
const hold = async (file: string, comparison: Comparison, candidate: string): Promise<number> => {
  const { measured, stop } = await enter(file, comparison, candidate, candidate)
  const { bytes } = await measured.ask<{ bytes: number }>("memory")
  await stop()
  return bytes
}

const megabyte = 1024 * 1024

const compareMemory = async (file: string, comparison: Comparison, rounds: number): Promise<ReadonlyArray<Outcome>> => {
  const contenders = entriesOf(comparison).map(([label, candidate]) => ({
    label,
    candidate,
    samples: new Array<number>()
  }))
  for (let round = 0; round < rounds; round++) {
    for (const { candidate, samples } of rotate(contenders, round))
      samples.push(await hold(file, comparison, candidate))
  }
  return contenders.map(({ label, candidate, samples }) => {
    const memory = ratioOf(samples, contenders[0]!.samples)
    return {
      label,
      candidate,
      samples,
      row: { MB: Math.round(median(samples) / megabyte), "against the baseline": range(memory) },
      ratios: { memory }
    }
  })
}

const targets = [
  {
    key: "throughput",
    what: "calls per second",
    isMet: (ratio: number, target: number) => ratio >= target,
    wanted: "more"
  },
  { key: "cpu", what: "CPU per call", isMet: (ratio: number, target: number) => ratio <= target, wanted: "less" },
  { key: "memory", what: "memory", isMet: (ratio: number, target: number) => ratio <= target, wanted: "less" }
] as const

/** One line for each target, and whether all were met. */
const judge = (comparison: Comparison, outcomes: ReadonlyArray<Outcome>): boolean => {
  let met = true
  for (const { label, candidate, ratios } of outcomes) {
    for (const { isMet, key, wanted, what } of targets) {
      const target = label === candidate ? comparison.targets[candidate]?.[key] : undefined
      if (target === undefined) continue
      const ratio = ratios[key]!.median
      const ok = isMet(ratio, target)
      const verdict = `${what} ${ratio.toFixed(2)} of the baseline, wanted ${target} or ${wanted}`
      console.log(`${ok ? "met" : "MISSED"}: ${candidate}, ${verdict}`)
      met &&= ok
    }
  }
  return met
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "15" },
    millis: { type: "string", default: "1000" },
    only: { type: "string" }
  }
})
const [room] = positionals
const [file] = room === undefined ? [] : globSync(`test/${room}/*.bench.ts`, { cwd: root })
if (file === undefined) {
  const rooms = globSync("test/*/*.bench.ts", { cwd: root }).map((path) => path.split("/")[1])
  console.error(`usage: npm run bench -- <room> [--rounds 15] [--millis 1000] [--only <part of a name>]`)
  console.error(`rooms: ${rooms.join(", ")}`)
  process.exit(2)
}

const path = root + file
const module = (await import(pathToFileURL(path).href)) as { readonly default: ReadonlyArray<Comparison> }
const rounds = Number(values.rounds)
const millis = Number(values.millis)
const results: Array<object> = []
let met = true
for (const comparison of module.default.filter(({ name }) => name.includes(values.only ?? ""))) {
  const isOfMemory = comparison.measured === "server's memory"
  const times = isOfMemory ? Math.min(rounds, mostStarts) : rounds
  const how = isOfMemory ? `${times} rounds` : `${times} rounds of ${millis} ms each`
  console.log(`\n${comparison.name}: ${how}, median (range of the rounds)`)
  const outcomes = isOfMemory
    ? await compareMemory(path, comparison, times)
    : await compare(path, comparison, times, millis)
  console.table(Object.fromEntries(outcomes.map(({ label, row }) => [label, row])))
  met = judge(comparison, outcomes) && met
  results.push({ comparison: comparison.name, rounds: times, millis, outcomes })
}

const folder = `${root}test/bench/results`
mkdirSync(folder, { recursive: true })
writeFileSync(
  `${folder}/${room}.json`,
  JSON.stringify({ node: process.version, cores: availableParallelism(), results }, undefined, 2)
)
console.log(`written: test/bench/results/${room}.json`)
process.exitCode = met ? 0 : 1

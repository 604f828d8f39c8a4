// npm run bench -- <room>: runs test/<room>/<Room>.bench.ts, prints a table and writes results/<room>.json.
import { fork, type ChildProcess } from "node:child_process"
import { globSync, mkdirSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { fileURLToPath, pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import type { Comparison } from "./Bench.ts"
import type { Order, Report } from "./part.ts"
import { rotate, type Sample, summarize, type Summary } from "./Statistics.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** The name under which the baseline takes part a second time: what it differs from 1 by is noise. */
const control = "(again)"

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
    execArgv: ["--conditions=xdooria-source"]
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
  readonly samples: Array<Sample>
}

const enter = async (file: string, comparison: Comparison, label: string, candidate: string): Promise<Contender> => {
  const args = [file, comparison.name, candidate]
  if (comparison.server === undefined) {
    const load = await start([...args, "load"])
    return { label, candidate, load, measured: load, samples: [] }
  }
  const server = await start([...args, "server"])
  const load = await start([...args, "load", JSON.stringify(server.ready)])
  return { label, candidate, load, measured: server, samples: [] }
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

const compare = async (file: string, comparison: Comparison, rounds: number, millis: number) => {
  const [baseline] = comparison.candidates
  const contenders: Array<Contender> = []
  for (const candidate of comparison.candidates) {
    contenders.push(await enter(file, comparison, candidate, candidate))
    if (candidate === baseline) contenders.push(await enter(file, comparison, `${candidate} ${control}`, candidate))
  }
  for (let warming = 0; warming < 3; warming++) for (const contender of contenders) await slice(contender, millis)
  for (let round = 0; round < rounds; round++) {
    for (const contender of rotate(contenders, round)) contender.samples.push(await slice(contender, millis))
  }
  await Promise.all(
    contenders.flatMap(({ load, measured }) => [...new Set([load, measured])].map((part) => part.stop()))
  )
  return contenders.map(({ label, candidate, samples }) => ({
    label,
    candidate,
    samples,
    summary: summarize(samples, contenders[0]!.samples)
  }))
}

type Outcome = Awaited<ReturnType<typeof compare>>

const range = ({ median, min, max }: Summary["cpu"]) => `${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`

const figures = ({ perSecond, user, system, throughput, cpu }: Summary) => ({
  "calls/s": Math.round(perSecond),
  "against the baseline": range(throughput),
  "user us/call": user.toFixed(1),
  "system us/call": system.toFixed(1),
  "CPU against the baseline": range(cpu)
})

/** One line for each target, and whether all were met. */
const judge = (comparison: Comparison, outcome: Outcome): boolean => {
  let met = true
  const line = (name: string, what: string, ratio: number, ok: boolean, wanted: string) => {
    console.log(`${ok ? "met" : "MISSED"}: ${name}, ${what} ${ratio.toFixed(2)} of the baseline, wanted ${wanted}`)
    met &&= ok
  }
  for (const { label, candidate, summary } of outcome) {
    const target = label === candidate ? comparison.targets[candidate] : undefined
    const { throughput, cpu } = target ?? {}
    if (throughput !== undefined) {
      const ratio = summary.throughput.median
      line(candidate, "calls per second", ratio, ratio >= throughput, `${throughput} or more`)
    }
    if (cpu !== undefined)
      line(candidate, "CPU per call", summary.cpu.median, summary.cpu.median <= cpu, `${cpu} or less`)
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
  console.log(`\n${comparison.name}: ${rounds} rounds of ${millis} ms each, median (range of the rounds)`)
  const outcome = await compare(path, comparison, rounds, millis)
  console.table(Object.fromEntries(outcome.map(({ label, summary }) => [label, figures(summary)])))
  met = judge(comparison, outcome) && met
  results.push({ comparison: comparison.name, rounds, millis, outcome })
}

const folder = `${root}test/bench/results`
mkdirSync(folder, { recursive: true })
writeFileSync(
  `${folder}/${room}.json`,
  JSON.stringify({ node: process.version, cores: availableParallelism(), results }, undefined, 2)
)
console.log(`written: test/bench/results/${room}.json`)
process.exitCode = met ? 0 : 1

// Redis servers as processes of this machine, on loopback: alone, as a cluster, and with sentinels. For tests that need
// one of their own, because they kill it or configure it, and for those that all tests share (infra/redis.ts).
import * as Effect from "effect/Effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { run, Unavailable } from "../infra/Server.ts"
import * as Ports from "./Ports.ts"
import * as ServerProcess from "./ServerProcess.ts"
import { ask, folderIn, folderOr, freePorts, holdsForAll, host, type Node, settles, together } from "./ServerProcess.ts"

export type { Node } from "./ServerProcess.ts"

/** Where a server keeps its data and what it is told beyond that. */
export interface Options {
  /** A folder that is there; one of its own unless told otherwise, removed when the scope closes. */
  readonly folder?: string
  /** More arguments of redis-server, after those of this file, which they override: `["--appendonly", "yes"]`. */
  readonly args?: ReadonlyArray<string>
  /** Whether its port speaks TLS, and only that; the certificates are among the arguments. */
  readonly tls?: boolean
}

/** Starts one and waits until it takes commands, which a sentinel does when it watches. */
const launch = (folder: string, port: number, args: ReadonlyArray<string>) =>
  ServerProcess.launch({
    program: "redis-server",
    args,
    folder,
    port,
    ready: /Ready to accept connections|\+monitor master/,
    client: ["redis-cli", "-h", host, "-p", String(port)]
  })

/**
 * Arguments of every server but a sentinel. Nothing is kept, a replica has its copy at once, an end does not wait for
 * replicas, and the command line stays as it is, so that it names the folder.
 */
const common: Readonly<Record<string, string>> = {
  "--bind": host,
  "--save": "",
  "--appendonly": "no",
  "--repl-diskless-sync": "yes",
  "--repl-diskless-sync-delay": "0",
  "--repl-ping-replica-period": "1",
  "--shutdown-timeout": "0",
  "--set-proc-title": "no"
}

const argsOf = (folder: string, port: number, { args = [], tls = false }: Options): ReadonlyArray<string> => [
  ...Object.entries({ ...common, "--dir": folder }).flat(),
  ...(tls ? ["--port", "0", "--tls-port", String(port)] : ["--port", String(port)]),
  ...args
]

/**
 * One server, without a password.
 *
 * Fails with Unavailable when redis-server is not on the path or does not take its arguments. Killed, and its data
 * removed, when the scope closes.
 */
export const start = Effect.fnUntraced(function* (options: Options = {}) {
  const folder = yield* folderOr(options.folder)
  const port = yield* Ports.free
  return yield* launch(folder, port, argsOf(folder, port, options))
})

/** Starts one in a folder inside, named by its port. */
const launchIn = (folder: string, port: number, args: (own: string) => ReadonlyArray<string>) =>
  Effect.flatMap(folderIn(folder, port), (own) => launch(own, port, args(own)))

/** The lines of what redis-cli prints. */
const linesOf = (printed: string): ReadonlyArray<string> => printed.split("\n").map((line) => line.trim())

/** The copies of a primary are whole and current; a replica has one. */
const isReplicated = (node: Node, replicas: number): Effect.Effect<boolean, Unavailable> =>
  Effect.map(node.command("INFO", "replication"), (printed) => {
    const lines = linesOf(printed)
    if (lines.includes("role:slave")) return lines.includes("master_link_status:up")
    return lines.filter((line) => /^slave\d+:.*state=online/.test(line)).length === replicas
  })

/** A member of a cluster, as another one sees it. */
interface Member {
  readonly id: string
  readonly port: number
  readonly isPrimary: boolean
  /** The id of the one whose copy it is; "-" for a primary. */
  readonly copyOf: string
  /** First and last of each range. */
  readonly slots: ReadonlyArray<readonly [number, number]>
}

/** Reads the answer of CLUSTER NODES; those that are believed to have failed are left out. */
const membersOf = (printed: string): ReadonlyArray<Member> =>
  linesOf(printed)
    .map((line) => line.split(" "))
    .filter(([, , flags = "fail"]) => !/fail|handshake|noaddr/.test(flags))
    .map(([id = "", address = "", flags = "", copyOf = "", , , , , ...slots]) => ({
      id,
      port: Number(/:(\d+)@/.exec(address)?.[1]),
      isPrimary: flags.includes("master"),
      copyOf,
      slots: slots
        .filter((range) => !range.startsWith("["))
        .map((range) => range.split("-").map(Number))
        .map(([first = 0, last = first]) => [first, last] as const)
    }))

/** Six servers: three primaries with a third of the keys each, and a replica of each. */
export interface Cluster {
  readonly nodes: ReadonlyArray<Node>
  /** The primary that has a key now, as the first node that runs sees it; fails while none knows one. */
  readonly primaryOf: (key: string) => Effect.Effect<Node, Unavailable>
  /** The replica of a primary; fails while it has none. */
  readonly replicaOf: (primary: Node) => Effect.Effect<Node, Unavailable>
  /**
   * Waits until all nodes run, each sees the same whole cluster, and each primary has its replica with a current copy;
   * fails after 30 seconds.
   */
  readonly settled: Effect.Effect<void, Unavailable>
}

const primaryCount = 3

const isWhole = (node: Node) =>
  Effect.gen(function* () {
    const info = linesOf(yield* node.command("CLUSTER", "INFO"))
    const members = membersOf(yield* node.command("CLUSTER", "NODES"))
    const primaries = members.filter(({ isPrimary, slots }) => isPrimary && slots.length > 0)
    return (
      info.includes("cluster_state:ok") &&
      members.length === 2 * primaryCount &&
      primaries.length === primaryCount &&
      primaries.every(({ id }) => members.some(({ copyOf }) => copyOf === id)) &&
      (yield* isReplicated(node, 1))
    )
  })

const clusterOf = (nodes: ReadonlyArray<Node>): Cluster => {
  const find = (choose: (members: ReadonlyArray<Member>) => Member | undefined, printed: string) => {
    const member = choose(membersOf(printed))
    const node = nodes.find(({ port }) => port === member?.port)
    return node === undefined
      ? Effect.fail(new Unavailable({ message: "the cluster has no such node now" }))
      : Effect.succeed(node)
  }
  return {
    nodes,
    primaryOf: (key) =>
      ask(nodes, (node) =>
        Effect.gen(function* () {
          const slot = Number(yield* node.command("CLUSTER", "KEYSLOT", key))
          return yield* find(
            (members) => members.find(({ slots }) => slots.some(([first, last]) => first <= slot && slot <= last)),
            yield* node.command("CLUSTER", "NODES")
          )
        })
      ),
    replicaOf: (primary) =>
      ask(nodes, (node) =>
        Effect.flatMap(node.command("CLUSTER", "NODES"), (printed) =>
          find((members) => {
            const id = members.find(({ port }) => port === primary.port)?.id
            return members.find(({ copyOf }) => copyOf === id)
          }, printed)
        )
      ),
    settled: settles("cluster", holdsForAll(nodes, isWhole))
  }
}

/**
 * A cluster that has settled; a replica takes the place of its primary some 4 seconds after that has gone.
 *
 * Fails and ends as {@link start}.
 */
export const cluster = Effect.fnUntraced(function* (options: Omit<Options, "tls"> = {}) {
  const folder = yield* folderOr(options.folder)
  const ports = yield* freePorts(4 * primaryCount)
  const busPorts = ports.splice(2 * primaryCount)
  const nodes = yield* Effect.forEach(
    ports,
    (port, index) =>
      launchIn(folder, port, (own) => {
        const bus = ["--cluster-enabled", "yes", "--cluster-port", String(busPorts[index])]
        const args = [...bus, "--cluster-node-timeout", "2000", ...(options.args ?? [])]
        return argsOf(own, port, { args })
      }),
    together
  )
  const addresses = ports.map((port) => `${host}:${port}`)
  yield* run("redis-cli", ["--cluster", "create", ...addresses, "--cluster-replicas", "1", "--cluster-yes"], {
    timeout: 30_000
  })
  const started = clusterOf(nodes)
  yield* started.settled
  return started
})

/** A primary with two replicas, watched by three sentinels that put a replica in its place when it has gone. */
export interface Watched {
  /** What the sentinels call it. */
  readonly name: string
  readonly sentinels: ReadonlyArray<Node>
  readonly nodes: ReadonlyArray<Node>
  /** The primary now, as a sentinel that runs sees it. */
  readonly primary: Effect.Effect<Node, Unavailable>
  /**
   * Waits until all run, the sentinels know each other, both replicas and the same primary, and both replicas have a
   * current copy; fails after 30 seconds.
   */
  readonly settled: Effect.Effect<void, Unavailable>
}

const name = "xdooria"

const isWatching = (sentinel: Node): Effect.Effect<boolean, Unavailable> =>
  Effect.map(sentinel.command("SENTINEL", "MASTER", name), (printed) => {
    const lines = linesOf(printed)
    const field = (key: string) => lines[lines.indexOf(key) + 1]
    return field("flags") === "master" && field("num-slaves") === "2" && field("num-other-sentinels") === "2"
  })

const watched = (nodes: ReadonlyArray<Node>, sentinels: ReadonlyArray<Node>): Watched => {
  const primaryFor = (sentinel: Node) =>
    Effect.flatMap(sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name), (printed) => {
      const node = nodes.find(({ port }) => port === Number(linesOf(printed)[1]))
      return node === undefined
        ? Effect.fail(new Unavailable({ message: "the sentinel knows no primary" }))
        : Effect.succeed(node)
    })
  const agree = Effect.forEach(sentinels, primaryFor, together).pipe(
    Effect.map((primaries) => new Set(primaries).size === 1),
    Effect.orElseSucceed(() => false)
  )
  return {
    name,
    nodes,
    sentinels,
    primary: ask(sentinels, primaryFor),
    settled: settles(
      "group of the sentinels",
      Effect.map(
        Effect.all([agree, holdsForAll(sentinels, isWatching), holdsForAll(nodes, (node) => isReplicated(node, 2))]),
        (all) => all.every(Boolean)
      )
    )
  }
}

/** A sentinel keeps what it learns in its configuration file, so a restart finds it there. */
const launchSentinel = (folder: string, port: number, primary: Node) =>
  launchIn(folder, port, (own) => {
    const file = join(own, "sentinel.conf")
    const lines = [
      `port ${port}`,
      `bind ${host}`,
      `dir ${own}`,
      `sentinel monitor ${name} ${primary.host} ${primary.port} 2`,
      `sentinel down-after-milliseconds ${name} 1500`,
      `sentinel failover-timeout ${name} 3000`
    ]
    writeFileSync(file, `${lines.join("\n")}\n`)
    return [file, "--sentinel", "--set-proc-title", "no"]
  })

/**
 * A primary, its replicas and their sentinels, which have settled; a new primary is there some 2 seconds after the old
 * one has gone.
 *
 * - `args`: of the primary and its replicas
 *
 * Fails and ends as {@link start}.
 */
export const sentinel = Effect.fnUntraced(function* (options: Omit<Options, "tls"> = {}) {
  const folder = yield* folderOr(options.folder)
  const [port, ...others] = yield* freePorts(6)
  const launchNode = (at: number, args: ReadonlyArray<string>) =>
    launchIn(folder, at, (own) => argsOf(own, at, { args: [...args, ...(options.args ?? [])] }))
  const primary = yield* launchNode(port!, [])
  const replicas = yield* Effect.forEach(
    others.slice(0, 2),
    (at) => launchNode(at, ["--replicaof", `${host} ${port}`]),
    together
  )
  const nodes = [primary, ...replicas]
  // A sentinel that finds the replicas at its start does not have to wait 10 seconds for its next look.
  yield* settles(
    "replication",
    holdsForAll(nodes, (node) => isReplicated(node, 2))
  )
  const sentinels = yield* Effect.forEach(others.slice(2), (at) => launchSentinel(folder, at, primary), together)
  const started = watched(nodes, sentinels)
  yield* started.settled
  return started
})

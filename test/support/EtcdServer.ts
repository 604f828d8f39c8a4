// etcd as processes of this machine, on loopback: alone, and as a cluster of three. For tests that need one of their
// own, because they kill, compact or configure it, and for those that all tests share (infra/etcd.ts).
import * as Effect from "effect/Effect"
import { join } from "node:path"
import { run, Unavailable } from "../infra/Server.ts"
import { ask, folderIn, folderOr, freePorts, holdsForAll, host, launch, type Node, settles } from "./ServerProcess.ts"
import { together } from "./ServerProcess.ts"

export type { Node } from "./ServerProcess.ts"

/** What a server and its clients prove to each other, all in PEM files. */
export interface Tls {
  /** The server's certificate, for localhost or 127.0.0.1. */
  readonly certFile: string
  readonly keyFile: string
  /** Who has signed the server's certificate, and the clients'. */
  readonly caFile: string
  /** A client's certificate; with one, every client must show one, and `command` shows this one. */
  readonly client?: { readonly certFile: string; readonly keyFile: string }
}

/** Where a server keeps its data and what it is told beyond that. */
export interface Options {
  /** A folder that is there; one of its own unless told otherwise, removed when the scope closes. */
  readonly folder?: string
  /** More arguments of etcd, after those of this file, which they override: `["--auth-token-ttl", "2"]`. */
  readonly args?: ReadonlyArray<string>
  /** Another etcd than the one on the path: the `program` of the shared server `etcdNext`. */
  readonly program?: string
  /** With it, clients speak TLS, and only that. */
  readonly tls?: Tls
  /**
   * Of the user root. With it authentication is on and `command` acts as root:
   * `command("user", "add", "game:secret")`, `command("role", "grant-permission", ...)`.
   */
  readonly password?: string
}

interface Place {
  readonly folder: string
  readonly port: number
  readonly peerPort: number
}

const nameOf = ({ port }: Place): string => `n${port}`

const peerUrlOf = ({ peerPort }: Place): string => `http://${host}:${peerPort}`

/** Arguments that nobody else is asked for; the folder is among them, so the command line names it. */
const argsOf = (place: Place, members: ReadonlyArray<Place>, { args = [], tls }: Options): ReadonlyArray<string> => {
  const clientUrl = `${tls === undefined ? "http" : "https"}://${host}:${place.port}`
  const told = {
    "--name": nameOf(place),
    "--data-dir": join(place.folder, "data"),
    "--logger": "zap",
    "--listen-client-urls": clientUrl,
    "--advertise-client-urls": clientUrl,
    "--listen-peer-urls": peerUrlOf(place),
    "--initial-advertise-peer-urls": peerUrlOf(place),
    "--initial-cluster": members.map((member) => `${nameOf(member)}=${peerUrlOf(member)}`).join(","),
    ...(tls === undefined ? {} : { "--cert-file": tls.certFile, "--key-file": tls.keyFile }),
    ...(tls?.client === undefined ? {} : { "--trusted-ca-file": tls.caFile })
  }
  return [...Object.entries(told).flat(), ...(tls?.client === undefined ? [] : ["--client-cert-auth"]), ...args]
}

/** The client, before there are users. */
const clientOf = ({ port }: Place, { tls }: Options): readonly [string, ...Array<string>] => {
  if (tls === undefined) return ["etcdctl", "--endpoints", `http://${host}:${port}`]
  const { caFile, client } = tls
  const shown = client === undefined ? [] : ["--cert", client.certFile, "--key", client.keyFile]
  return ["etcdctl", "--endpoints", `https://${host}:${port}`, "--cacert", caFile, ...shown]
}

const launchAt = (place: Place, members: ReadonlyArray<Place>, options: Options) =>
  launch({
    program: options.program ?? "etcd",
    args: argsOf(place, members, options),
    folder: place.folder,
    port: place.port,
    // It says so when it is a member of a cluster that has a leader.
    ready: /serving client traffic (in)?secure/,
    client:
      options.password === undefined
        ? clientOf(place, options)
        : [...clientOf(place, options), "--user", `root:${options.password}`]
  })

/** Switches authentication on; what is replicated, so one member is told. */
const enableAuth = (place: Place, options: Options): Effect.Effect<void, Unavailable> =>
  Effect.gen(function* () {
    if (options.password === undefined) return
    const [client, ...args] = clientOf(place, options)
    const steps = [
      ["user", "add", `root:${options.password}`],
      ["role", "add", "root"],
      ["user", "grant-role", "root", "root"],
      ["auth", "enable"]
    ]
    for (const words of steps) yield* run(client, [...args, ...words], { timeout: 10_000 })
  })

/**
 * One server.
 *
 * Fails with Unavailable when etcd is not on the path or does not take its arguments. Killed, and its data removed, when
 * the scope closes.
 */
export const start = Effect.fnUntraced(function* (options: Options = {}) {
  const folder = yield* folderOr(options.folder)
  const [port, peerPort] = yield* freePorts(2)
  const place: Place = { folder, port: port!, peerPort: peerPort! }
  const node = yield* launchAt(place, [place], options)
  yield* enableAuth(place, options)
  return node
})

/** A field of what the client prints with `-w fields`; these have more digits than a number of JavaScript. */
const fieldOf = (printed: string, name: string): Effect.Effect<bigint, Unavailable> => {
  const digits = new RegExp(`^"${name}" : (\\d+)$`, "m").exec(printed)?.[1]
  return digits === undefined
    ? Effect.fail(new Unavailable({ message: `the answer has no field ${name}` }))
    : Effect.succeed(BigInt(digits))
}

const statusOf = (node: Node) =>
  Effect.gen(function* () {
    const printed = yield* node.command("endpoint", "status", "-w", "fields")
    const [id, leader] = yield* Effect.all([fieldOf(printed, "MemberID"), fieldOf(printed, "Leader")])
    return { id, leader, revision: yield* fieldOf(printed, "Revision") }
  })

/** Three servers, each with a copy of everything; two of them can write. */
export interface Cluster {
  readonly nodes: ReadonlyArray<Node>
  /** The node that leads now, as the first that runs sees it; fails while there is none. */
  readonly leader: Effect.Effect<Node, Unavailable>
  /** Waits until all nodes run and see the same leader; fails after 30 seconds. */
  readonly settled: Effect.Effect<void, Unavailable>
}

const clusterOf = (nodes: ReadonlyArray<Node>): Cluster => {
  const statuses = Effect.forEach(
    nodes,
    (node) => Effect.option(Effect.map(statusOf(node), (status) => ({ ...status, node }))),
    together
  )
  const leaderFor = (asked: Node) =>
    Effect.gen(function* () {
      const { leader } = yield* statusOf(asked)
      for (const one of yield* statuses) {
        if (one._tag === "Some" && one.value.id === leader) return one.value.node
      }
      return yield* new Unavailable({ message: "the cluster has no leader that runs" })
    })
  const leader = ask(nodes, leaderFor)
  return {
    nodes,
    leader,
    settled: settles(
      "cluster",
      Effect.orElseSucceed(
        Effect.flatMap(leader, (one) =>
          holdsForAll(nodes, (node) => Effect.map(leaderFor(node), (other) => other === one))
        ),
        () => false
      )
    )
  }
}

/**
 * A cluster of three that has a leader; it has another one some 1.5 seconds after that has gone. Of one that is down
 * whole, restart all nodes at the same time: none is ready alone.
 *
 * Fails and ends as {@link start}.
 */
export const cluster = Effect.fnUntraced(function* (options: Options = {}) {
  const folder = yield* folderOr(options.folder)
  const ports = yield* freePorts(6)
  const members = yield* Effect.forEach(ports.slice(0, 3), (port, index) =>
    Effect.map(folderIn(folder, port), (own): Place => ({ folder: own, port, peerPort: ports[3 + index]! }))
  )
  const nodes = yield* Effect.forEach(members, (member) => launchAt(member, members, options), together)
  yield* enableAuth(members[0]!, options)
  const started = clusterOf(nodes)
  yield* started.settled
  return started
})

/** Forgets every state but the one that is: a watch from an earlier revision is refused. */
export const compact = (node: Node): Effect.Effect<void, Unavailable> =>
  Effect.gen(function* () {
    const { revision } = yield* statusOf(node)
    yield* node.command("compaction", String(revision))
  })

/** Ends the lease of a key as an operator would, and with it all keys of that lease. */
export const revokeLeaseOf = (node: Node, key: string): Effect.Effect<void, Unavailable> =>
  Effect.gen(function* () {
    const lease = yield* fieldOf(yield* node.command("get", key, "-w", "fields"), "Lease")
    yield* node.command("lease", "revoke", lease.toString(16))
  })

// etcd: the release that Debian packages, and a newer one, which test/infra/etcd-next builds where Go is.
import * as Effect from "effect/Effect"
import * as EtcdServer from "../support/EtcdServer.ts"
import { debian } from "./debian.ts"
import { goProgram } from "./go.ts"
import { type Server, staying } from "./Server.ts"

/** Where an etcd is. */
export interface Etcd {
  readonly host: string
  readonly port: number
}

/** Where the three members of a cluster are; the port is the first one's. */
export interface EtcdCluster {
  readonly port: number
  readonly nodes: ReadonlyArray<{ readonly host: string; readonly port: number }>
}

/** Where one of a newer release is, and its program, for tests that start one of their own. */
export interface EtcdNext extends Etcd {
  readonly program: string
}

const { install, start } = debian({
  packages: ["etcd-server", "etcd-client"],
  programs: ["etcd", "etcdctl"],
  service: "etcd"
})

const next = goProgram("infra/etcd-next")

export const etcd: Server<Etcd> = {
  install,
  start: (folder) =>
    Effect.map(start(EtcdServer.start({ folder })), ({ host, pid, port }) => ({
      address: { host, port },
      pids: [pid]
    })),
  stopSignal: "SIGTERM",
  compose: {
    service: "etcd",
    portVariable: "XDOORIA_ETCD_PORT",
    port: 2379,
    address: (port) => ({ host: "127.0.0.1", port })
  }
}

export const etcdCluster: Server<EtcdCluster> = {
  install,
  start: (folder) =>
    Effect.map(start(EtcdServer.cluster({ folder })), ({ nodes }) => ({
      address: { port: nodes[0]!.port, nodes: nodes.map(({ host, port }) => ({ host, port })) },
      pids: nodes.map(({ pid }) => pid)
    })),
  stopSignal: "SIGTERM"
}

export const etcdNext: Server<EtcdNext> = {
  install: next.install,
  start: (folder) =>
    Effect.gen(function* () {
      const program = yield* next.built
      const { host, pid, port } = yield* staying(EtcdServer.start({ folder, program }))
      return { address: { host, port, program }, pids: [pid] }
    }),
  stopSignal: "SIGTERM",
  isCurrent: next.isCurrent
}

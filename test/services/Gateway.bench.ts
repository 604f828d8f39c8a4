// npm run bench -- services: the gateway with 5,000 connected players, against a server of bare grpc-js that keeps as many
// streams and writes to them.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Bench from "../bench/Bench.ts"

const players = 5_000

/** A candidate that loads its own code only: what a process holds is measured, too. */
const from =
  <M>(load: () => Promise<M>) =>
  <A>(pick: (module: M) => Effect.Effect<A, unknown, Scope.Scope>) =>
    Effect.flatMap(Effect.promise(load), pick)

const candidates = {
  "grpc-js": from(() => import("./bench/Bare.ts"))(({ gateway }) => gateway),
  xdooria: from(() => import("./bench/Ours.ts"))(({ gateway }) => gateway)
}

const load = from(() => import("./bench/Load.ts"))

export default [
  Bench.memory({
    name: "gateway, memory with 5,000 idle players, each on a connection of its own",
    baseline: "grpc-js",
    candidates,
    hold: (address: string) => load(({ idle }) => idle(players)(address)),
    targets: { xdooria: { memory: 1.5 } }
  }),
  // A call is a message that all of them have: one in a second is wanted, which the machine's own speed is part of.
  Bench.servers({
    name: "gateway, a message to 5,000 players",
    baseline: "grpc-js",
    candidates,
    load: (address: string) => load(({ broadcasts }) => broadcasts(players)(address))
  })
]

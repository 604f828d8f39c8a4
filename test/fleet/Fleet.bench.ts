// npm run bench -- fleet: a call of a player through the gateway to the game and back.
import * as Bench from "../bench/Bench.ts"
import { unary } from "../grpc/bench/Load.ts"
import { bare, ours } from "./bench/Front.ts"

const candidates = {
  "grpc-js in front of grpc-js": bare,
  "xdooria in front of grpc-js": ours("bare"),
  "xdooria in front of xdooria": ours("ours")
}

export default [
  Bench.servers({
    name: "player, gateway, game and back, 64 calls at once: against a bare proxy of one hop",
    baseline: "grpc-js in front of grpc-js",
    candidates,
    load: (address: string) => unary(64)(address),
    targets: { "xdooria in front of xdooria": { throughput: 0.8 } }
  }),
  Bench.servers({
    name: "player, gateway, game and back, one call at a time: against a bare proxy of one hop",
    baseline: "grpc-js in front of grpc-js",
    candidates,
    load: (address: string) => unary(1)(address)
  })
]

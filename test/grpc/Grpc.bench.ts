// npm run bench -- grpc: our server and client against bare grpc-js and NestJS, and what each piece of the standard
// chain costs. Messages are of about 100 bytes; every call has a deadline, a token and a trace.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Bench from "../bench/Bench.ts"

/** A candidate that loads its own code only: what a process holds is measured, too. */
const from =
  <M>(load: () => Promise<M>) =>
  <A>(pick: (module: M) => Effect.Effect<A, unknown, Scope.Scope>) =>
    Effect.flatMap(Effect.promise(load), pick)

const bare = from(() => import("./bench/Bare.ts"))
const nest = from(() => import("./bench/Nest.ts"))
const ours = from(() => import("./bench/Ours.ts"))
const load = from(() => import("./bench/Load.ts"))

const unary = {
  "grpc-js": bare(({ unary }) => unary),
  xdooria: ours(({ unary }) => unary)
}

const chain = "the whole chain"

export default [
  Bench.servers({
    name: "server, unary, 64 calls at once: the whole chain against bare grpc-js",
    baseline: "grpc-js",
    candidates: unary,
    load: (address: string) => load(({ unary }) => unary(64)(address)),
    targets: { xdooria: { throughput: 0.9, cpu: 1.15 } }
  }),
  Bench.servers({
    name: "server, unary, one call at a time: the whole chain against bare grpc-js",
    baseline: "grpc-js",
    candidates: unary,
    load: (address: string) => load(({ unary }) => unary(1)(address)),
    targets: { xdooria: { throughput: 0.8 } }
  }),
  Bench.servers({
    name: "server, unary, 64 calls at once: the whole chain against NestJS with an equal one",
    baseline: "NestJS",
    candidates: {
      NestJS: nest(({ unary }) => unary(true)),
      "NestJS without a chain": nest(({ unary }) => unary(false)),
      xdooria: ours(({ unary }) => unary)
    },
    load: (address: string) => load(({ unary }) => unary(64)(address)),
    targets: { xdooria: { throughput: 1.3 } }
  }),
  Bench.servers({
    name: "server, where the time goes: the chain without a piece of it, or with one more",
    baseline: chain,
    candidates: {
      [chain]: ours(({ unary }) => unary),
      "without access log": ours(({ withoutAccessLog }) => withoutAccessLog),
      "without auth": ours(({ withoutAuth }) => withoutAuth),
      "without rate limit": ours(({ withoutRateLimit }) => withoutRateLimit),
      "with validation": ours(({ withValidation }) => withValidation),
      "with a middleware": ours(({ withMiddleware }) => withMiddleware),
      "grpc-js": bare(({ unary }) => unary)
    },
    load: (address: string) => load(({ unary }) => unary(64)(address))
  }),
  Bench.servers({
    name: "server, streams of 1,000 responses, 8 at once, messages of 100 bytes: against bare grpc-js",
    baseline: "grpc-js",
    candidates: {
      "grpc-js": bare(({ streams }) => streams),
      xdooria: ours(({ streams }) => streams),
      "xdooria, one by one": ours(({ streamsOneByOne }) => streamsOneByOne)
    },
    load: (address: string) => load(({ streams }) => streams(8)(address)),
    targets: { xdooria: { throughput: 0.9 } }
  }),
  Bench.memory({
    name: "server, memory with 10,000 idle streams on 10 connections: against bare grpc-js",
    baseline: "grpc-js",
    candidates: { "grpc-js": bare(({ idle }) => idle), xdooria: ours(({ idle }) => idle) },
    hold: (address: string) => load(({ idle }) => idle(10_000, 1_000)(address)),
    targets: { xdooria: { memory: 1.5 } }
  }),
  Bench.clientsOf({
    name: "client, unary, 64 calls at once: against the client of grpc-js",
    baseline: "grpc-js",
    server: bare(({ unary }) => unary),
    candidates: {
      "grpc-js": (address: string) => bare(({ client }) => client(64)(address)),
      xdooria: (address: string) => ours(({ client }) => client(64)(address))
    },
    targets: { xdooria: { throughput: 0.9, cpu: 1.1 } }
  })
]

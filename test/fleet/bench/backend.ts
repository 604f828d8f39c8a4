// A server of the comparison behind the one that passes calls on, as a process of its own: tells its address, and serves
// until it is killed.
import * as Effect from "effect/Effect"

const load = {
  bare: () =>
    Effect.flatMap(
      Effect.promise(() => import("../../grpc/bench/Bare.ts")),
      ({ unary }) => unary
    ),
  ours: () =>
    Effect.flatMap(
      Effect.promise(() => import("../../grpc/bench/Ours.ts")),
      ({ unary }) => unary
    )
}

/** Which one. */
export interface Settings {
  readonly kind: keyof typeof load
}

const { kind } = JSON.parse(process.argv[2]!) as Settings

Effect.runFork(
  Effect.scoped(
    Effect.gen(function* () {
      const address = yield* load[kind]()
      process.send!({ address })
      return yield* Effect.never
    })
  )
)

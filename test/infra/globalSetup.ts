// The tests' global setup: the servers of `npm run infra:up`, for as long as this run lasts.
import * as Effect from "effect/Effect"
import * as Infra from "./Infra.ts"

export const setup = async (): Promise<() => Promise<void>> => {
  await Effect.runPromise(Infra.up(process.pid))
  return () => Effect.runPromise(Infra.down(process.pid))
}

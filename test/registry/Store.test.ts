import * as Effect from "effect/Effect"
import * as Memory from "../../src/registry/internal/memory.ts"
import { suite } from "./StoreContract.ts"

const memory = Effect.map(Memory.make, (store) => ({
  store,
  compact: Effect.orDie(Effect.map(store.list(""), ({ revision }) => store.compact(revision)))
}))

suite("The store in memory", memory, { clock: "test" })

// A store that can be taken away, and that loses what it is told to lose; the rest is the memory of the room.
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Memory from "../../src/registry/internal/memory.ts"
import type { Store } from "../../src/registry/internal/store.ts"
import { Refused, Unavailable } from "xdooria/registry"

type Method = "grant" | "keepAlive" | "revoke" | "put" | "remove" | "list"

export class FaultyStore implements Store {
  readonly memory: Memory.Memory
  /** What was asked of it, in order. */
  readonly calls: Array<Method> = []
  private isAway = false
  private readonly lostReplies: Array<Method> = []
  private readonly refusals = new Set<Method>()
  private cutting = Deferred.makeUnsafe<never, Unavailable>()

  private constructor(memory: Memory.Memory) {
    this.memory = memory
  }

  static readonly make = Effect.map(Memory.make, (memory) => new FaultyStore(memory))

  /** From now on it does not answer, and whoever watches hears nothing any more. */
  leave(): Effect.Effect<void> {
    this.isAway = true
    return this.cut
  }

  /** It answers again. */
  return(): void {
    this.isAway = false
  }

  /** Ends the connections; the next ones are made at once. */
  readonly cut: Effect.Effect<void> = Effect.suspend(() => {
    const { cutting } = this
    this.cutting = Deferred.makeUnsafe()
    return Effect.asVoid(Deferred.fail(cutting, this.away))
  })

  /** The reply of the next such call is lost, after it was done. */
  loseReply(method: Method): void {
    this.lostReplies.push(method)
  }

  /** It refuses such calls, until told otherwise. */
  refuse(method: Method, isRefused = true): void {
    if (isRefused) this.refusals.add(method)
    else this.refusals.delete(method)
  }

  private readonly away = new Unavailable({ detail: "it was taken away" })

  private ask<A, E>(method: Method, effect: () => Effect.Effect<A, E>): Effect.Effect<A, E | Unavailable | Refused> {
    return Effect.suspend((): Effect.Effect<A, E | Unavailable | Refused> => {
      this.calls.push(method)
      if (this.isAway) return Effect.fail(this.away)
      if (this.refusals.has(method)) return Effect.fail(new Refused({ detail: "by the test" }))
      const lost = this.lostReplies.indexOf(method)
      if (lost < 0) return effect()
      this.lostReplies.splice(lost, 1)
      return Effect.andThen(effect(), Effect.fail(this.away))
    })
  }

  readonly grant: Store["grant"] = (ttl) => this.ask("grant", () => this.memory.grant(ttl))
  readonly keepAlive: Store["keepAlive"] = (lease) => this.ask("keepAlive", () => this.memory.keepAlive(lease))
  readonly revoke: Store["revoke"] = (lease) => this.ask("revoke", () => this.memory.revoke(lease))
  readonly put: Store["put"] = (put) => this.ask("put", () => this.memory.put(put))
  readonly remove: Store["remove"] = (condition) => this.ask("remove", () => this.memory.remove(condition))
  readonly list: Store["list"] = (prefix) => this.ask("list", () => this.memory.list(prefix))
  readonly watch: Store["watch"] = (prefix, from) =>
    Stream.suspend(() =>
      this.isAway
        ? Stream.fail(this.away)
        : Stream.merge(this.memory.watch(prefix, from), Stream.fromEffect(Deferred.await(this.cutting)), {
            haltStrategy: "left"
          })
    )
}

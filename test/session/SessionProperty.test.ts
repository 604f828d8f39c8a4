// SessionEmbedded against a model that is small enough to be seen to be right.
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { makeEmbedded } from "xdooria/session"
import { gateways, look, type Operation, perform, players, type Run, sequence } from "./Operations.ts"

interface Held {
  readonly login: number
  readonly device: string
  gateway: string
  /** Whether it was handed over: who logged in then holds it no more. */
  moved: boolean
  readonly began: number
}

/** Sessions as lists, the newest last; nothing is ever looked up by anything but its number. */
class Model {
  readonly held: Array<Array<Held>> = Array.from({ length: players }, () => [])
  readonly banned = new Set<number>()
  /** The session that a reader of the plan sees. */
  readonly newest: Array<number | undefined> = Array.from({ length: players })
  readonly owner: Array<number> = []
  readonly most: number
  now = 0
  marked = 0

  constructor(most: number) {
    this.most = most
  }

  do(operation: Operation): void {
    this.now++
    switch (operation.do) {
      case "login":
        return this.login(operation.player, operation.device, operation.gateway)
      case "logout":
        return this.keep(this.owner[operation.login]!, ({ login, moved }) => login !== operation.login || moved)
      case "kick":
        return this.keep(
          operation.player,
          ({ device }) => operation.device !== undefined && device !== operation.device
        )
      case "ban":
        this.banned.add(operation.player)
        return this.keep(operation.player, () => false)
      case "unban":
        return void this.banned.delete(operation.player)
      case "mark":
        this.marked = this.now
        return
      case "revokeMarked":
        return this.keep(operation.player, ({ began }) => began > this.marked)
      case "revoke":
        return this.keep(operation.player, () => false)
      case "revokeAll":
        return this.held.forEach((_, player) => this.keep(player, () => false))
      case "drain":
        for (const [player, all] of this.held.entries()) {
          if (operation.to === undefined) this.keep(player, ({ gateway }) => gateway !== operation.gateway)
          else {
            for (const one of all.filter(({ gateway }) => gateway === operation.gateway)) {
              Object.assign(one, { gateway: operation.to, moved: true })
            }
          }
        }
    }
  }

  private login(player: number, device: string, gateway: string): void {
    const login = this.owner.push(player) - 1
    if (this.banned.has(player)) return
    this.keep(player, (one) => one.device !== device)
    while (this.held[player]!.length >= this.most) this.held[player]!.shift()
    this.held[player]!.push({ login, device, gateway, moved: false, began: this.now })
    this.newest[player] = login
  }

  private keep(player: number, isKept: (held: Held) => boolean): void {
    const kept = this.held[player]!.filter(isKept)
    this.held[player] = kept
    if (!kept.some(({ login }) => login === this.newest[player])) this.newest[player] = kept.at(-1)?.login
  }
}

const check = (seed: number, most: number) =>
  Effect.gen(function* () {
    const session = yield* makeEmbedded({ maxDevices: most })
    const run: Run = { session, prefix: "p", logins: [], marked: yield* DateTime.now, tick: TestClock.adjust(1) }
    const model = new Model(most)
    for (const operation of yield* sequence(seed, 120)) {
      // A hand-over gives new epochs, and so another oldest: the model orders by login.
      if (most > 1 && operation.do === "drain" && operation.to !== undefined) continue
      // A drain takes its time.
      const passing = Effect.forever(Effect.andThen(TestClock.adjust(1), Effect.yieldNow))
      yield* Effect.raceFirst(perform(run, operation), passing)
      model.do(operation)
      const seen = yield* look(run)
      const at = `seed ${seed}, after ${JSON.stringify(operation)}`
      const held = model.held.flatMap((all) => all)
      // A token is good at the gateway that its session is at.
      const valid = held
        .filter(({ gateway, login }) => run.logins[login]?.gateway === gateway)
        .map(({ login }) => login)
        .toSorted((one, two) => one - two)
      const found = seen.standings.flatMap((one, login) => (one === "valid" ? [login] : []))
      assert.deepStrictEqual(found, valid, at)
      assert.deepStrictEqual(
        seen.lists,
        gateways.map((gateway) =>
          held
            .filter((one) => one.gateway === gateway)
            .map(({ login }) => login)
            .toSorted((one, two) => one - two)
        ),
        at
      )
      assert.deepStrictEqual(
        seen.newest,
        model.newest.map((login) => {
          const one = held.find((other) => other.login === login)
          return one === undefined ? "none" : `${one.login} on ${one.device} at ${one.gateway}`
        }),
        at
      )
    }
  }).pipe(Effect.scoped)

describe("SessionEmbedded", () => {
  for (const most of [1, 2, 3]) {
    it.effect(`does what a model does, with ${most} devices`, () =>
      Effect.forEach(
        Array.from({ length: 10 }, (_, seed) => seed),
        (seed) => check(seed, most)
      )
    )
  }
})

// Random sequences of what services do with sessions, run step by step on any backend.
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { Session, SessionData, SessionError } from "xdooria/session"
import { loginOf, standing } from "./SessionContract.ts"

/** One step. A session is named by the number of its login. */
export type Operation =
  | { readonly do: "login"; readonly player: number; readonly device: string; readonly gateway: string }
  | { readonly do: "logout" | "touch"; readonly login: number }
  | { readonly do: "kick"; readonly player: number; readonly device: string | undefined }
  | { readonly do: "ban" | "unban" | "revokeMarked" | "revoke"; readonly player: number }
  | { readonly do: "drain"; readonly gateway: string; readonly to: string | undefined }
  /** Remembers the instant, for `revokeMarked`. */
  | { readonly do: "mark" }
  | { readonly do: "revokeAll" }

export const players = 3
export const gateways = ["gw-a", "gw-b"]
const devices = ["", "phone", "tablet"]

const pick = <A>(all: ReadonlyArray<A>) => Effect.map(Random.nextIntBetween(0, all.length - 1), (index) => all[index]!)

const kinds: ReadonlyArray<Operation["do"]> = [
  ...(["login", "login", "login", "login", "login", "logout", "logout", "touch", "kick", "ban", "unban"] as const),
  ...(["revoke", "revokeMarked", "mark", "drain", "revokeAll"] as const)
]

/** So many steps, the same for the same seed. Sessions that they name were made before, or were refused. */
export const sequence = (seed: number, length: number): Effect.Effect<ReadonlyArray<Operation>> =>
  Effect.gen(function* () {
    const steps: Array<Operation> = []
    let logins = 0
    while (steps.length < length) {
      const kind = yield* pick(kinds)
      const player = yield* Random.nextIntBetween(0, players - 1)
      const device = yield* pick(devices)
      const gateway = yield* pick(gateways)
      if (kind === "login") {
        logins++
        steps.push({ do: kind, player, device, gateway })
      } else if (kind === "logout" || kind === "touch") {
        if (logins > 0)
          steps.push({ do: kind, login: yield* Random.nextIntBetween(Math.max(0, logins - 8), logins - 1) })
      } else if (kind === "kick") {
        steps.push({ do: kind, player, device: (yield* Random.nextBoolean) ? device : undefined })
      } else if (kind === "drain") {
        // Rare: it changes everything.
        const to = gateways.find((one) => one !== gateway)
        if ((yield* Random.next) < 0.4)
          steps.push({ do: kind, gateway, to: (yield* Random.nextBoolean) ? to : undefined })
      } else if (kind === "mark") steps.push({ do: kind })
      else if (kind === "revokeAll") {
        if ((yield* Random.next) < 0.3) steps.push({ do: kind })
      } else steps.push({ do: kind, player })
    }
    return steps
  }).pipe(Random.withSeed(seed))

/** A backend under test, with the sessions that it has given so far. */
export interface Run {
  readonly session: Session["Service"]
  readonly prefix: string
  /** By the number of the login; undefined where it was refused. */
  readonly logins: Array<SessionData | undefined>
  marked: DateTime.Utc
  /** Lets the store's clock go on. */
  readonly tick: Effect.Effect<void>
}

export const playerOf = ({ prefix }: Pick<Run, "prefix">, player: number): string => `${prefix}${player}`

const outcome = <A>(effect: Effect.Effect<A, SessionError>) =>
  Effect.match(effect, { onSuccess: (value): unknown => value ?? "done", onFailure: ({ reason }) => reason._tag })

/** Does one step, and gives what a caller sees of it. */
export const perform = Effect.fnUntraced(function* (run: Run, operation: Operation) {
  const { logins, session } = run
  yield* run.tick
  switch (operation.do) {
    case "login": {
      const { device, gateway, player } = operation
      const text = `token ${logins.length}`
      const made = yield* Effect.result(session.login(loginOf(playerOf(run, player), gateway, { device, text })))
      logins.push(made._tag === "Success" ? made.success : undefined)
      return made._tag === "Success" ? "done" : made.failure.reason._tag
    }
    case "logout":
    case "touch": {
      const of = logins[operation.login]
      return of === undefined ? "none" : yield* outcome(session[operation.do](of))
    }
    case "kick":
      return yield* outcome(session.kick(playerOf(run, operation.player), operation.device))
    case "ban":
      return yield* outcome(session.ban(playerOf(run, operation.player), "forever"))
    case "unban":
      return yield* outcome(session.unban(playerOf(run, operation.player)))
    case "mark":
      run.marked = yield* DateTime.now
      return "done"
    case "revokeMarked":
      return yield* outcome(session.revoke(playerOf(run, operation.player), run.marked))
    case "revoke":
      return yield* outcome(session.revoke(playerOf(run, operation.player), yield* DateTime.now))
    case "revokeAll":
      return yield* outcome(Effect.flatMap(DateTime.now, session.revokeAll))
    case "drain":
      return yield* outcome(
        session.drain(operation.gateway, {
          perSecond: 10_000,
          ...(operation.to === undefined ? {} : { to: operation.to })
        })
      )
  }
})

/** Everything that can be seen from outside, without times and epochs. */
export const look = Effect.fnUntraced(function* (run: Run) {
  const { session } = run
  const number = (token: Redacted.Redacted) => Number(Redacted.value(token).slice("token ".length))
  const standings = yield* Effect.forEach(run.logins, (of) =>
    of === undefined ? Effect.succeed("none") : standing(session, of)
  )
  const newest = yield* Effect.forEach(Array.from({ length: players }), (_, player) =>
    Effect.map(session.get(playerOf(run, player)), (found) =>
      found === undefined ? "none" : `${number(found.token)} on ${found.device} at ${found.gateway}`
    )
  )
  const online = yield* Effect.forEach(Array.from({ length: players }), (_, player) =>
    Effect.map(session.presence(playerOf(run, player)), ({ lastSeen, online }) => [online, lastSeen !== undefined])
  )
  const lists = yield* Effect.forEach(gateways, (gateway) =>
    Effect.map(Stream.runCollect(session.list(gateway)), (all) =>
      all.map(({ token }) => number(token)).toSorted((one, two) => one - two)
    )
  )
  return { standings, newest, online, lists }
})

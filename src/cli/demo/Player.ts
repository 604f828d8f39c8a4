import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Account from "./Account.ts"
import * as Connection from "./Connection.ts"
import type { Failure, Tally } from "./Tally.ts"
import { type Change, Truth } from "./Truth.ts"

/** How long a player thinks between two actions, in milliseconds. */
const thinking = [200, 600] as const

/** The game's side of a player: sends a change until there is an answer, and keeps what that says. */
const settling = ({ call, game }: Account.Account, truth: Truth, tally: Tally) => {
  const send = (change: Change): Effect.Effect<void, Failure> => {
    switch (change._tag) {
      case "Gain": {
        const { amount, requestId } = change
        return Effect.map(
          call((options) => game.gainExp({ playerId: "", requestId, amount }, options)),
          ({ levelsGained }) => truth.gained(requestId, amount, levelsGained)
        )
      }
      case "Buy": {
        const { item, quantity, requestId } = change
        return call((options) => game.buy({ playerId: "", requestId, item, quantity }, options)).pipe(
          Effect.map(() => truth.bought(requestId, item, quantity)),
          Effect.catchTag("InsufficientFunds", () => Effect.void)
        )
      }
      case "Score": {
        const { board, score } = change
        return Effect.map(
          call((options) => game.submitScore({ playerId: "", board, score }, options)),
          () => truth.scored(board, score)
        )
      }
    }
  }
  return (change: Change) =>
    Effect.flatMap(
      Effect.sync(() => truth.changes),
      (before) =>
        Effect.tap(send(change), () =>
          Effect.sync(() => {
            tally.changes += truth.changes - before
          })
        )
    )
}

/**
 * A player of the demo: registered, with a player in the game, and connected in the scope of the caller.
 *
 * - `name`: that nobody else has
 * - `addresses`: of the gateways
 * - `items`: what there is to buy
 */
export const make = Effect.fnUntraced(function* (options: {
  readonly name: string
  readonly addresses: ReadonlyArray<string>
  readonly items: ReadonlyArray<string>
  readonly tally: Tally
}) {
  const { addresses, items, name, tally } = options
  const account = yield* Account.make(name, addresses, tally)
  const { call, game } = account
  yield* call((options) => game.createPlayer({ playerId: "", name }, options)).pipe(
    // Made by an earlier try, whose answer was lost.
    Effect.catchTag("PlayerAlreadyExists", () => Effect.void)
  )
  const connection = yield* Connection.make(account, tally)
  const truth = new Truth()
  const settle = settling(account, truth, tally)
  let requests = 0
  let pending: Change | undefined

  const change = (next: Change): Effect.Effect<void, Failure> => {
    pending = next
    return Effect.onExit(settle(next), (exit) =>
      Effect.sync(() => {
        if (Exit.isSuccess(exit) || !Cause.hasInterrupts(exit.cause)) pending = undefined
      })
    )
  }
  const requestId = () => `${name}.${++requests}`

  const actions: ReadonlyArray<readonly [weight: number, act: Effect.Effect<unknown, Failure>]> = [
    [
      40,
      Effect.flatMap(Random.nextIntBetween(1, 200), (amount) =>
        change({ _tag: "Gain", requestId: requestId(), amount: BigInt(amount) })
      )
    ],
    [
      15,
      Effect.flatMap(Effect.all([Random.choice(items), Random.nextIntBetween(1, 3)]), ([item, quantity]) =>
        change({ _tag: "Buy", requestId: requestId(), item, quantity: BigInt(quantity) })
      )
    ],
    [
      20,
      Effect.flatMap(
        Effect.all([Random.choice(["arena", "sprint"] as const), Random.nextIntBetween(1, 1_000_000)]),
        ([board, score]) => change({ _tag: "Score", board, score: BigInt(score) })
      )
    ],
    [10, call((options) => game.getTop({ board: "arena", limit: 10 }, options))],
    [8, call((options) => game.getPlayer({ playerId: "" }, options))],
    [3, Effect.andThen(account.refresh, connection.renew)],
    [1, connection.reconnect]
  ]
  const weights = actions.reduce((sum, [weight]) => sum + weight, 0)

  const act = Effect.flatMap(Random.nextBetween(0, weights), (drawn) => {
    let rest = drawn
    return actions.find(([weight]) => (rest -= weight) < 0)![1]
  })

  return {
    name,
    account,
    truth,
    settle,
    /** The change that was on its way when the player was interrupted: nobody knows what became of it. */
    pending: () => pending,
    /** Plays until it is interrupted. What is refused is counted, and the player goes on. */
    play: Random.nextIntBetween(...thinking).pipe(
      Effect.flatMap(Effect.sleep),
      Effect.andThen(Effect.ignore(act)),
      Effect.forever
    )
  }
})

/** See {@link make}. */
export type Player = Effect.Success<ReturnType<typeof make>>

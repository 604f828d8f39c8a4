import * as Effect from "effect/Effect"
import * as Grpc from "../../grpc/Grpc.ts"
import { GameApi } from "./api.ts"
import { Boards, type Standing } from "./Boards.ts"
import { Players } from "./Players.ts"

/** As proto3 has it, an absent number is 0. */
const orDefault = (value: number, otherwise: number): number => (value === 0 ? otherwise : value)

const toStanding = ({ member, rank, score }: Standing) => ({ playerId: member, score, rank: BigInt(rank) })

/** The methods of the game service, on {@link Players} and {@link Boards}. */
export const GameHandlers = Grpc.handlers(
  GameApi,
  Effect.gen(function* () {
    const players = yield* Players
    const boards = yield* Boards
    return {
      healthCheck: () => Effect.succeed({ status: "SERVING" }),
      createPlayer: Effect.fnUntraced(function* ({ playerId, name }) {
        return { player: yield* players.create(playerId, name) }
      }),
      getPlayer: Effect.fnUntraced(function* ({ playerId }) {
        return { player: yield* players.get(playerId) }
      }),
      gainExp: ({ playerId, requestId, amount }) => players.gainExp(playerId, requestId, amount),
      submitScore: Effect.fnUntraced(function* ({ playerId, board, score }) {
        yield* players.get(playerId)
        const { before, after, isChanged } = yield* boards.submit(board, playerId, score)
        const standing = (place: typeof before) =>
          place === undefined ? undefined : toStanding({ member: playerId, ...place })
        return { standing: standing(after), previous: standing(before), improved: isChanged }
      }),
      getTop: Effect.fnUntraced(function* ({ board, limit }) {
        const { entries, total } = yield* boards.top(board, orDefault(limit, 10))
        return { standings: entries.map(toStanding), count: BigInt(total) }
      }),
      getRank: Effect.fnUntraced(function* ({ playerId, board }) {
        return { standing: toStanding(yield* boards.rank(board, playerId)) }
      }),
      getAround: Effect.fnUntraced(function* ({ playerId, board, distance }) {
        return { standings: (yield* boards.around(board, playerId, orDefault(distance, 5))).map(toStanding) }
      }),
      getProfile: () => Effect.die("not served yet"),
      getWallet: () => Effect.die("not served yet"),
      listLedger: () => Effect.die("not served yet"),
      changeWallet: () => Effect.die("not served yet"),
      getInventory: () => Effect.die("not served yet"),
      buy: () => Effect.die("not served yet")
    }
  })
)

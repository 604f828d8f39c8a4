import * as Effect from "effect/Effect"
import { type NotAllowed, playerOf, requireRole } from "../../auth/Auth.ts"
import { Principal } from "../../grpc/Authenticator.ts"
import * as Grpc from "../../grpc/Grpc.ts"
import { PlayerId } from "../PlayerId.ts"
import { GameApi } from "./api.ts"
import { Boards, type Standing } from "./Boards.ts"
import { Inventory } from "./Inventory.ts"
import type { LedgerEntry } from "./ledger.ts"
import { LevelUps } from "./LevelUps.ts"
import { format } from "./Money.ts"
import { Players } from "./Players.ts"
import { Profiles } from "./Profiles.ts"
import { Wallets } from "./Wallets.ts"

/** The role of who may see and change what is another player's. */
export const gameMaster = "game-master"

/** The player that a request is about. */
const whose = (playerId: string): Effect.Effect<PlayerId, NotAllowed, Principal> =>
  Effect.map(playerOf(playerId, gameMaster), (id) => PlayerId.make(id))

/** As proto3 has it, an absent number is 0. */
const orDefault = (value: number, otherwise: number): number => (value === 0 ? otherwise : value)

const toStanding = ({ member, rank, score }: Standing) => ({ playerId: member, score, rank: BigInt(rank) })

const toEntry = (entry: LedgerEntry) => ({ ...entry, change: format(entry.change), balance: format(entry.balance) })

/** The methods of the game service. Whose player it is about is the caller's own, but for a game master. */
export const GameHandlers = Grpc.handlers(
  GameApi,
  Effect.gen(function* () {
    const players = yield* Players
    const levelUps = yield* LevelUps
    const boards = yield* Boards
    const profiles = yield* Profiles
    const wallets = yield* Wallets
    const inventory = yield* Inventory
    return {
      healthCheck: () => Effect.succeed({ status: "SERVING" }),
      createPlayer: Effect.fnUntraced(function* ({ playerId, name }) {
        return { player: yield* players.create(yield* whose(playerId), name) }
      }),
      getPlayer: Effect.fnUntraced(function* ({ playerId }) {
        return { player: yield* players.get(yield* whose(playerId)) }
      }),
      gainExp: Effect.fnUntraced(function* ({ playerId, requestId, amount }) {
        const gain = yield* players.gainExp(yield* whose(playerId), requestId, amount)
        if (gain.levelsGained > 0 && !gain.isRepeated) yield* levelUps.announce(gain)
        return { player: gain.player, levelsGained: gain.levelsGained }
      }),
      submitScore: Effect.fnUntraced(function* ({ playerId, board, score }) {
        const id = yield* whose(playerId)
        yield* players.get(id)
        const { before, after, isChanged } = yield* boards.submit(board, id, score)
        const standing = (place: typeof before) =>
          place === undefined ? undefined : toStanding({ member: id, ...place })
        return { standing: standing(after), previous: standing(before), improved: isChanged }
      }),
      getTop: Effect.fnUntraced(function* ({ board, limit }) {
        const { entries, total } = yield* boards.top(board, orDefault(limit, 10))
        return { standings: entries.map(toStanding), count: BigInt(total) }
      }),
      getRank: Effect.fnUntraced(function* ({ playerId, board }) {
        return { standing: toStanding(yield* boards.rank(board, yield* whose(playerId))) }
      }),
      getAround: Effect.fnUntraced(function* ({ playerId, board, distance }) {
        const entries = yield* boards.around(board, yield* whose(playerId), orDefault(distance, 5))
        return { standings: entries.map(toStanding) }
      }),
      getProfile: Effect.fnUntraced(function* () {
        const { playerId } = yield* Principal
        const both = Effect.all([players.get(PlayerId.make(playerId)), profiles.ofCaller], { concurrency: 2 })
        const [player, profile] = yield* both
        return { player, accountName: profile.accountName, accountCreatedAt: profile.createdAt }
      }),
      getWallet: Effect.fnUntraced(function* ({ playerId }) {
        return { balances: (yield* wallets.balances(yield* whose(playerId))).map(format) }
      }),
      listLedger: Effect.fnUntraced(function* ({ playerId, before, limit }) {
        const entries = yield* wallets.ledger(yield* whose(playerId), { before, limit: orDefault(limit, 20) })
        return { entries: entries.map(toEntry) }
      }),
      changeWallet: Effect.fnUntraced(function* ({ playerId, requestId, change, reason }) {
        yield* requireRole(gameMaster)
        return { entry: toEntry(yield* wallets.change(yield* whose(playerId), requestId, change, reason)) }
      }),
      getInventory: Effect.fnUntraced(function* ({ playerId }) {
        return { items: [...(yield* inventory.items(yield* whose(playerId)))] }
      }),
      buy: Effect.fnUntraced(function* ({ playerId, requestId, item, quantity }) {
        const purchase = yield* inventory.buy(yield* whose(playerId), requestId, item, quantity)
        return { item: purchase.item, entry: toEntry(purchase.entry) }
      })
    }
  })
)

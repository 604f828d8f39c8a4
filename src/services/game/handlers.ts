import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Grpc from "../../grpc/Grpc.ts"
import { GameApi } from "./api.ts"
import { BoardName, Boards, type Standing } from "./Boards.ts"
import { InvalidRequest } from "./errors.ts"
import { ExpAmount, PlayerId, PlayerName, Players, RequestId } from "./Players.ts"

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** Names the first field that does not fit, as the .proto spells it. The value is the caller's: it is not repeated. */
const toInvalidRequest = (error: Schema.SchemaError): InvalidRequest => {
  const issue = formatIssues(error.issue).issues[0]
  return new InvalidRequest({
    field: String(issue?.path?.[0] ?? "").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    expected: (issue?.message ?? "").replace(/^Expected /, "")
  })
}

const decoder = <A, I>(schema: Schema.Codec<A, I>) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return (request: object): Effect.Effect<A, InvalidRequest> => Effect.mapError(decode(request), toInvalidRequest)
}

const decodeCreatePlayer = decoder(Schema.Struct({ playerId: PlayerId, name: PlayerName }))
const decodeGetPlayer = decoder(Schema.Struct({ playerId: PlayerId }))
const decodeGainExp = decoder(Schema.Struct({ playerId: PlayerId, requestId: RequestId, amount: ExpAmount }))

/** As proto3 has it, an absent number is 0. */
const orDefault = (value: number, otherwise: number): number => (value === 0 ? otherwise : value)

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const decodeSubmitScore = decoder(Schema.Struct({ playerId: PlayerId, board: BoardName, score: Schema.BigInt }))
const decodeGetTop = decoder(Schema.Struct({ board: BoardName, limit: upTo(100) }))
const decodeGetRank = decoder(Schema.Struct({ playerId: PlayerId, board: BoardName }))
const decodeGetAround = decoder(Schema.Struct({ playerId: PlayerId, board: BoardName, distance: upTo(49) }))

const toStanding = ({ member, rank, score }: Standing) => ({ playerId: member, score, rank: BigInt(rank) })

/** The methods of the game service, on {@link Players} and {@link Boards}. */
export const GameHandlers = Grpc.handlers(
  GameApi,
  Effect.gen(function* () {
    const players = yield* Players
    const boards = yield* Boards
    return {
      healthCheck: () => Effect.succeed({ status: "SERVING" }),
      createPlayer: Effect.fnUntraced(function* (request) {
        const { playerId, name } = yield* decodeCreatePlayer(request)
        return { player: yield* players.create(playerId, name) }
      }),
      getPlayer: Effect.fnUntraced(function* (request) {
        const { playerId } = yield* decodeGetPlayer(request)
        return { player: yield* players.get(playerId) }
      }),
      gainExp: Effect.fnUntraced(function* (request) {
        const { playerId, requestId, amount } = yield* decodeGainExp(request)
        return yield* players.gainExp(playerId, requestId, amount)
      }),
      submitScore: Effect.fnUntraced(function* (request) {
        const { playerId, board, score } = yield* decodeSubmitScore(request)
        yield* players.get(playerId)
        const { before, after, isChanged } = yield* boards.submit(board, playerId, score)
        const standing = (place: typeof before) =>
          place === undefined ? undefined : toStanding({ member: playerId, ...place })
        return { standing: standing(after), previous: standing(before), improved: isChanged }
      }),
      getTop: Effect.fnUntraced(function* (request) {
        const { board, limit } = yield* decodeGetTop(request)
        const { entries, total } = yield* boards.top(board, orDefault(limit, 10))
        return { standings: entries.map(toStanding), count: BigInt(total) }
      }),
      getRank: Effect.fnUntraced(function* (request) {
        const { playerId, board } = yield* decodeGetRank(request)
        return { standing: toStanding(yield* boards.rank(board, playerId)) }
      }),
      getAround: Effect.fnUntraced(function* (request) {
        const { playerId, board, distance } = yield* decodeGetAround(request)
        return { standings: (yield* boards.around(board, playerId, orDefault(distance, 5))).map(toStanding) }
      })
    }
  })
)

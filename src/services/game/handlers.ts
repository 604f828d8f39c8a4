import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Grpc from "../../grpc/Grpc.ts"
import { GameApi } from "./api.ts"
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

/** The methods of the game service, on {@link Players}. */
export const GameHandlers = Grpc.handlers(
  GameApi,
  Effect.gen(function* () {
    const players = yield* Players
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
      })
    }
  })
)

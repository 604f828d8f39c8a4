// Our server with the whole standard chain, or with one piece of it less; and our client.
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Authenticator, Grpc, GrpcServer, NotAuthenticated } from "xdooria/grpc"
import { layerClientLive, layerServerLive } from "xdooria/grpc/live"
import type { Logger } from "xdooria/logger"
import { layerLive as layerLogger } from "xdooria/logger/live"
import * as Bench from "../../bench/Bench.ts"
import { Methods, nullSink, playerId, response, streamLength, token, verify } from "./Work.ts"

const { getPlayer, watch } = Methods

const bearer = "Bearer "

/** Knows a token that it has seen by the text of it, as a verifier does that remembers. */
const layerAuthenticator = Layer.succeed(Authenticator, {
  authenticate: ({ metadata }) => {
    const [value] = metadata.get("authorization")
    const principal =
      typeof value === "string" && value.startsWith(bearer) ? verify(value.slice(bearer.length)) : undefined
    return principal === undefined
      ? Effect.fail(new NotAuthenticated({ problem: "an unknown token" }))
      : Effect.succeed(principal)
  }
})

/** Lines are built as in production, and dropped. */
const layerLog = (level: Logger.Level) =>
  layerLogger({ service: "bench", level, format: "json", outputPath: "", sink: nullSink })

/** Starts a server with section `grpc` as it is by default, but for the rates that a benchmark would exceed. */
export const serve = <E, R = never>(
  handlers: Grpc.Handlers<E, Authenticator | R>,
  options: { readonly level?: Logger.Level; readonly rateLimit?: number } = {}
) =>
  Effect.gen(function* () {
    const { level = "info", rateLimit = 1_000_000 } = options
    const context = yield* Layer.build(
      GrpcServer.serve(handlers).pipe(
        Layer.provideMerge(layerServerLive({ port: 0, rateLimit, drainDelay: Duration.zero })),
        Layer.provide(Layer.merge(layerAuthenticator, layerLog(level)))
      )
    )
    return yield* Context.get(context, GrpcServer).address
  })

/** A method that asks who calls. */
export const Api = Grpc.api({ getPlayer }, { getPlayer: { idempotent: true } })
const PublicApi = Grpc.api({ getPlayer }, { getPlayer: { idempotent: true, public: true } })

const getPlayerHandler = Effect.fnUntraced(function* ({ playerId }: { readonly playerId: string }) {
  return yield* Effect.succeed(response(playerId))
})

/** The whole standard chain around a handler. */
export const unary = serve(Grpc.handlers(Api, Effect.succeed({ getPlayer: getPlayerHandler })))

export const withoutAuth = serve(Grpc.handlers(PublicApi, Effect.succeed({ getPlayer: getPlayerHandler })))

export const withoutAccessLog = serve(Grpc.handlers(Api, Effect.succeed({ getPlayer: getPlayerHandler })), {
  level: "warn"
})

export const withoutRateLimit = serve(Grpc.handlers(Api, Effect.succeed({ getPlayer: getPlayerHandler })), {
  rateLimit: 0
})

/** As its rule asks for it: the request fits a schema. */
const ValidatedApi = Grpc.api(
  { getPlayer },
  {
    getPlayer: {
      idempotent: true,
      request: Schema.Struct({ playerId: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(128)) })
    }
  }
)

export const withValidation = serve(Grpc.handlers(ValidatedApi, Effect.succeed({ getPlayer: getPlayerHandler })))

/** One of a user's, which does nothing. */
export const withMiddleware = serve(
  Grpc.use(
    Grpc.handlers(Api, Effect.succeed({ getPlayer: getPlayerHandler })),
    Grpc.middleware({ wrap: (next) => Effect.map(next, (served) => served) })
  )
)

const StreamApi = Grpc.api({ watch }, {})

/** Messages as a handler has them that reads a list. */
export const streams = serve(
  Grpc.handlers(
    StreamApi,
    Effect.succeed({
      watch: ({ playerId }: { readonly playerId: string }) =>
        Stream.map(Stream.range(1, streamLength), () => response(playerId))
    })
  )
)

/** Messages as a handler has them that waits for each. */
export const streamsOneByOne = serve(
  Grpc.handlers(
    StreamApi,
    Effect.succeed({
      watch: ({ playerId }: { readonly playerId: string }) =>
        Stream.take(Stream.fromEffectRepeat(Effect.sync(() => response(playerId))), streamLength)
    })
  )
)

export const idle = serve(
  Grpc.handlers(
    StreamApi,
    Effect.succeed({
      watch: ({ playerId }: { readonly playerId: string }) =>
        Stream.concat(Stream.make(response(playerId)), Stream.never)
    })
  )
)

/** Our client, so many calls at once. */
export const client = (concurrency: number) => (address: string) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(layerClientLive().pipe(Layer.provide(layerLog("info"))))
    const game = yield* Grpc.client(Api, { target: address }).pipe(Effect.provide(context))
    const metadata = { authorization: `Bearer ${token}` }
    return Bench.fibers(concurrency, game.getPlayer({ playerId }, { metadata }))
  })

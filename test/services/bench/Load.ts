// Players of a gateway, by HTTP/2 of Node and no gRPC library, which costs less than the gateway.
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as http2 from "node:http2"
import { Auth } from "xdooria/auth"
import { layerEmbedded } from "xdooria/auth/embedded"
import { BroadcastRequest, ConnectRequest, GatewayServiceService } from "../../../src/gen/gateway.ts"
import type * as Bench from "../../bench/Bench.ts"
import { frame } from "../../grpc/Raw.ts"

const secret = "a-secret-of-benchmarks-alone-0123456789"

/** What the gateway is configured with. */
export const values = {
  server: { name: "gateway-service", port: 0 },
  auth: { secret },
  log: { level: "error" }
}

const hello = frame(
  Buffer.from(
    ConnectRequest.encode({ message: { $case: "hello", hello: { lastSequence: 0n, series: "", device: "" } } }).finish()
  )
)

const request = frame(Buffer.from(BroadcastRequest.encode({ topic: "news", payload: '{"a":1}' }).finish()))

/** The connection of a player. */
const session = (address: string): Effect.Effect<http2.ClientHttp2Session, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<http2.ClientHttp2Session>((resume) => {
      const session = http2.connect(`http://${address}`, { settings: { enablePush: false } })
      session.once("connect", () => resume(Effect.succeed(session)))
    }),
    (session) => Effect.sync(() => session.destroy())
  )

const open = (session: http2.ClientHttp2Session, path: string, token: string) =>
  session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${token}`
  })

const tokens = (count: number) =>
  Effect.gen(function* () {
    const auth = Context.get(yield* Layer.build(layerEmbedded({ secret: Redacted.make(secret) })), Auth)
    const token = (playerId: string, roles: ReadonlyArray<string>) =>
      Effect.map(auth.issue({ playerId, roles }), ({ access }) => Redacted.value(access))
    const players = yield* Effect.forEach(Array.from({ length: count }), (_, index) => token(`p${index}`, []))
    return { players, admin: yield* token("admin", ["admin"]) }
  })

/** A player who is connected and welcomed; `onData` hears whatever comes then. */
const connect = (session: http2.ClientHttp2Session, token: string, onData: () => void): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const stream = open(session, GatewayServiceService.connect.path, token)
    stream.once("data", () => {
      stream.on("data", onData)
      resume(Effect.void)
    })
    stream.on("error", () => {})
    stream.on("trailers", (trailers) =>
      resume(Effect.die(new Error(`the call ended: ${String(trailers["grpc-status"])}`)))
    )
    stream.write(hello)
  })

/** Players, each with a connection of its own, until the scope closes. */
const connected = Effect.fnUntraced(function* (address: string, count: number, onData: () => void) {
  const { admin, players } = yield* tokens(count)
  yield* Effect.forEach(
    players,
    (token) => Effect.flatMap(session(address), (session) => connect(session, token, onData)),
    { concurrency: 100, discard: true }
  )
  return { session: yield* session(address), admin }
})

/** So many players who do nothing. */
export const idle = (count: number) => (address: string) => Effect.asVoid(connected(address, count, () => {}))

/** A message to so many players, and the next one when all have it. */
export const broadcasts =
  (count: number) =>
  (address: string): Effect.Effect<Bench.Load, unknown, Scope.Scope> =>
    Effect.gen(function* () {
      let heard = 0
      let onAll = () => {}
      const { admin, session } = yield* connected(address, count, () => {
        if (++heard === count) onAll()
      })
      const one = () =>
        new Promise<void>((resolve) => {
          heard = 0
          onAll = resolve
          open(session, GatewayServiceService.broadcast.path, admin)
            .on("error", () => {})
            .resume()
            .end(request)
        })
      return (millis) =>
        Effect.promise(async () => {
          const end = performance.now() + millis
          let calls = 0
          for (; performance.now() < end; calls++) await one()
          return calls
        })
    })

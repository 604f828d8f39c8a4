import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as Config from "../config/Config.ts"
import { InvalidConfig, Rejected } from "../config/ConfigError.ts"
import { Auth, AuthConfig, type Jwks } from "./Auth.ts"

/** Where the keys are, on every server that publishes some. */
const path = "/.well-known/jwks.json"

/** How long others may keep what they read, in seconds. */
const maxAge = 300

/** How long the headers of a request, all of it, and the next one may take to arrive, in milliseconds. */
const patience = 5_000

const limits: http.ServerOptions = {
  headersTimeout: patience,
  requestTimeout: patience,
  keepAliveTimeout: patience,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: 8_192
}

/** Who reads keys is a service, and keeps them: a hundred at once are many. */
const maxConnections = 100

const respond = ({ method }: http.IncomingMessage, response: http.ServerResponse, jwks: Jwks): void => {
  const body = JSON.stringify(jwks)
  response.writeHead(200, {
    "content-type": "application/jwk-set+json",
    "content-length": Buffer.byteLength(body),
    "cache-control": `public, max-age=${maxAge}`
  })
  response.end(method === "HEAD" ? undefined : body)
}

const refuse = (response: http.ServerResponse, status: number, headers: http.OutgoingHttpHeaders = {}): void => {
  response.writeHead(status, { ...headers, "content-length": 0 }).end()
}

const listen = (server: http.Server, host: string, port: number): Effect.Effect<string, InvalidConfig> =>
  Effect.callback((resume) => {
    const expected = `a port to listen on at ${host}`
    const onError = ({ code = "an error" }: NodeJS.ErrnoException) => {
      const issue = { source: "the system", path: "auth.jwks_port", expected, actual: `${code} for ${port}` }
      resume(Effect.fail(new InvalidConfig({ reason: new Rejected({ issues: [issue] }) })))
    }
    server.once("error", onError).listen(port, host, () => {
      // What goes wrong with a connection that is accepted is no matter of the server's.
      server.off("error", onError).on("error", () => undefined)
      const { address, family, port } = server.address() as AddressInfo
      resume(Effect.succeed(family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`))
    })
  })

/** Ends the answers that are on their way for a moment, and then all connections. */
const close = (server: http.Server): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    server.closeIdleConnections()
  }).pipe(Effect.timeout("1 second"), Effect.ignore, Effect.andThen(Effect.sync(() => server.closeAllConnections())))

/**
 * Serves the public keys of Auth over plain HTTP at `/.well-known/jwks.json`, to GET and HEAD, until the scope closes.
 *
 * - `host`: the address to listen on
 * - `port`: 0 takes a free one
 *
 * Gives the address that it listens on, as `host:port`. Fails when it cannot listen.
 */
export const makeLive = (options: {
  readonly host: string
  readonly port: number
}): Effect.Effect<{ readonly address: string }, InvalidConfig, Auth | Scope.Scope> =>
  Effect.gen(function* () {
    const { jwks } = yield* Auth
    const scope = yield* Scope.Scope
    const run = Effect.runForkWith(yield* Effect.context<never>())
    const server = yield* Effect.acquireRelease(
      Effect.sync(() => http.createServer(limits)),
      close
    )
    server.maxConnections = maxConnections
    server.on("request", (request, response) => {
      if (request.url !== path) return refuse(response, 404)
      if (request.method !== "GET" && request.method !== "HEAD") return refuse(response, 405, { allow: "GET, HEAD" })
      Fiber.runIn(run(Effect.map(jwks, (keys) => respond(request, response, keys))), scope)
    })
    const address = yield* listen(server, options.host, options.port)
    yield* Effect.logInfo("auth: public keys served").pipe(Effect.annotateLogs({ address }))
    return { address }
  })

/** As {@link JwksLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = (options: {
  readonly host: string
  readonly port: number
}): Layer.Layer<never, InvalidConfig, Auth> => Layer.effectDiscard(makeLive(options))

/** Serves the public keys where `auth.jwks_port` and `server.host` say, or nowhere for port 0. See {@link makeLive}. */
export const JwksLive: Layer.Layer<never, InvalidConfig, Auth> = Layer.effectDiscard(
  Effect.gen(function* () {
    const { jwksPort } = yield* Config.get(AuthConfig)
    const { host } = yield* Config.get(Config.ServerConfig)
    if (jwksPort > 0) yield* makeLive({ host, port: jwksPort })
  })
)

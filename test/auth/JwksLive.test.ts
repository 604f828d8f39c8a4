import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { generateKeyPairSync } from "node:crypto"
import * as http from "node:http"
import * as net from "node:net"
import { Auth } from "xdooria/auth"
import { layerEmbedded } from "xdooria/auth/embedded"
import { ConfigTest } from "xdooria/config"
import { JwksLive, makeLive } from "../../src/auth/JwksLive.ts"
import { open, signWith, verdict } from "./Forge.ts"
import { keyFiles } from "./KeyFiles.ts"

const path = "/.well-known/jwks.json"

const { privateKey } = generateKeyPairSync("ed25519")

/** A service that signs by a pair of keys, and its port for them. */
const setUp = Effect.gen(function* () {
  const { key } = yield* keyFiles({ key: privateKey })
  const context = yield* Layer.build(layerEmbedded({ signingKeyFile: key }))
  const { address } = yield* Effect.provide(makeLive({ host: "127.0.0.1", port: 0 }), context)
  return { address, key, keys: yield* Effect.flatMap(Auth, ({ jwks }) => jwks).pipe(Effect.provide(context)) }
})

interface Answer {
  readonly status: number | undefined
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

const request = (address: string, options: http.RequestOptions = {}): Effect.Effect<Answer, Error> =>
  Effect.callback((resume) => {
    const fail = (error: Error) => resume(Effect.fail(error))
    const sent = http.request(`http://${address}${path}`, { agent: false, ...options }, (response) => {
      let body = ""
      response
        .on("data", (chunk: Buffer) => {
          body += chunk.toString()
        })
        .on("end", () => resume(Effect.succeed({ status: response.statusCode, headers: response.headers, body })))
        .on("error", fail)
    })
    sent.on("error", fail).end()
  })

describe("the port of the public keys", () => {
  it.live("gives them, for five minutes", () =>
    Effect.gen(function* () {
      const { address, keys } = yield* setUp
      const { body, headers, status } = yield* request(address)
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(JSON.parse(body), keys)
      assert.notProperty(keys.keys[0], "d")
      assert.deepInclude(headers, {
        "content-type": "application/jwk-set+json",
        "cache-control": "public, max-age=300",
        "content-length": String(body.length)
      })
      const head = yield* request(address, { method: "HEAD" })
      assert.deepStrictEqual([head.status, head.body, head.headers["content-length"]], [200, "", String(body.length)])
    })
  )

  it.live("gives nothing else, and takes nothing", () =>
    Effect.gen(function* () {
      const { address } = yield* setUp
      const statusOf = (options: http.RequestOptions) => Effect.map(request(address, options), ({ status }) => status)
      for (const other of ["/", "/.well-known", `${path}/`, `${path}?x`, "/.well-known/../etc/passwd", "//", "*"]) {
        assert.strictEqual(yield* statusOf({ path: other }), 404)
      }
      for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"]) {
        const { headers, status } = yield* request(address, { method })
        assert.deepStrictEqual([status, headers["allow"]], [405, "GET, HEAD"])
      }
      assert.strictEqual(yield* statusOf({ headers: { "x-long": "x".repeat(9_000) } }), 431)
    })
  )

  it.live("is what others verify by", () =>
    Effect.gen(function* () {
      const { address, key } = yield* setUp
      const signer = yield* open({ signingKeyFile: key })
      const verifier = yield* open({ jwksUrl: `http://${address}${path}` })
      assert.strictEqual(yield* verdict(verifier, yield* signWith(signer)), "good")
    })
  )

  it.live("is closed with its scope, whoever is still connected", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { address } = yield* Scope.provide(setUp, scope)
      const idle = yield* Effect.callback<net.Socket>((resume) => {
        const socket = net.connect(Number(address.split(":")[1]), "127.0.0.1", () => {
          socket.write("GET / HT")
          resume(Effect.succeed(socket))
        })
      })
      const ended = Effect.callback<void>((resume) => {
        if (idle.destroyed) return resume(Effect.void)
        idle.on("error", () => undefined).once("close", () => resume(Effect.void))
      })
      yield* Scope.close(scope, Exit.void)
      yield* ended
      assert.include(String(yield* Effect.flip(request(address))), "ECONNREFUSED")
    })
  )

  it.live("must be free", () =>
    Effect.gen(function* () {
      const { address } = yield* setUp
      const port = Number(address.split(":")[1])
      const layer = JwksLive.pipe(
        Layer.provide(layerEmbedded()),
        Layer.provide(ConfigTest({ auth: { jwks_port: port } }))
      )
      const { reason } = yield* Effect.flip(Layer.build(layer))
      assert.strictEqual(
        reason.message,
        `the system: auth.jwks_port: expected a port to listen on at 127.0.0.1, got EADDRINUSE for ${port}`
      )
    })
  )

  it.live("is none by itself", () =>
    Effect.gen(function* () {
      const before = process.getActiveResourcesInfo().filter((name) => name === "TCPServerWrap").length
      yield* Layer.build(JwksLive.pipe(Layer.provide(layerEmbedded())))
      const after = process.getActiveResourcesInfo().filter((name) => name === "TCPServerWrap").length
      assert.strictEqual(after, before)
    })
  )
})

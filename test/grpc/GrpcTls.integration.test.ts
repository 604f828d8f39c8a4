// TLS and mutual TLS on real sockets: who is believed, what the one who is not gets, and certificates that are replaced.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import * as http2 from "node:http2"
import * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as tls from "node:tls"
import { fileURLToPath } from "node:url"
import { ConfigTest } from "xdooria/config"
import { Grpc, GrpcError, GrpcServer } from "xdooria/grpc"
import {
  GrpcClientLive,
  GrpcServerLive,
  type GrpcServerOptions,
  layerClientLive,
  layerServerLive
} from "xdooria/grpc/live"
import { Health } from "xdooria/health"
import { HealthLive } from "xdooria/health/live"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import { peerOf } from "../../src/grpc/internal/listener.ts"
import { dial, GameApi, player } from "./Game.ts"

type Settings = Partial<Grpc.GrpcSettings>

const pathOf = (name: string): string => fileURLToPath(new URL(`tls/${name}`, import.meta.url))

const identity = (certificate: string, key = "one.key"): Settings => ({
  tlsCertFile: pathOf(certificate),
  tlsKeyFile: pathOf(key)
})

const authority: Settings = { tlsCaFile: pathOf("ca.pem") }

const server: Settings = { tls: "server", ...identity("server.pem") }
const client: Settings = { tls: "server", ...authority }
const mutual: Settings = { tls: "mutual", ...authority, ...identity("server.pem") }
const known: Settings = { tls: "mutual", ...authority, ...identity("client.pem") }

/** Serves a method that tells who its peer is, as the name of a player. */
const serve = Effect.fnUntraced(function* (settings: Partial<GrpcServerOptions>) {
  const layer = layerServerLive({ port: 0, env: "test", drainDelay: Duration.zero, ...settings })
  const served = Grpc.handlers(
    GameApi,
    Effect.succeed({
      healthCheck: () => Effect.succeed({ status: "SERVING" }),
      createPlayer: () => Effect.succeed({ player: undefined }),
      gainExp: () => Effect.succeed({ player: undefined, levelsGained: 0 }),
      getPlayer: () =>
        Effect.map(Grpc.Call, ({ peer }) => ({ player: { ...player("p1"), name: JSON.stringify(peer) } }))
    })
  )
  const context = yield* Layer.build(GrpcServer.serve(served).pipe(Layer.provideMerge(layer)))
  return (yield* Context.get(context, GrpcServer).address).replace("127.0.0.1", "localhost")
})

type Game = Grpc.Client<typeof GameApi>

const peerSeenBy = (game: Game) =>
  Effect.map(game.getPlayer({ playerId: "p1" }), ({ player }): Grpc.Peer => JSON.parse(player!.name) as Grpc.Peer)

const reasonOf = (game: Game) =>
  Effect.map(Effect.flip(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n })), (error) => {
    assert.instanceOf(error, GrpcError)
    return error.reason
  })

/** The subject that a new connection sees; the connection stays open until the scope closes. */
const connect = (address: string, options: tls.ConnectionOptions = {}) =>
  Effect.acquireRelease(
    Effect.callback<tls.TLSSocket, string>((resume) => {
      const port = Number(address.split(":")[1])
      const ca = readFileSync(pathOf("ca.pem"))
      const socket = tls.connect({ host: "localhost", port, ca, ALPNProtocols: ["h2"], ...options })
      socket.once("secureConnect", () => resume(Effect.succeed(socket)))
      socket.on("error", ({ code = "" }: NodeJS.ErrnoException) => resume(Effect.fail(code)))
      socket.once("close", () => resume(Effect.fail("closed")))
      socket.resume()
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const subjectOf = (address: string) =>
  Effect.scoped(Effect.map(connect(address), (socket) => socket.getPeerCertificate().subject.CN))

const closed = (socket: net.Socket) =>
  Effect.callback<void>((resume) => {
    if (socket.destroyed) resume(Effect.void)
    else socket.once("close", () => resume(Effect.void))
  })

/** Files that can be replaced as a whole, as secrets are. */
const folder = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "grpc-tls-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  ),
  (path) => ({
    path: (name: string) => join(path, name),
    put: (name: string, from: string) => {
      copyFileSync(pathOf(from), join(path, "new"))
      renameSync(join(path, "new"), join(path, name))
    }
  })
)

describe("TLS", () => {
  it.live("is spoken with a server whose certificate is for its name, or its address", () =>
    Effect.gen(function* () {
      const address = yield* serve(server)
      const byName = yield* dial(address, client)
      const byAddress = yield* dial(address.replace("localhost", "127.0.0.1"), client)
      for (const game of [byName, byAddress]) {
        assert.deepStrictEqual(yield* peerSeenBy(game), { address: "127.0.0.1" })
      }
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("tells a handler who the client proved to be, when it is mutual", () =>
    Effect.gen(function* () {
      const game = yield* dial(yield* serve(mutual), known)
      assert.deepStrictEqual(yield* peerSeenBy(game), {
        address: "127.0.0.1",
        certificate: { CN: "gateway", OU: "edge" }
      })
    }).pipe(Effect.provide(LoggerTest))
  )

  const untrusted = {
    "an expired certificate": [{ ...server, ...identity("expired.pem") }, client, "CERT_HAS_EXPIRED"],
    "a certificate of another authority": [
      { ...server, ...identity("stranger.pem") },
      client,
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
    ],
    "a certificate for another name": [
      { ...server, ...identity("elsewhere.pem") },
      client,
      "ERR_TLS_CERT_ALTNAME_INVALID"
    ],
    "a certificate that it signed itself": [
      { ...server, ...identity("self-signed.pem") },
      client,
      "DEPTH_ZERO_SELF_SIGNED_CERT"
    ],
    "a certificate that no authority of Node's vouches for": [
      server,
      { tls: "server" },
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
    ],
    "no TLS": [{}, client, "ERR_SSL_WRONG_VERSION_NUMBER"],
    "a wish for a certificate, which the client has not": [mutual, client, "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED"]
  } as const
  for (const [what, [serving, calling, detail]] of Object.entries(untrusted)) {
    it.live(`fails with a server that has ${what}: the call was not sent, and the client knows why`, () =>
      Effect.gen(function* () {
        const game = yield* dial(yield* serve(serving), calling)
        const reason = yield* reasonOf(game)
        assert.include(reason, { _tag: "TlsFailed", detail, isRetryable: false, isSafeToRetry: true })
        assert.include(reason.message, detail)
      }).pipe(Effect.provide(LoggerTest))
    )
  }

  const strangers = {
    "whose certificate is of another authority": { ...known, ...identity("stranger.pem") },
    "whose certificate has expired": { ...known, ...identity("client-expired.pem") },
    "that speaks no TLS": {}
  } as const
  for (const [what, calling] of Object.entries(strangers)) {
    it.live(`is refused by a server to a client ${what}, and it serves the others`, () =>
      Effect.gen(function* () {
        const address = yield* serve(mutual)
        const stranger = yield* dial(address, calling)
        assert.include(yield* reasonOf(stranger), { _tag: "Unavailable", isSafeToRetry: true })
        yield* peerSeenBy(yield* dial(address, known))
      }).pipe(Effect.provide(LoggerTest))
    )
  }

  it.live("is of version 1.2 at least", () =>
    Effect.gen(function* () {
      const address = yield* serve(server)
      const old = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } as const
      const code = yield* Effect.flip(connect(address, old))
      assert.strictEqual(code, "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION")
      const socket = yield* connect(address, { maxVersion: "TLSv1.2" })
      assert.strictEqual(socket.getProtocol(), "TLSv1.2")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("carries HTTP/2 and nothing else", () =>
    Effect.gen(function* () {
      const address = yield* serve(server)
      const other = yield* Effect.flip(connect(address, { ALPNProtocols: ["http/1.1"] }))
      assert.strictEqual(other, "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL")
      yield* closed(yield* connect(address, { ALPNProtocols: [] }))
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("does not take a session up again, which would not be verified", () =>
    Effect.gen(function* () {
      const address = yield* serve(server)
      for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
        const session = yield* Deferred.make<Buffer>()
        const only = { minVersion: version, maxVersion: version }
        const first = yield* connect(address, only)
        // With the first bytes of HTTP/2 its ticket is there as well, if there is one.
        first.once("data", () => Deferred.doneUnsafe(session, Effect.succeed(first.getSession()!)))
        const second = yield* connect(address, { ...only, session: yield* Deferred.await(session) })
        assert.isFalse(second.isSessionReused(), version)
      }
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("lets a server be where plain text is refused", () =>
    Effect.gen(function* () {
      const address = yield* serve({ ...server, host: "0.0.0.0", env: "prod" })
      const game = yield* dial(address.replace("0.0.0.0", "localhost"), client)
      assert.strictEqual((yield* game.healthCheck({})).status, "SERVING")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("holds a stop no longer than plain text does, not even a connection that has not agreed on it yet", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const address = yield* serve(server).pipe(Scope.provide(scope))
      const game = yield* dial(address, client)
      yield* game.healthCheck({})
      const silent = net.connect(Number(address.split(":")[1]), "127.0.0.1")
      silent.on("error", () => {})
      const secured = yield* connect(address)
      yield* Scope.close(scope, Exit.void)
      yield* Effect.all([closed(silent), closed(secured)])
    }).pipe(Effect.provide(LoggerTest))
  )
})

describe("a peer", () => {
  it.live("has no certificate that was not verified", () =>
    Effect.gen(function* () {
      const seen = yield* Deferred.make<readonly [unknown, Grpc.Peer]>()
      const listening = yield* Effect.acquireRelease(
        Effect.callback<http2.Http2SecureServer>((resume) => {
          const files = { cert: readFileSync(pathOf("server.pem")), key: readFileSync(pathOf("one.key")) }
          const ca = readFileSync(pathOf("ca.pem"))
          const server = http2.createSecureServer({ ...files, ca, requestCert: true, rejectUnauthorized: false })
          server.on("session", (session) => {
            const { subject } = (session.socket as tls.TLSSocket).getPeerCertificate()
            Deferred.doneUnsafe(seen, Effect.succeed([subject.CN, peerOf(session)]))
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = listening.address() as net.AddressInfo
      const own = { cert: readFileSync(pathOf("stranger.pem")), key: readFileSync(pathOf("one.key")) }
      yield* connect(`localhost:${port}`, own)
      assert.deepStrictEqual(yield* Deferred.await(seen), ["stranger", { address: "127.0.0.1" }])
    })
  )
})

describe("certificates that are replaced", () => {
  const replacing = Effect.gen(function* () {
    const files = yield* folder
    files.put("cert.pem", "server.pem")
    files.put("key.pem", "one.key")
    files.put("ca.pem", "ca.pem")
    const log = yield* LogRecorder
    /** Looks at the files again, and waits for what comes of it. */
    const look = (msg: string) =>
      Effect.andThen(
        TestClock.adjust("30 seconds"),
        log.find((line) => line.msg === msg)
      )
    const settings: Settings = {
      tlsCertFile: files.path("cert.pem"),
      tlsKeyFile: files.path("key.pem"),
      tlsCaFile: files.path("ca.pem")
    }
    return { files, look, settings }
  })

  it.effect("at a server hold for new connections, and open ones go on", () =>
    Effect.gen(function* () {
      const { files, look, settings } = yield* replacing
      const address = yield* serve({ ...settings, tls: "server" })
      const game = yield* dial(address, client)
      yield* game.healthCheck({})
      const open = yield* connect(address)
      assert.strictEqual(yield* subjectOf(address), "server")
      files.put("key.pem", "two.key")
      files.put("cert.pem", "server-2.pem")
      yield* look("grpc certificates replaced")
      assert.strictEqual(yield* subjectOf(address), "server 2")
      assert.isEmpty((yield* (yield* LogRecorder).lines).filter(({ level }) => level === "warn"))
      assert.strictEqual((yield* game.healthCheck({})).status, "SERVING")
      assert.strictEqual(open.destroyed, false)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("and do not fit change nothing until they do", () =>
    Effect.gen(function* () {
      const { files, look, settings } = yield* replacing
      const address = yield* serve({ ...settings, tls: "server" })
      files.put("cert.pem", "server-2.pem")
      const line = yield* look("grpc certificates not replaced")
      assert.include(line, { level: "error" })
      assert.include(JSON.stringify(line), "the key of another certificate")
      assert.strictEqual(yield* subjectOf(address), "server")
      files.put("key.pem", "two.key")
      yield* look("grpc certificates replaced")
      assert.strictEqual(yield* subjectOf(address), "server 2")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("by one for other names are warned of: clients may not believe it", () =>
    Effect.gen(function* () {
      const { files, look, settings } = yield* replacing
      yield* serve({ ...settings, tls: "server" })
      files.put("cert.pem", "elsewhere.pem")
      const line = yield* look("grpc certificate has other names than before")
      const names = { names: "DNS:elsewhere.example", names_before: "DNS:localhost, IP Address:127.0.0.1" }
      assert.deepInclude(line, { level: "warn", side: "server", ...names })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("too late are told to health, and in time again when they are", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.now())
      const { files, look, settings } = yield* replacing
      yield* serve({ ...settings, tls: "server" })
      const state = (status: string) =>
        Effect.flatMap(Effect.service(Health.Reporter), ({ changes }) =>
          changes.pipe(
            Stream.map((states) => states.get("grpc.server.tls")),
            Stream.filter((state) => state?.status === status),
            Stream.runHead,
            Effect.flatMap(Effect.fromOption)
          )
        )
      yield* state("up")
      files.put("cert.pem", "expired.pem")
      yield* look("grpc certificates replaced")
      assert.deepStrictEqual(yield* state("down"), { status: "down", detail: "the certificate has expired" })
      files.put("cert.pem", "server.pem")
      yield* TestClock.adjust("30 seconds")
      yield* state("up")
    }).pipe(Effect.provide(Layer.merge(LoggerTest, HealthLive)))
  )

  it.effect("take trust away from an authority", () =>
    Effect.gen(function* () {
      const { files, look, settings } = yield* replacing
      const address = yield* serve({ ...settings, tls: "mutual" })
      yield* peerSeenBy(yield* dial(address, known))
      files.put("ca.pem", "other-ca.pem")
      yield* look("grpc certificates replaced")
      assert.strictEqual((yield* reasonOf(yield* dial(address, known)))._tag, "Unavailable")
      const stranger = yield* dial(address, { ...known, ...identity("stranger.pem") })
      assert.deepStrictEqual((yield* peerSeenBy(stranger)).certificate, { CN: "stranger", OU: "nobody" })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("at a client hold for new connections, and open ones go on", () =>
    Effect.gen(function* () {
      const { files, look, settings } = yield* replacing
      files.put("cert.pem", "client.pem")
      const address = yield* serve({ ...mutual, host: "127.0.0.1" })
      const context = yield* Layer.build(layerClientLive({ ...settings, tls: "mutual" }))
      const open = (target: string) => Grpc.client(GameApi, { target }).pipe(Effect.provide(context))
      const before = yield* open(address)
      assert.deepStrictEqual((yield* peerSeenBy(before)).certificate, { CN: "gateway", OU: "edge" })
      files.put("key.pem", "two.key")
      files.put("cert.pem", "client-2.pem")
      yield* look("grpc certificates replaced")
      // Another target, so another connection.
      const after = yield* open(address.replace("localhost", "127.0.0.1"))
      assert.deepStrictEqual((yield* peerSeenBy(after)).certificate, { CN: "gateway 2", OU: "edge" })
      assert.deepStrictEqual((yield* peerSeenBy(before)).certificate, { CN: "gateway", OU: "edge" })
    }).pipe(Effect.provide(LoggerTest))
  )
})

describe("files of TLS", () => {
  const refused = {
    "that are not there": [{ ...server, tlsKeyFile: "/nowhere/key.pem" }, "ENOENT"],
    "that are folders": [{ ...server, tlsCertFile: tmpdir() }, "no regular file"],
    "that are not named": [{ tls: "server" }, "none"],
    "without a certificate": [{ ...server, tlsCertFile: pathOf("one.key") }, "no certificate"],
    "without a key": [{ ...server, tlsKeyFile: pathOf("ca.pem") }, "ERR_OSSL_UNSUPPORTED"],
    "with the key of another certificate": [{ ...server, tlsKeyFile: pathOf("two.key") }, "the key of another"],
    "without an authority": [{ ...server, tlsCaFile: pathOf("one.key") }, "no certificate"],
    "without a word of authorities, in mutual": [{ tls: "mutual", ...identity("server.pem") }, "none"]
  } as const
  for (const [what, [settings, actual]] of Object.entries(refused)) {
    it.live(`${what} keep a server from starting, which says so and shows nothing of them`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(serve(settings as Settings))
        assert.strictEqual(error._tag, "InvalidConfig")
        assert.include(error.message, actual)
        assert.include(error.message, "grpc.tls_")
        assert.notInclude(error.message, "BEGIN")
      }).pipe(Effect.provide(LoggerTest))
    )
  }

  it.live("with a garbled certificate or an encrypted key keep it from starting as well", () =>
    Effect.gen(function* () {
      const files = yield* folder
      const garbled = readFileSync(pathOf("server.pem"), "utf8").replace(/[A-Z]{3}/, "AAA")
      writeFileSync(files.path("cert.pem"), garbled.slice(0, 200) + garbled.slice(260))
      const encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGj\n-----END ENCRYPTED PRIVATE KEY-----\n"
      writeFileSync(files.path("key.pem"), encrypted)
      for (const settings of [{ tlsCertFile: files.path("cert.pem") }, { tlsKeyFile: files.path("key.pem") }]) {
        const error = yield* Effect.flip(serve({ ...server, ...settings }))
        assert.strictEqual(error._tag, "InvalidConfig")
      }
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("of which a part is written keep it from starting as well, also when whole blocks come before", () =>
    Effect.gen(function* () {
      const files = yield* folder
      const [own, other] = ["ca.pem", "other-ca.pem"].map((name) => readFileSync(pathOf(name), "utf8")) as [
        string,
        string
      ]
      const parts = [own + other.slice(0, other.length / 2), `${other.slice(0, 99)}\n${own}`, `${own}-----BEGIN CERT`]
      for (const part of parts) {
        writeFileSync(files.path("ca.pem"), part)
        const error = yield* Effect.flip(serve({ ...mutual, tlsCaFile: files.path("ca.pem") }))
        assert.strictEqual(error._tag, "InvalidConfig")
        assert.include(error.message, "a part of such a file")
      }
      writeFileSync(files.path("ca.pem"), `# ours\n${own}\n# theirs\n${other}`)
      yield* serve({ ...mutual, tlsCaFile: files.path("ca.pem") })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("keep a client from starting that needs them", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Layer.build(layerClientLive({ ...client, tlsCaFile: "/nowhere/ca.pem" })))
      assert.strictEqual(error._tag, "InvalidConfig")
      const own = yield* Effect.flip(Layer.build(layerClientLive({ tls: "mutual", ...authority })))
      assert.include(own.message, "grpc.tls_cert_file")
    })
  )

  it.live("of its own are not asked for where a process only calls servers that prove who they are", () =>
    Effect.gen(function* () {
      const address = yield* serve(server)
      const config = ConfigTest({ grpc: { tls: "server", tls_ca_file: pathOf("ca.pem") } })
      const context = yield* Layer.build(GrpcClientLive.pipe(Layer.provide(config)))
      const game = yield* Grpc.client(GameApi, { target: address }).pipe(Effect.provide(context))
      assert.strictEqual((yield* game.healthCheck({})).status, "SERVING")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("are asked for by the configuration", () =>
    Effect.gen(function* () {
      const messageOf = (grpc: Record<string, unknown>) =>
        Effect.map(
          Effect.flip(Layer.build(GrpcServerLive.pipe(Layer.provide(ConfigTest({ grpc, server: { port: 0 } }))))),
          ({ message }) => message
        )
      assert.include(yield* messageOf({ tls: "server" }), "grpc.tls_cert_file")
      const own = { tls_cert_file: pathOf("server.pem"), tls_key_file: pathOf("one.key") }
      assert.include(yield* messageOf({ tls: "mutual", ...own }), "grpc.tls_ca_file")
      assert.include(yield* messageOf({ tls: "mutual", tls_ca_file: pathOf("ca.pem") }), "grpc.tls_cert_file")
    })
  )
})

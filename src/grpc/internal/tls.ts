import * as grpc from "@grpc/grpc-js"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { constants, createPrivateKey, X509Certificate } from "node:crypto"
import * as net from "node:net"
import * as tls from "node:tls"
import { InvalidConfig, Rejected } from "../../config/ConfigError.ts"
import * as Health from "../../health/Health.ts"
import { readPem } from "../../utils/Tls.ts"
import type { GrpcSettings } from "../Grpc.ts"

/** The values of section `grpc` that TLS is made of. */
export type TlsSettings = Pick<GrpcSettings, "tls" | "tlsCertFile" | "tlsKeyFile" | "tlsCaFile" | "tlsReload">

type Side = "server" | "client"

/** Files in force, all of one reading. */
interface Material {
  readonly options: tls.SecureContextOptions
  readonly context: tls.SecureContext
  /** When our certificate ends, in milliseconds of the epoch; Infinity without one. */
  readonly expires: number
  /** Whom our certificate is for, as Node writes it; empty without one. */
  readonly names: string
}

const keys = { cert: "grpc.tls_cert_file", key: "grpc.tls_key_file", ca: "grpc.tls_ca_file" } as const

type Kind = keyof typeof keys

/** What the files are called where no section `grpc` is. */
export type Names = { readonly [K in Kind]: string }

const contents: Readonly<Record<Kind, string>> = {
  cert: "certificates, ours first",
  key: "the key of our certificate, not encrypted",
  ca: "certificates"
}

interface File {
  readonly path: string
  readonly name: string
}

type Files = { readonly [K in Kind]?: File }

type Pems = { readonly [K in Kind]?: Buffer }

/** A server proves who it is, a client in mutual; a server of mutual knows its clients by authorities of its own. */
const filesOf = ({ tls, tlsCaFile, tlsCertFile, tlsKeyFile }: TlsSettings, side: Side, names: Names): Files => ({
  ...(side === "server" || tls === "mutual"
    ? { cert: { path: tlsCertFile, name: names.cert }, key: { path: tlsKeyFile, name: names.key } }
    : {}),
  ...(tlsCaFile !== "" || (side === "server" && tls === "mutual") ? { ca: { path: tlsCaFile, name: names.ca } } : {})
})

const rejected = ({ name, path }: File, expected: string, actual: string): InvalidConfig =>
  new InvalidConfig({
    reason: new Rejected({ issues: [{ source: path === "" ? "default" : path, path: name, expected, actual }] })
  })

const pemOf = (kind: Kind): string => `a PEM file with ${contents[kind]}`

const read = (files: Files): Effect.Effect<Pems, InvalidConfig> =>
  Effect.map(
    Effect.forEach(Object.entries(files) as ReadonlyArray<[Kind, File]>, ([kind, file]) =>
      file.path === ""
        ? Effect.fail(rejected(file, pemOf(kind), "none"))
        : Effect.map(readPem(file.path, file.name, contents[kind]), (pem) => [kind, pem] as const)
    ),
    Object.fromEntries
  )

const block = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^]*?-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g

const anyBlock = /-----BEGIN ([A-Z0-9 ]+)-----(?:(?!-----)[^])*-----END \1-----/g

/** Whether it holds a part of a block, as a file does that is still being written. */
const isCutOff = (pem: Buffer): boolean => pem.toString("latin1").replace(anyBlock, "").includes("-----")

const certificatesOf = (pem: Buffer): ReadonlyArray<X509Certificate> =>
  (pem.toString("latin1").match(block) ?? []).map((text) => new X509Certificate(text))

/** OpenSSL passes over what it cannot read among certificates, so each is looked at. */
const check = (pems: Pems, files: Files): Result.Result<Material, InvalidConfig> => {
  const misfit = (kind: Kind, actual: string) => Result.fail(rejected(files[kind]!, pemOf(kind), actual))
  const attempt = <A>(kind: Kind, run: () => A) =>
    Result.try({
      try: run,
      catch: (error) => rejected(files[kind]!, pemOf(kind), (error as NodeJS.ErrnoException).code ?? "an error")
    })
  return Result.gen(function* () {
    const cutOff = (Object.keys(pems) as ReadonlyArray<Kind>).find((kind) => isCutOff(pems[kind]!))
    if (cutOff !== undefined) return yield* misfit(cutOff, "a part of such a file")
    const { ca, cert, key } = pems
    if (ca !== undefined) {
      const authorities = yield* attempt("ca", () => certificatesOf(ca))
      if (authorities.length === 0) return yield* misfit("ca", "no certificate")
    }
    // TLS 1.2 at least. A session that is resumed is not verified again, so a withdrawn authority would go on: none is.
    const options = { ...pems, minVersion: "TLSv1.2" as const, secureOptions: constants.SSL_OP_NO_TICKET }
    if (cert === undefined || key === undefined) {
      const context = yield* attempt("ca", () => tls.createSecureContext(options))
      return { options, context, expires: Infinity, names: "" }
    }
    const [own] = yield* attempt("cert", () => certificatesOf(cert))
    if (own === undefined) return yield* misfit("cert", "no certificate")
    const ownKey = yield* attempt("key", () => createPrivateKey(key))
    if (!own.checkPrivateKey(ownKey)) {
      const expected = `the key of ${files.cert!.path}`
      return yield* Result.fail(rejected(files.key!, expected, "the key of another certificate"))
    }
    const context = yield* attempt("cert", () => tls.createSecureContext(options))
    return { options, context, expires: own.validToDate.getTime(), names: own.subjectAltName ?? own.subject }
  })
}

const load = (files: Files): Effect.Effect<readonly [Pems, Material], InvalidConfig> =>
  Effect.flatMap(read(files), (pems) =>
    Effect.map(Effect.fromResult(check(pems, files)), (material) => [pems, material] as const)
  )

const same = (one: Pems, other: Pems): boolean =>
  (Object.keys(keys) as ReadonlyArray<Kind>).every(
    (kind) => Buffer.compare(one[kind] ?? empty, other[kind] ?? empty) === 0
  )

const empty = Buffer.alloc(0)

/** Tells health whether our certificate still holds: one that cannot be replaced yet works as long as it does. */
const tellHealth = (component: string, expires: number): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Health.report(
      component,
      now < expires ? { status: "up" } : { status: "down", detail: "the certificate has expired" }
    )
  )

/**
 * Reads the files, and again every `tlsReload`, until the scope closes. What works is given to `apply`; files that do
 * not, such as a certificate whose key is not there yet, change nothing. One for other names may be what is wanted, so it
 * is taken, and warned of.
 */
const follow = (
  settings: TlsSettings,
  side: Side,
  names: Names,
  apply: (material: Material) => void
): Effect.Effect<void, InvalidConfig, Scope.Scope> =>
  Effect.gen(function* () {
    const files = filesOf(settings, side, names)
    const component = `grpc.${side}.tls`
    let [pems, material] = yield* load(files)
    let problem = ""
    apply(material)
    const look = Effect.gen(function* () {
      const loaded = yield* Effect.result(load(files))
      if (Result.isFailure(loaded)) {
        // Once, not at every look.
        if (loaded.failure.message !== problem) yield* Effect.logError("grpc certificates not replaced", loaded.failure)
        problem = loaded.failure.message
      } else {
        problem = ""
        if (!same(pems, loaded.success[0])) {
          const before = material.names
          ;[pems, material] = loaded.success
          apply(material)
          yield* Effect.logInfo("grpc certificates replaced").pipe(Effect.annotateLogs({ side }))
          if (material.names !== before) {
            yield* Effect.logWarning("grpc certificate has other names than before").pipe(
              Effect.annotateLogs({ side, names: material.names, names_before: before })
            )
          }
        }
      }
      yield* tellHealth(component, material.expires)
    })
    yield* tellHealth(component, material.expires)
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(settings.tlsReload), look)))
  })

// --- server

/** TLS in front of a server. */
export interface ServerTls {
  /** Makes a server to listen with. Connections of after a reload see the new certificate, older ones go on. */
  readonly createServer: (options: net.ServerOpts, onSecure: (socket: tls.TLSSocket) => void) => tls.Server
}

/** A connection that has not agreed on TLS by then is closed, in milliseconds. */
const handshakeTimeout = 10_000

/**
 * What a server listens with, from the values of section `grpc`; undefined without TLS. In mutual it takes nobody whose
 * certificate is not of its authorities.
 *
 * Fails when a file that it needs is missing or does not fit.
 */
export const server = (settings: TlsSettings): Effect.Effect<ServerTls | undefined, InvalidConfig, Scope.Scope> =>
  Effect.gen(function* () {
    if (settings.tls === "disable") return undefined
    const servers = new Set<tls.Server>()
    let options: tls.SecureContextOptions = {}
    yield* follow(settings, "server", keys, (material) => {
      options = material.options
      for (const server of servers) server.setSecureContext(options)
    })
    const mutual = settings.tls === "mutual"
    return {
      createServer: (listening, onSecure) => {
        const server = tls.createServer({
          ...listening,
          ...options,
          ALPNProtocols: ["h2"],
          handshakeTimeout,
          requestCert: mutual,
          rejectUnauthorized: mutual
        })
        server.on("secureConnection", (socket) => {
          // Its end says enough, to the one who has the connection.
          socket.on("error", () => {})
          if (socket.alpnProtocol === "h2") onSecure(socket)
          else socket.destroy()
        })
        servers.add(server)
        return server.once("close", () => servers.delete(server))
      }
    }
  })

// --- client

/**
 * Makes the credentials of one connection.
 *
 * - `tell`: told why TLS failed, with Node's code such as `CERT_HAS_EXPIRED`, and nothing when it is tried again. grpc-js
 *   has no more than a text of it
 */
export type MakeCredentials = (tell: (failure: string | undefined) => void) => grpc.ChannelCredentials

type Connector = ReturnType<grpc.ChannelCredentials["_createSecureConnector"]>

/** Whether it is not the network that failed, as with ECONNRESET. */
const isOfTls = ({ code = "" }: NodeJS.ErrnoException): boolean => !/^(?:E[A-Z]+)?$/.test(code)

/** The peer speaks TLS, and another protocol than HTTP/2 inside. */
const otherProtocol = (): Error => Object.assign(new Error("the server does not speak HTTP/2"), { code: "NO_HTTP_2" })

const secure = (
  socket: net.Socket,
  name: string,
  secureContext: tls.SecureContext,
  tell: (failure: string | undefined) => void
): ReturnType<Connector["connect"]> =>
  new Promise((resolve, reject) => {
    const secured = tls.connect({
      socket,
      secureContext,
      // The certificate must be for it. An address may not be sent to the server as a name.
      host: name,
      ...(net.isIP(name) === 0 ? { servername: name } : {}),
      ALPNProtocols: ["h2"]
    })
    // Stays: a server that wants a certificate from us says so when TLS is already done for us.
    secured.on("error", (error: NodeJS.ErrnoException) => {
      if (isOfTls(error)) tell(error.code)
      reject(error)
    })
    secured.once("close", () => reject(new Error("the connection was closed")))
    secured.once("secureConnect", () => {
      if (secured.alpnProtocol === "h2") resolve({ socket: secured, secure: true })
      else secured.destroy(otherProtocol())
    })
  })

/** The host of a target such as `game:50051` or `[::1]:50051`. */
const hostOf = (address: string): string => address.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1")

/** Credentials whose every connection takes the certificates of that moment: those of grpc-js keep their first. */
class Credentials extends grpc.ChannelCredentials {
  readonly #secureContext: () => tls.SecureContext
  readonly #tell: (failure: string | undefined) => void

  constructor(secureContext: () => tls.SecureContext, tell: (failure: string | undefined) => void) {
    super()
    this.#secureContext = secureContext
    this.#tell = tell
  }

  override _isSecure(): boolean {
    return true
  }

  override _equals(other: grpc.ChannelCredentials): boolean {
    return this === other
  }

  override _createSecureConnector(
    ...[{ path }, options, callCredentials]: Parameters<grpc.ChannelCredentials["_createSecureConnector"]>
  ): Connector {
    const name = options["grpc.ssl_target_name_override"] ?? hostOf(path)
    return {
      connect: (socket) => secure(socket, name, this.#secureContext(), this.#tell),
      // Before each try.
      waitForReady: () => {
        this.#tell(undefined)
        return Promise.resolve()
      },
      getCallCredentials: () => callCredentials ?? grpc.CallCredentials.createEmpty(),
      destroy: () => {}
    }
  }
}

/**
 * What a client connects with, from the values of section `grpc`: plain text without TLS. Credentials stay good for the
 * life of the scope: a connection that is made after a reload has the new certificates, older ones go on. The server's
 * certificate must be for the host of the channel's target, or for its option `grpc.ssl_target_name_override`.
 *
 * - `names`: what errors call the files; the keys of the section when not given
 *
 * Fails when a file that it needs is missing or does not fit.
 */
export const client = (
  settings: TlsSettings,
  names: Names = keys
): Effect.Effect<MakeCredentials, InvalidConfig, Scope.Scope> =>
  Effect.gen(function* () {
    if (settings.tls === "disable") return () => grpc.credentials.createInsecure()
    let current: tls.SecureContext | undefined
    yield* follow(settings, "client", names, ({ context }) => {
      current = context
    })
    return (tell: (failure: string | undefined) => void) => new Credentials(() => current!, tell)
  })

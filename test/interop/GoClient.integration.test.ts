// A client of grpc-go calls our server: what a Go program sees of statuses, their details, deadlines, cancellation and
// compression, in calls of all four kinds.
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import { codes } from "xdooria/grpc"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import * as RealServer from "../support/RealServer.ts"
import * as Peer from "./Peer.ts"
import * as TestService from "./TestService.ts"

const methods = {
  unary: "UnaryCall",
  output: "StreamingOutputCall",
  input: "StreamingInputCall",
  duplex: "FullDuplexCall"
} as const

const kinds = Object.keys(methods) as ReadonlyArray<keyof typeof methods>

const together = { concurrency: 4 } as const

const detailsKey = "grpc-status-details-bin"

const file = (name: string): string => fileURLToPath(new URL(`../grpc/tls/${name}`, import.meta.url))

const statuses = codes.map((name, code) => ({ name, code })).slice(1)

/** How a call ends when each of its requests is left unanswered: by the handler, or because there is no end of them. */
const unanswered = (kind: keyof typeof methods) =>
  kind === "input" || kind === "duplex" ? ["-hold"] : ["-metadata", "x-hold=1"]

RealServer.suite("goPeer", "a client of grpc-go", ({ program }) => {
  it.live("gets the messages of every kind", () =>
    Effect.gen(function* () {
      const { address } = yield* TestService.serve()
      for (const flags of [[], ["-gzip"]]) {
        const reports = yield* Effect.forEach(
          kinds,
          (kind) => Peer.call(program, address, kind, [...flags, "-sizes", kind === "unary" ? "100000" : "1,100000,7"]),
          together
        )
        assert.deepStrictEqual(
          reports.map(({ code, sizes }) => [code, ...sizes]),
          [
            [0, 100_000],
            [0, 1, 100_000, 7],
            [0, 100_008],
            [0, 1, 100_000, 7]
          ]
        )
        for (const { trailer } of reports) assert.notProperty(trailer, detailsKey)
      }
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("gets a declared error with its code, its message, and its details once", () =>
    Effect.gen(function* () {
      const { address } = yield* TestService.serve()
      yield* Effect.forEach(
        statuses,
        ({ code, name }) =>
          Effect.gen(function* () {
            const message = `no ☺ ${name}, 100%`
            const flags = ["-code", String(code), "-message", message]
            const { trailer, ...report } = yield* Peer.call(program, address, "unary", flags)
            assert.deepInclude(report, {
              code,
              message,
              infos: [{ reason: `ASKED_${name}`, domain: "grpc.testing.TestService", metadata: { text: message } }],
              // The second is an error of ours, which no Go program knows.
              details: 2,
              sizes: []
            })
            assert.lengthOf(trailer[detailsKey]!, 1)
          }),
        together
      )
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("gets an error after the messages that came before it", () =>
    Effect.gen(function* () {
      const { address } = yield* TestService.serve()
      for (const kind of ["output", "duplex"] as const) {
        const flags = ["-sizes", "1,100000", "-code", "9", "-message", "no more"]
        const { trailer, ...report } = yield* Peer.call(program, address, kind, flags)
        assert.deepInclude(report, {
          code: 9,
          message: "no more",
          infos: [
            { reason: "ASKED_FAILED_PRECONDITION", domain: "grpc.testing.TestService", metadata: { text: "no more" } }
          ],
          sizes: [1, 100_000]
        })
        assert.lengthOf(trailer[detailsKey]!, 1)
      }
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("gets a defect as INTERNAL, with the id of its log line and no text", () =>
    Effect.gen(function* () {
      const log = yield* LogRecorder
      const { address } = yield* TestService.serve()
      const ids = yield* Effect.forEach(["unary", "duplex"] as const, (kind) =>
        Effect.gen(function* () {
          // There is no such status.
          const report = yield* Peer.call(program, address, kind, ["-code", "99", "-message", "secret"])
          const id = report.infos[0]?.metadata["error_id"]
          assert.deepInclude(report, { code: 13, message: `internal error ${id}`, details: 1 })
          assert.lengthOf(report.trailer[detailsKey]!, 1)
          yield* log.find((line) => line["error_id"] === id && String(line["method"]).endsWith(methods[kind]))
          return id
        })
      )
      assert.isTrue(ids[0] !== ids[1] && ids.every((id) => /^[0-9a-f]{16}$/.test(String(id))))
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("gets DEADLINE_EXCEEDED at its deadline, and the handler is interrupted", () =>
    Effect.gen(function* () {
      const { address, seen } = yield* TestService.serve()
      yield* Effect.forEach(
        kinds,
        (kind) =>
          Effect.gen(function* () {
            const flags = ["-deadline", "1s", ...unanswered(kind)]
            assert.strictEqual((yield* Peer.call(program, address, kind, flags)).code, 4)
            yield* seen.first(({ method, what }) => method.endsWith(methods[kind]) && what === "interrupted")
          }),
        together
      )
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("gets CANCELLED when it cancels, and the handler is interrupted", () =>
    Effect.gen(function* () {
      const { address, seen } = yield* TestService.serve()
      yield* Effect.forEach(
        kinds,
        (kind) =>
          Effect.gen(function* () {
            const is = (wanted: TestService.Seen["what"]) =>
              seen.first(({ method, what }) => method.endsWith(methods[kind]) && what === wanted)
            const flags = ["-cancel", ...unanswered(kind)]
            assert.strictEqual((yield* Peer.call(program, address, kind, flags, is("begun"))).code, 1)
            yield* is("interrupted")
          }),
        together
      )
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("speaks TLS, and proves who it is where that is asked for", () =>
    Effect.gen(function* () {
      const settings = { tlsCertFile: file("server.pem"), tlsKeyFile: file("one.key"), tlsCaFile: file("ca.pem") }
      const ours = ["-identity", `${file("client.pem")},${file("one.key")}`]
      const codesOf = Effect.fnUntraced(function* (tls: "server" | "mutual", flags: ReadonlyArray<string>) {
        const { address } = yield* TestService.serve({ ...settings, tls })
        const reports = yield* Effect.forEach(kinds, (kind) => Peer.call(program, address, kind, flags), together)
        return [...new Set(reports.map(({ code }) => code))]
      })
      assert.deepStrictEqual(yield* codesOf("server", ["-ca", file("ca.pem")]), [0])
      assert.deepStrictEqual(yield* codesOf("server", ["-ca", file("other-ca.pem")]), [14])
      assert.deepStrictEqual(yield* codesOf("mutual", ["-ca", file("ca.pem"), ...ours]), [0])
      assert.deepStrictEqual(yield* codesOf("mutual", ["-ca", file("ca.pem")]), [14])
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("gets RESOURCE_EXHAUSTED for a message over the limit, compressed or not", () =>
    Effect.gen(function* () {
      const { address } = yield* TestService.serve({ maxMessageSize: 10_000 })
      for (const flags of [[], ["-gzip"]]) {
        for (const kind of ["unary", "input", "duplex"] as const) {
          assert.strictEqual((yield* Peer.call(program, address, kind, [...flags, "-sizes", "10001"])).code, 8, kind)
        }
      }
    }).pipe(Effect.provide(LoggerTest))
  )
})

// What grpcurl does, by its library, on a server of ours: it learns all from reflection.
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { LoggerTest } from "xdooria/logger"
import { descriptors } from "../gen/descriptors.ts"
import * as RealServer from "../support/RealServer.ts"
import * as Peer from "./Peer.ts"
import * as TestService from "./TestService.ts"

const service = "grpc.testing.TestService"

RealServer.suite("goPeer", "grpcurl", ({ program }) => {
  const start = Effect.map(
    TestService.serve({}, { descriptors }),
    ({ address }) =>
      (...args: ReadonlyArray<string>) =>
        Effect.map(Peer.run(program, ["curl", address, ...args]), ({ code, errors, output }) => {
          assert.strictEqual(code, 0, errors)
          return output.trim()
        })
  )

  /** The JSON documents that it prints, one after the other. */
  const documents = (output: string): ReadonlyArray<unknown> =>
    JSON.parse(`[${output.replaceAll(/^\}\s*\{$/gm, "},{")}]`) as ReadonlyArray<unknown>

  it.live("lists services and methods", () =>
    Effect.gen(function* () {
      const curl = yield* start
      assert.deepStrictEqual((yield* curl("list")).split("\n"), [service, "grpc.health.v1.Health"])
      assert.deepStrictEqual((yield* curl("list", service)).split("\n"), [
        `${service}.EmptyCall`,
        `${service}.FullDuplexCall`,
        `${service}.StreamingInputCall`,
        `${service}.StreamingOutputCall`,
        `${service}.UnaryCall`
      ])
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("describes services, methods, messages and enums", () =>
    Effect.gen(function* () {
      const curl = yield* start
      assert.include(
        yield* curl("describe", service),
        "rpc FullDuplexCall ( stream .grpc.testing.StreamingOutputCallRequest ) returns ( stream .grpc.testing.StreamingOutputCallResponse );"
      )
      assert.include(
        yield* curl("describe", `${service}.EmptyCall`),
        "// Answers with nothing.\nrpc EmptyCall ( .grpc.testing.Empty ) returns ( .grpc.testing.Empty );"
      )
      assert.include(yield* curl("describe", "grpc.testing.ResponseParameters"), "int32 interval_us = 2;")
      assert.include(yield* curl("describe", "grpc.testing.PayloadType"), "COMPRESSABLE = 0;")
      assert.include(yield* curl("describe", "grpc.health.v1.Health"), "rpc Watch (")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("calls methods of all four kinds, and prints their errors", () =>
    Effect.gen(function* () {
      const curl = yield* start
      const body = (size: number) => ({ payload: { body: Buffer.alloc(size).toString("base64") } })
      const two = `{"responseParameters":[{"size":1},{"size":2}]}`
      assert.deepStrictEqual(documents(yield* curl(`${service}/UnaryCall`, `{"responseSize":3}`)), [body(3)])
      assert.deepStrictEqual(documents(yield* curl(`${service}/StreamingOutputCall`, two)), [body(1), body(2)])
      assert.deepStrictEqual(
        documents(yield* curl(`${service}/StreamingInputCall`, JSON.stringify(body(3)), JSON.stringify(body(4)))),
        [{ aggregatedPayloadSize: 7 }]
      )
      assert.deepStrictEqual(documents(yield* curl(`${service}/FullDuplexCall`, two, two)), [
        body(1),
        body(2),
        body(1),
        body(2)
      ])
      const printed = yield* curl(`${service}/UnaryCall`, `{"responseStatus":{"code":5,"message":"no such thing"}}`)
      for (const part of ["Code: NotFound", "Message: no such thing", "google.rpc.ErrorInfo", "ASKED_NOT_FOUND"]) {
        assert.include(printed, part)
      }
      assert.deepStrictEqual(documents(yield* curl("grpc.health.v1.Health/Check", "{}")), [{ status: "SERVING" }])
    }).pipe(Effect.provide(LoggerTest))
  )
})

// Calls by name of servers that lie, or say nothing, or do not stop.
import { assert, describe, it } from "@effect/vitest"
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf"
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProto,
  FileDescriptorProtoSchema
} from "@bufbuild/protobuf/wkt"
import { BinaryWriter } from "@bufbuild/protobuf/wire"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { GrpcReflect } from "xdooria/grpc/live"
import {
  callOne,
  errorAnswer,
  filesAnswer,
  honest,
  kinds,
  type Question,
  type Reflection,
  serve,
  servicesAnswer
} from "./Reflected.ts"

type File = MessageInitShape<typeof FileDescriptorProtoSchema>

const message = (name: string) => ({
  name,
  field: [
    { name: "name", number: 1, type: FieldDescriptorProto_Type.STRING, label: FieldDescriptorProto_Label.OPTIONAL }
  ]
})

/** A file with the service two.Files, whose method Echo takes and gives two.Message. */
const service = (changes: Omit<File, "$typeName"> = {}): FileDescriptorProto =>
  create(FileDescriptorProtoSchema, {
    name: "service.proto",
    package: "two",
    syntax: "proto3",
    dependency: ["message.proto"],
    service: [{ name: "Files", method: [{ name: "Echo", inputType: ".two.Message", outputType: ".two.Message" }] }],
    ...(changes as object)
  })

const file = (name: string, changes: Omit<File, "$typeName"> = {}): FileDescriptorProto =>
  create(FileDescriptorProtoSchema, { name, package: "two", syntax: "proto3", ...(changes as object) })

const messageFile = (changes: Omit<File, "$typeName"> = {}) =>
  file("message.proto", { messageType: [message("Message")], ...(changes as object) })

/** Of a file, a message in a message, 20,000 times: deeper than any stack. */
const abyss = ((): Uint8Array => {
  let bytes: Uint8Array = new BinaryWriter().tag(1, 2).string("M").finish()
  for (let depth = 0; depth < 20_000; depth++) bytes = new BinaryWriter().tag(3, 2).bytes(bytes).finish()
  return new BinaryWriter().tag(4, 2).bytes(bytes).finish()
})()

const textOf = (question: Question): string =>
  question === "services" ? question : "file" in question ? question.file : question.symbol

/** A server with the method, and a reflection that answers with these files by what it is asked for. */
const reflecting = (
  answer: (asked: string) => ReadonlyArray<FileDescriptorProto | Uint8Array> | Buffer | undefined
) => {
  const reflection: Reflection = (question) => {
    const answered = answer(textOf(question))
    return answered === undefined || Buffer.isBuffer(answered) ? answered : filesAnswer(answered)
  }
  return Effect.map(
    serve(
      {
        "/two.Files/Echo": (call) => {
          call.on("data", (bytes: Buffer) => call.write(bytes))
          call.on("end", () => call.end())
        }
      },
      { reflection }
    ),
    ({ address }) => address
  )
}

const echo = (address: string) =>
  callOne({ address, method: "two.Files/Echo", request: `{"name":"x"}`, deadline: "10 seconds" })

const refused = (address: string) => Effect.map(Effect.flip(echo(address)), ({ message }) => message)

describe("a reflection", () => {
  it.live("is asked for each import, once", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const address = yield* reflecting((name) => {
        asked.push(name)
        return name === "message.proto" ? [messageFile()] : [service()]
      })
      assert.deepStrictEqual(yield* echo(address), { name: "x" })
      assert.deepStrictEqual(asked, ["two.Files", "message.proto"])
    })
  )

  it.live("that answers garbage, nothing, or never, is told apart", () =>
    Effect.gen(function* () {
      assert.include(yield* refused(yield* reflecting(() => Buffer.from([0xff]))), "does not decode")
      assert.include(yield* refused(yield* reflecting(() => [Buffer.from([0xff])])), "a file that does not decode")
      assert.include(
        yield* refused(yield* reflecting(() => Buffer.alloc(0))),
        "UNIMPLEMENTED the server has no service two.Files"
      )
      assert.include(yield* refused(yield* reflecting(() => [file("other.proto")])), "UNIMPLEMENTED")
      assert.include(
        yield* refused(yield* reflecting(() => [service({ dependency: [], syntax: "proto9" })])),
        "is invalid"
      )
      assert.include(
        yield* refused(yield* reflecting(() => errorAnswer(7, "not\u001b you"))),
        "PERMISSION_DENIED not\\u001b you"
      )
      assert.include(yield* refused(yield* reflecting(() => errorAnswer(99, "what"))), "UNKNOWN what")
      const silent = yield* reflecting(() => undefined)
      const never = yield* Effect.flip(
        callOne({ address: silent, method: "two.Files/Echo", request: "", deadline: 300 })
      )
      assert.strictEqual(never.code, "DEADLINE_EXCEEDED")
    })
  )

  it.live("may have imports in a circle, of what is not there, or without end, and it ends", () =>
    Effect.gen(function* () {
      const circle = yield* reflecting((name) =>
        name === "message.proto" ? [messageFile({ dependency: ["service.proto"] })] : [service()]
      )
      assert.include(yield* refused(circle), "is invalid")
      const itself = yield* reflecting(() => [service({ dependency: ["service.proto"] })])
      assert.include(yield* refused(itself), "is invalid")
      const absent = yield* reflecting((name) => (name === "message.proto" ? errorAnswer(5, "no") : [service()]))
      assert.strictEqual(
        yield* refused(absent),
        "INTERNAL reflection does not give message.proto, which two.Files needs"
      )
      const another = yield* reflecting(() => [service()])
      assert.include(yield* refused(another), "reflection does not give message.proto")
      let files = 0
      const chain = () => {
        const name = `import${++files}.proto`
        return file(name, { dependency: [`import${files + 1}.proto`], messageType: [message(`Message${files}`)] })
      }
      const endless = yield* reflecting((asked) =>
        asked === "two.Files" ? [service({ dependency: ["import1.proto"] })] : Array.from({ length: 100 }, chain)
      )
      assert.include(yield* refused(endless), "reflection gives too much for two.Files")
      assert.isAtMost(files, 1100)
      const wide = yield* reflecting(() => [
        service({ dependency: Array.from({ length: 5000 }, (_, n) => `import${n}.proto`) })
      ])
      assert.include(yield* refused(wide), "reflection gives too much for two.Files")
      const heavy = yield* reflecting((name) =>
        name === "two.Files"
          ? [service()]
          : [file(name, { dependency: [`${name}x`], messageType: [message("M".repeat(3_000_000))] })]
      )
      assert.include(yield* refused(heavy), "reflection gives too much for two.Files")
    })
  )

  it.live("may bring files that nobody imports, deep messages and odd names, and the program lives", () =>
    Effect.gen(function* () {
      const spare = yield* reflecting((name) =>
        name === "two.Files" ? [service(), messageFile(), file("spare.proto", { dependency: ["gone.proto"] })] : []
      )
      assert.include(yield* refused(spare), "reflection does not give gone.proto")
      let deep: NonNullable<File["messageType"]> = [message("Deep")]
      for (let depth = 0; depth < 90; depth++) deep = [{ name: `Deep${depth}`, nestedType: deep }]
      const nested = yield* reflecting(() => [service({ dependency: [], messageType: [message("Message"), ...deep] })])
      assert.deepStrictEqual(yield* echo(nested), { name: "x" })
      const alone = service({ dependency: [], messageType: [message("Message")] })
      const bottomless = yield* reflecting(() => [Buffer.concat([toBinary(FileDescriptorProtoSchema, alone), abyss])])
      assert.match(yield* refused(bottomless), /^INTERNAL .*(does not decode|is invalid)$/)
      const odd = yield* reflecting(() => [
        service({
          dependency: [],
          messageType: [message("Message")],
          sourceCodeInfo: { location: [{ path: [6, 0], span: [0, 0, 0], leadingComments: " a\u001b[2J\n\u202eb\r\n" }] }
        })
      ])
      const told = yield* GrpcReflect.describe({ address: odd, name: "two.Files" })
      assert.include(told, "// a\\u001b[2J\n//\\u202eb\nservice Files {")
      assert.notMatch(told.replaceAll("\n", ""), /[\p{Cc}\u202e]/u)
    })
  )

  it.live("may list what it does not describe, and what is no name", () =>
    Effect.gen(function* () {
      const address = yield* reflecting((asked) => {
        if (asked === "services") return servicesAnswer(["two.Files", "a.Ghost", "two.Files", "evil\u001b"])
        return asked === "two.Files" ? [service()] : errorAnswer(5, "no")
      })
      const services = yield* GrpcReflect.list({ address })
      assert.deepStrictEqual(
        services.map(({ name, methods }) => [name, methods.length]),
        [
          ["a.Ghost", 0],
          ["evil\u001b", 0],
          ["two.Files", 1]
        ]
      )
      const absent = yield* Effect.flip(callOne({ address, method: "two.Fils/Echo", request: "" }))
      assert.strictEqual(
        absent.message,
        "UNIMPLEMENTED the server has no service two.Fils; its services are a.Ghost, evil\\u001b, two.Files"
      )
    })
  )
})

describe("a server", () => {
  it.live("without reflection says so", () =>
    Effect.gen(function* () {
      const { address } = yield* serve({})
      const expected = "UNIMPLEMENTED the server offers no reflection; one of ours offers none in prod"
      assert.strictEqual(yield* refused(address), expected)
      assert.strictEqual((yield* Effect.flip(GrpcReflect.list({ address }))).message, expected)
      assert.strictEqual((yield* Effect.flip(GrpcReflect.describe({ address, name: "a.B" }))).message, expected)
    })
  )

  it.live("that is none of gRPC fails with a code", () =>
    Effect.gen(function* () {
      const address = yield* Effect.acquireRelease(
        Effect.callback<readonly [http.Server, string]>((resume) => {
          const server = http.createServer((_, response) => response.end("hello"))
          server.listen(0, "127.0.0.1", () =>
            resume(Effect.succeed([server, `127.0.0.1:${(server.address() as AddressInfo).port}`]))
          )
        }),
        ([server]) => Effect.sync(() => server.close().closeAllConnections())
      )
      const error = yield* Effect.flip(
        callOne({ address: address[1], method: "a.B/C", request: "", deadline: "2 seconds" })
      )
      assert.include(["UNAVAILABLE", "DEADLINE_EXCEEDED"], error.code)
    })
  )

  it.live("that never ends is read as long as it is wanted, and sends what does not decode", () =>
    Effect.gen(function* () {
      const { address } = yield* serve(
        {
          "/kinds.Kinds/Watch": (call) => {
            const more = () => {
              while (call.write(Buffer.alloc(0)));
            }
            call.on("drain", more)
            call.on("data", more)
          },
          "/kinds.Kinds/Echo": (call) => {
            call.write(Buffer.from([0x0a, 0xff]))
            call.end()
          }
        },
        { reflection: honest(kinds) }
      )
      const { responses } = yield* GrpcReflect.call({
        address,
        method: "kinds.Kinds/Watch",
        requests: Stream.succeed("{}")
      })
      assert.strictEqual((yield* Stream.runCollect(Stream.take(responses, 5000))).length, 5000)
      const error = yield* Effect.flip(callOne({ address, method: "kinds.Kinds/Echo", request: "" }))
      assert.strictEqual(error.message, "INTERNAL the response does not decode")
    })
  )

  it.live("is not asked for what is no name", () =>
    Effect.gen(function* () {
      const address = "127.0.0.1:1"
      for (const method of ["", "a", "a.B", "a.B/C/D", "a b/C", "../a/B"]) {
        assert.include(
          (yield* Effect.flip(callOne({ address, method, request: "" }))).message,
          "is no method: write it as package.Service/Method"
        )
      }
      for (const name of ["", "a/B/C", "a b", "../a"]) {
        const error = yield* Effect.flip(GrpcReflect.describe({ address, name }))
        assert.include(error.message, "INVALID_ARGUMENT")
      }
    })
  )
})

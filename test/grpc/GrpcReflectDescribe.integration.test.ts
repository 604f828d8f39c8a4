// What is told of a service by name is the .proto that it was compiled from.
import { assert, describe, it } from "@effect/vitest"
import { clone, fromBinary } from "@bufbuild/protobuf"
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  type FileDescriptorSet,
  FileDescriptorSetSchema
} from "@bufbuild/protobuf/wkt"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { GrpcReflect, layerClientLive, layerServerLive } from "xdooria/grpc/live"
import { LoggerTest } from "xdooria/logger"
import { descriptors } from "../../src/gen/descriptors.ts"
import { handlers, start } from "./Game.ts"
import { compile, honest, kinds, serve } from "./Reflected.ts"

/** The files that a text consists of, by name. */
const filesOf = (text: string): ReadonlyArray<readonly [name: string, text: string]> =>
  text.split(/^(?=\/\/ \S+\.proto$)/m).map((part) => [/^\/\/ (\S+)/.exec(part)![1]!, part] as const)

const recompile = (text: string): FileDescriptorSet => {
  const folder = mkdtempSync(join(tmpdir(), "xdooria-described-"))
  try {
    for (const [name, part] of filesOf(text)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), part)
    }
    return compile(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const find = (set: FileDescriptorSet, name: string): FileDescriptorProto =>
  clone(
    FileDescriptorProtoSchema,
    set.file.find((file) => file.name === name)!
  )

/** Comments by what they are about. */
const commentsOf = (file: FileDescriptorProto) =>
  (file.sourceCodeInfo?.location ?? [])
    // Those of the file itself, of its syntax and its package, are not told.
    .filter(
      ({ leadingComments, path, trailingComments }) => path.length > 1 && leadingComments + trailingComments !== ""
    )
    .map(({ leadingComments, path, trailingComments }) => `${path.join()}: ${leadingComments}|${trailingComments}`)
    .toSorted()

const withoutSource = (file: FileDescriptorProto) => ({ ...file, sourceCodeInfo: undefined })

const described = (name: string, set = kinds) =>
  Effect.flatMap(serve({}, { reflection: honest(set) }), ({ address }) => GrpcReflect.describe({ address, name }))

describe("a description", () => {
  it.live("of a service compiles to what it was compiled from, comments included", () =>
    Effect.gen(function* () {
      const text = yield* described("kinds.Kinds")
      assert.deepStrictEqual(
        filesOf(text).map(([name]) => name),
        ["kinds.proto", "shapes.proto"]
      )
      const again = recompile(text)
      for (const name of ["kinds.proto", "shapes.proto"]) {
        const [expected, actual] = [find(kinds, name), find(again, name)]
        // No method has to do with it.
        expected.messageType = expected.messageType.filter(({ name }) => name !== "Other")
        assert.deepStrictEqual(withoutSource(actual), withoutSource(expected))
        assert.deepStrictEqual(
          commentsOf(actual),
          commentsOf(expected).filter((comment) => !comment.includes("Not used by any method"))
        )
      }
    })
  )

  it.live("is laid out as people write it", () =>
    Effect.gen(function* () {
      assert.include(
        yield* described("kinds.Kinds/Sum"),
        [
          `// Counts.`,
          `// On two lines.`,
          `service Kinds {`,
          `  option deprecated = true;`,
          `  rpc Sum(stream Item) returns (Item); // Adds up.`,
          `}`,
          ``,
          `// One of many.`,
          `message Item {`
        ].join("\n")
      )
      assert.strictEqual(
        yield* described("kinds.Colour"),
        [
          `// kinds.proto`,
          `syntax = "proto3";`,
          `package kinds;`,
          `import "google/protobuf/timestamp.proto";`,
          `import "shapes.proto";`,
          ``,
          `enum Colour {`,
          `  option allow_alias = true;`,
          `  reserved 5;`,
          `  reserved 7 to max;`,
          `  reserved "COLOUR_PUCE";`,
          ``,
          `  COLOUR_UNSPECIFIED = 0;`,
          `  COLOUR_RED = 1;`,
          `  COLOUR_CRIMSON = 1 [deprecated = true]; // Old.`,
          `}`
        ].join("\n")
      )
      assert.include(yield* described("kinds.Other"), "// Not used by any method.\nmessage Other {}")
      // A nested one is told with what it is nested in.
      assert.include(yield* described("kinds.Item.Part.Kind"), "message Item {")
      assert.include(yield* described("google.protobuf.Timestamp"), "int64 seconds = 1;")
    })
  )

  it.live("of an edition, without a package, and of a method that takes what every compiler knows", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "xdooria-edition-"))
      const source = [
        `// edition.proto`,
        `edition = "2023";`,
        `import "google/protobuf/empty.proto";`,
        ``,
        `service Bare {`,
        `  rpc Ping(google.protobuf.Empty) returns (Pong);`,
        `}`,
        ``,
        `message Pong {`,
        `  bool is_late = 1;`,
        `  repeated Pong more = 2;`,
        `}`
      ].join("\n")
      writeFileSync(join(folder, "edition.proto"), source)
      const set = compile(folder)
      rmSync(folder, { recursive: true })
      assert.strictEqual(yield* described("Bare", set), source)
      assert.strictEqual(yield* described("/Bare/Ping", set), source)
    })
  )

  it.live("of what is not there names what there is", () =>
    Effect.gen(function* () {
      const refused = (name: string) => Effect.map(Effect.flip(described(name)), ({ message }) => message)
      assert.strictEqual(
        yield* refused("kinds.Kinds/Fly"),
        "UNIMPLEMENTED kinds.Kinds has no method Fly; it has Echo, Watch, Sum, Talk"
      )
      assert.strictEqual(
        yield* refused("kinds.Kind/Fly"),
        "UNIMPLEMENTED the server has no service kinds.Kind; its services are kinds.Kinds"
      )
      assert.strictEqual(
        yield* refused("kinds.Itm"),
        "UNIMPLEMENTED the server has no service, message or enum kinds.Itm; its services are kinds.Kinds"
      )
      assert.include(yield* refused("kinds.Item/Fly"), "the server has no service kinds.Item")
    })
  )
})

describe("our own server", () => {
  const started = (env: "dev" | "test" | "prod") =>
    start(
      Layer.merge(layerServerLive({ port: 0, env, allowInsecure: true, drainDelay: Duration.zero }), layerClientLive()),
      handlers({}),
      { descriptors }
    )

  for (const env of ["dev", "test"] as const) {
    it.live(`lists all its services in ${env}, health included, and describes each`, () =>
      Effect.gen(function* () {
        const { address } = yield* started(env)
        const services = yield* GrpcReflect.list({ address })
        assert.deepStrictEqual(
          services.map(({ name }) => name),
          ["game.GameService", "grpc.health.v1.Health"]
        )
        const source = fromBinary(FileDescriptorSetSchema, Buffer.from(descriptors, "base64"))
        const again = recompile(yield* GrpcReflect.describe({ address, name: "game.GameService" }))
        assert.deepStrictEqual(withoutSource(find(again, "game.proto")), withoutSource(find(source, "game.proto")))
        assert.include(yield* GrpcReflect.describe({ address, name: "grpc.health.v1.Health/Watch" }), "returns (stream")
      }).pipe(Effect.provide(LoggerTest))
    )
  }

  it.live("has no reflection in prod", () =>
    Effect.gen(function* () {
      const { address } = yield* started("prod")
      const error = yield* Effect.flip(GrpcReflect.list({ address }))
      assert.strictEqual(
        error.message,
        "UNIMPLEMENTED the server offers no reflection; one of ours offers none in prod"
      )
    }).pipe(Effect.provide(LoggerTest))
  )
})

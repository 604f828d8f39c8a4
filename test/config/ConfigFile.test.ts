// What a configuration file must not be. Each is InvalidConfig, soon, and nothing of the file's values is told.
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFileSync } from "node:child_process"
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import type { InvalidConfig } from "xdooria/config"
import { Config } from "xdooria/config"
import { makeLive } from "xdooria/config/live"
import { EtcdConfig } from "../../src/registry/Registry.ts"
import { RedisConfig } from "../../src/redis/Redis.ts"
import { rejected, temporaryFile, temporaryFolder, unreadable } from "./support.ts"

const canary = "hunter2canary"

const address = "an address as host:port"

const addresses = `a list, 1 or more, each ${address}`

const levels = `"debug", "info", "warn" or "error"`

const load = (file: string) => makeLive("game", { file, environment: {} })

const content = (text: string | Uint8Array) => Effect.flatMap(temporaryFile(text), load)

/** The one issue of a content, without the file's folder; and no value of it is shown. */
const issueOf = (text: string) =>
  Effect.gen(function* () {
    const file = yield* temporaryFile(text)
    const error = yield* Effect.flip(load(file))
    assert.notInclude(`${error.message} ${JSON.stringify(error)} ${error.stack}`, canary)
    const issues = yield* rejected(Effect.fail(error))
    assert.lengthOf(issues, 1)
    const { actual, expected, path, source } = issues[0]!
    return { source: source.replace(file, "file"), path, expected, actual }
  })

describe("a configuration file that is no YAML", () => {
  const cases: ReadonlyArray<readonly [name: string, text: string, source: string, expected: string]> = [
    ["empty", "", "file", "sections, such as server:"],
    ["only comments", "# nothing\n\n", "file", "sections, such as server:"],
    ["a text", canary, "file", "sections, such as server:"],
    ["a list", `- ${canary}\n`, "file", "sections, such as server:"],
    ["a tab before a key", "server:\n\tname: x\n", "file:2", "spaces before a key"],
    ["a duplicate key", `server:\n  name: a\n  name: ${canary}\n`, "file:3", "each key once"],
    ["a duplicate section", "server:\n  name: a\nserver:\n  port: 1\n", "file:3", "each key once"],
    ["a duplicate key in braces", `log: {}\nserver: {name: ${canary}, name: b}\n`, "file:2", "each key once"],
    ["two documents", "server:\n  name: a\n---\nserver:\n  name: b\n", "file:3", "one document"],
    ["an unknown alias", `server:\n  name: *${canary}\n`, "file:2", "an anchor before its alias"],
    ["an alias of itself", "server: &a\n  name: [*a, *a]\n", "file:2", "an anchor before its alias"],
    ["half-written: a quote", `server:\n  name: "${canary}\n`, "file:2", "a closing quote"],
    ["half-written: a brace", `log: {}\nserver: {name: ${canary}\n`, "file:3", "a comma or the closing bracket"],
    ["half-written: a block of zeros", "server:\n  name: a\n\u0000\u0000\u0000\n", "file:3", "text"],
    ["an escape that there is not", `server:\n  name: "\\q${canary}"\n`, "file:2", "YAML"],
    ["a second colon", `server:\n  name: a: ${canary}\n`, "file:2", "one key on a line"],
    ["a key too far in", "server:\n  name: a\n    port: 1\n", "file:3", "one key on a line"],
    [
      "brackets in brackets",
      `server:\n  - ${"[ ".repeat(2000)}\n    ${`[\n      `.repeat(9000)}`,
      "file",
      "a few levels"
    ],
    ["a line that is too long", `log: {}\nserver: ${" ".repeat(4096)}\n`, "file:2", "lines of 4096 characters at most"],
    ["too many lines", "\n".repeat(10_000), "file", "10000 lines at most"]
  ]
  for (const [name, text, source, expected] of cases) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const issue = yield* issueOf(text)
        assert.deepStrictEqual({ source: issue.source, expected: issue.expected }, { source, expected })
      })
    )
  }

  it.effect("a bomb of aliases", () =>
    Effect.gen(function* () {
      const levels = "bcdefghij".split("").map((key, index) => {
        const above = "abcdefghi"[index]!
        return `${key}: &${key} [${Array.from({ length: 10 }, () => `*${above}`).join(", ")}]`
      })
      const few = yield* Effect.flip(content(["a: &a [x]", ...levels].join("\n")))
      assert.include(few.message, "a known section")
      const many = yield* issueOf(`a: &a ${canary}\nb: [${Array.from({ length: 101 }, () => "*a").join(", ")}]\n`)
      assert.deepStrictEqual(many, { source: "file", path: "", expected: "100 aliases at most", actual: "101 aliases" })
    })
  )
})

describe("a configuration file that is good YAML", () => {
  it.effect("may begin with a byte order mark, end its lines as Windows does, and share values", () =>
    Effect.gen(function* () {
      const current = yield* content("\uFEFFserver: &s\r\n  name: game\r\n  port: 0\r\nlog: {level: warn}\r\n")
      const { name, port } = yield* current.get(Config.ServerConfig)
      assert.deepStrictEqual({ name, port }, { name: "game", port: 0 })
      const shared = yield* content("redis:\n  addrs: &a\n    - a:1\n    - b:2\netcd:\n  endpoints: *a\n")
      assert.deepStrictEqual((yield* shared.get(EtcdConfig)).endpoints, ["a:1", "b:2"])
    })
  )

  it.effect("may have a section without keys", () =>
    Effect.gen(function* () {
      const current = yield* content("server:\n  # name: game\nredis: {}\n")
      assert.strictEqual((yield* current.get(Config.ServerConfig)).name, "xdooria")
    })
  )

  it.effect("is read as it is: nothing is expanded, octal is no number", () =>
    Effect.gen(function* () {
      const current = yield* content("server:\n  name: ${HOME}\n")
      assert.strictEqual((yield* current.get(Config.ServerConfig)).name, "${HOME}")
      assert.strictEqual((yield* issueOf("server:\n  port: 010\n")).actual, `"010"`)
    })
  )
})

describe("keys and values that no section takes", () => {
  const cases: ReadonlyArray<readonly [text: string, source: string, path: string, expected: string, actual: string]> =
    [
      [`sever:\n  name: ${canary}\n`, "file:1", "sever", "a known section", "a mapping"],
      [`password: ${canary}\n`, "file:1", "password", "a known section", "an unknown one"],
      [`Server:\n  name: a\n`, "file:1", "Server", "a known section", "a mapping"],
      [`server.port: 1\n`, "file:1", "server.port", "a known section", "an unknown one"],
      [`server: ${canary}\n`, "file:1", "server", "a mapping of keys", "a text of 13 characters"],
      [`server: [${canary}]\n`, "file:1", "server", "a mapping of keys", "a list of 1"],
      [`redis:\n  db: 0\n  pasword: ${canary}\n`, "file:3", "redis.pasword", "a known key", "an unknown one"],
      [`redis:\n  poolSize: 1\n`, "file:2", "redis.poolSize", "a known key", "an unknown one"],
      [`__proto__:\n  port: 1\n`, "file:1", "__proto__", "a known section", "a mapping"],
      [`constructor: ${canary}\n`, "file:1", "constructor", "a known section", "an unknown one"],
      [`server:\n  __proto__: {port: 1}\n`, "file:2", "server.__proto__", "a known key", "a mapping"],
      [`server:\n  constructor: ${canary}\n`, "file:2", "server.constructor", "a known key", "an unknown one"],
      [`server:\n  toString: ${canary}\n`, "file:2", "server.toString", "a known key", "an unknown one"],
      [`server:\n  "a b": 1\n`, "file:2", `server."a b"`, "a known key", "an unknown one"],
      [`server:\n  port: 80abc\n`, "file:2", "server.port", "an integer from 0 to 65535", `"80abc"`],
      [
        `server:\n  port: ${canary}\n`,
        "file:2",
        "server.port",
        "an integer from 0 to 65535",
        "a text of 13 characters"
      ],
      [`server:\n  port: "80"\n`, "file:2", "server.port", "an integer from 0 to 65535", `"80"`],
      [`server:\n  port: 65536\n`, "file:2", "server.port", "an integer from 0 to 65535", "65536"],
      [`server:\n  port: -1\n`, "file:2", "server.port", "an integer from 0 to 65535", "-1"],
      [`server:\n  port: 1.5\n`, "file:2", "server.port", "an integer from 0 to 65535", "1.5"],
      [`server:\n  port: true\n`, "file:2", "server.port", "an integer from 0 to 65535", "true"],
      [`server:\n  port:\n`, "file:2", "server.port", "an integer from 0 to 65535", "null"],
      [`server: {name: a, port: x}\n`, "file:1", "server.port", "an integer from 0 to 65535", "a text of 1 character"],
      [`server:\n  name: 12345\n`, "file:2", "server.name", "a text, not empty", "a number"],
      [`server:\n  name: ""\n`, "file:2", "server.name", "a text, not empty", `""`],
      [`redis:\n  password: 12345\n`, "file:2", "redis.password", "a text", "<redacted>"],
      [`redis:\n  addrs: "${canary}"\n`, "file:2", "redis.addrs", addresses, "a text of 13 characters"],
      [`redis:\n  addrs: []\n`, "file:2", "redis.addrs[0]", address, "nothing"],
      [`redis:\n  addrs:\n  - a:1\n  - ${canary}\n`, "file:4", "redis.addrs[1]", address, "a text of 13 characters"],
      [`redis:\n  addrs:\n    - a:1\n    - 6379\n`, "file:4", "redis.addrs[1]", address, "a number"],
      [`database:\n  port: 0\n`, "file:2", "database.port", "an integer from 1 to 65535", "0"],
      [`etcd:\n  dial_timeout: -1\n`, "file:2", "etcd.dial_timeout", "a number of seconds, 0 or more", "-1"],
      [`etcd:\n  dial_timeout: .nan\n`, "file:2", "etcd.dial_timeout", "a number of seconds, 0 or more", "NaN"],
      [`etcd:\n  dial_timeout: 1e999\n`, "file:2", "etcd.dial_timeout", "a number of seconds, 0 or more", "Infinity"],
      [`etcd:\n  dial_timeout: 5s\n`, "file:2", "etcd.dial_timeout", "a number of seconds, 0 or more", `"5s"`],
      [`log:\n  level: verbose\n`, "file:2", "log.level", levels, "a text of 7 characters"],
      [`log:\n  level: wran\n`, "file:2", "log.level", levels, `"wran"`]
    ]
  for (const [text, source, path, expected, actual] of cases) {
    it.effect(text.trimEnd().replaceAll("\n", "|"), () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* issueOf(text), { source, path, expected, actual })
      })
    )
  }

  it.effect("are told all at once, each at its place, with a hint", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile(
        [
          "sever:",
          "  name: a",
          "server:",
          "  nmae: a",
          "  HOST: a",
          "  port: 80abc",
          "log: # of this service",
          "  # how",
          "  'format': consol",
          "redis:",
          "  addrs:",
          "    - a:1",
          "    -   b",
          "  password: |",
          "    server:",
          "      port: 1",
          "  db: 1.5",
          "kafka: {brokers: [a:1], max_in_flight: 0}",
          ""
        ].join("\n")
      )
      const issues = yield* rejected(load(file))
      assert.deepStrictEqual(
        issues.map(({ hint, path, source }) => `${source.replace(file, "")} ${path} ${hint ?? ""}`),
        [
          ":1 sever did you mean server?",
          ":4 server.nmae did you mean name?",
          ":5 server.HOST did you mean host?",
          ":6 server.port a plain number, without quotes or unit",
          ":13 redis.addrs[1] ",
          ":17 redis.db ",
          ":18 kafka.max_in_flight ",
          ":9 log.format did you mean console?"
        ]
      )
      const error = yield* Effect.flip(load(file))
      assert.strictEqual(error.message.split("\n").length, 8)
      assert.include(
        error.message,
        `${file}:6: server.port: expected an integer from 0 to 65535, got "80abc" (a plain number, without quotes or unit)`
      )
      assert.isFalse(error.isRetryable)
    })
  )

  it.effect("are at most 100 in one message", () =>
    Effect.gen(function* () {
      const issues = yield* rejected(content(Array.from({ length: 500 }, (_, index) => `key${index}: 1`).join("\n")))
      assert.lengthOf(issues, 101)
      assert.strictEqual(issues.at(-1)?.actual, "400 more")
    })
  )

  it.effect("show no more than the beginning of a long key, and what is known where nothing is near", () =>
    Effect.gen(function* () {
      const [issue] = yield* rejected(content(`${"x".repeat(4000)}: 1\n`))
      assert.isBelow(issue!.path.length, 70)
      assert.include(issue!.hint, "known: server, ")
    })
  )

  it.effect("do not touch the prototypes", () =>
    Effect.gen(function* () {
      yield* Effect.flip(content("__proto__:\n  polluted: 1\nserver:\n  __proto__:\n    polluted: 1\n"))
      assert.isUndefined(({} as { polluted?: number }).polluted)
    })
  )
})

describe("a configuration file that is no readable file", () => {
  const cases: ReadonlyArray<readonly [name: string, make: (folder: string) => string, actual: string]> = [
    ["absent", (folder) => join(folder, "game.yaml"), "no such file"],
    ["a directory", (folder) => folder, "a directory"],
    ["a device", () => "/dev/null", "no regular file"],
    [
      "a pipe that nobody writes to",
      (folder) => {
        execFileSync("mkfifo", [join(folder, "fifo")])
        return join(folder, "fifo")
      },
      "no regular file"
    ],
    [
      "a loop of links",
      (folder) => {
        symlinkSync(join(folder, "b"), join(folder, "a"))
        symlinkSync(join(folder, "a"), join(folder, "b"))
        return join(folder, "a")
      },
      "a loop of symbolic links"
    ],
    [
      "50 MB",
      (folder) => {
        writeFileSync(join(folder, "large"), Buffer.alloc(50_000_000, "#"))
        return join(folder, "large")
      },
      "more than 1048576 bytes"
    ],
    [
      "UTF-16",
      (folder) => {
        writeFileSync(join(folder, "utf16"), Buffer.from("\uFEFFserver:\n  name: a\n", "utf16le"))
        return join(folder, "utf16")
      },
      "bytes that are not UTF-8"
    ],
    [
      "cut in a character",
      (folder) => {
        writeFileSync(join(folder, "cut"), Buffer.from(`server:\n  name: ${canary}游`).subarray(0, -1))
        return join(folder, "cut")
      },
      "bytes that are not UTF-8"
    ],
    ["a name that is too long", (folder) => join(folder, "x".repeat(300)), "a name that is too long"]
  ]
  for (const [name, make, actual] of cases) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const file = make(yield* temporaryFolder)
        const reason = yield* unreadable(load(file))
        assert.strictEqual(reason.source, file)
        assert.strictEqual(reason.actual, actual)
        assert.isTrue(reason.isRetryable)
        assert.notInclude(reason.message, canary)
      })
    )
  }

  it.effect("without permission", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile("server:\n  name: a\n")
      chmodSync(dirname(file), 0o755)
      chmodSync(file, 0)
      const reason = yield* unreadable(asNobody(load(file)))
      assert.strictEqual(reason.actual, "no permission")
    })
  )

  it.effect("unless it is linked from elsewhere, or is exactly as large as allowed", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = join(folder, "..data", "game.yaml")
      mkdirSync(dirname(file))
      const text = "server:\n  name: linked\n"
      writeFileSync(file, `${text}${`#${"x".repeat(1022)}\n`.repeat(1023)}#${"x".repeat(1022 - text.length)}\n`)
      symlinkSync(file, join(folder, "game.yaml"))
      const current = yield* load(join(folder, "game.yaml"))
      assert.strictEqual((yield* current.get(Config.ServerConfig)).name, "linked")
      assert.deepStrictEqual((yield* current.get(RedisConfig)).db, 0)
    })
  )
})

/** Root reads what nobody may: for it, the effect runs as a user that may not. */
const asNobody = <A, R>(effect: Effect.Effect<A, InvalidConfig, R>): Effect.Effect<A, InvalidConfig, R | Scope.Scope> =>
  process.geteuid?.() === 0
    ? Effect.andThen(
        Effect.acquireRelease(
          Effect.sync(() => process.seteuid?.(65_534)),
          () => Effect.sync(() => process.seteuid?.(0))
        ),
        effect
      )
    : effect

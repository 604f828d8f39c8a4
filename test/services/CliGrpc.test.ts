// `xdooria call` and `xdooria grpc` on a server that is not ours, with methods of all four kinds.
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Reflected from "../grpc/Reflected.ts"
import * as Xdooria from "./Xdooria.ts"

const pathOf = (name: string): string => join("test/grpc/tls", name)
const pem = (name: string): Buffer => readFileSync(join(Xdooria.root, pathOf(name)))

/** Gives back what it gets, one by one; a metadata entry in place of a name. */
const echo: Reflected.Method = (call) => {
  const [tag = ""] = [...call.metadata.get("x-tag"), ...call.metadata.get("authorization")]
  call.on("data", (bytes: Buffer) => call.write(tag === "" ? bytes : Reflected.item(String(tag), 0n)))
  call.on("end", () => call.end())
}

/** Gives one more when the one before is gone, without end; or two and an error, if told to fail. */
const watch: Reflected.Method = (call) =>
  call.on("data", (bytes: Buffer) => {
    let count = 0n
    if (Reflected.itemOf(bytes).name !== "fail") {
      const more = () => {
        while (call.write(Reflected.item("tick", ++count)));
      }
      call.on("drain", more)
      return more()
    }
    call.write(Reflected.item("a\u001b", 1n))
    call.write(Reflected.item("b", 2n))
    call.emit("error", { code: grpc.status.DATA_LOSS, details: "no\u001b more", metadata: new grpc.Metadata() })
  })

const sum: Reflected.Method = (call) => {
  let total = 0n
  call.on("data", (bytes: Buffer) => (total += Reflected.itemOf(bytes).count))
  call.on("end", () => {
    call.write(Reflected.item("sum", total))
    call.end()
  })
}

const methods = {
  "/kinds.Kinds/Echo": echo,
  "/kinds.Kinds/Watch": watch,
  "/kinds.Kinds/Sum": sum,
  "/kinds.Kinds/Talk": echo
}

const serving = (changes: Partial<typeof methods> = {}, credentials = grpc.ServerCredentials.createInsecure()) =>
  Effect.map(
    Reflected.serve({ ...methods, ...changes }, { credentials, reflection: Reflected.honest(Reflected.kinds) }),
    ({ address }) => ({
      address,
      args: (name: string, ...rest: ReadonlyArray<string>) => [
        "call",
        "--addr",
        address,
        `kinds.Kinds/${name}`,
        ...rest
      ],
      call: (name: string, ...rest: ReadonlyArray<string>) =>
        Xdooria.run(["call", "--addr", address, ...rest.slice(1), `kinds.Kinds/${name}`, ...rest.slice(0, 1)])
    })
  )

const named = (line: string): string => {
  const { count, name } = JSON.parse(line) as { readonly count: string; readonly name: string }
  return `${name} ${count}`
}

const linesOf = (text: string): ReadonlyArray<string> => text.split("\n").slice(0, -1)

describe("xdooria call", () => {
  it.live("prints one response over several lines, and each of a stream on one", () =>
    Effect.gen(function* () {
      const { args, call } = yield* serving()
      const one = yield* call("Echo", `{"name":"a"}`)
      assert.deepInclude(one, { code: 0, stderr: "" })
      assert.match(one.stdout, /^\{\n {2}"name": "a",\n/)
      const summed = yield* call("Sum", `{"count":1}\n{"count":"2"}`)
      assert.match(summed.stdout, /^\{\n {2}"name": "sum",\n {2}"count": "3",\n/)
      const talked = yield* call("Talk", `{"name":"a"}\n\n{"name":"b"}`)
      assert.deepStrictEqual(linesOf(talked.stdout).map(named), ["a 0", "b 0"])
      assert.match(talked.stdout, /^\{"name":"a","count":"0",/)
      const whole = yield* Xdooria.run(args("Echo", "-"), {}, `{\n  "name":\n  "a"\n}\n`)
      assert.strictEqual(whole.stdout, one.stdout)
    })
  )

  it.live("reads requests from standard input, and answers each as it comes", () =>
    Effect.gen(function* () {
      const { args } = yield* serving()
      const { child, ended, lines } = yield* Xdooria.start(args("Talk", "-"))
      child.stdin.write(`{"name":"a"}\n`)
      assert.deepStrictEqual((yield* lines(1)).map(named), ["a 0"])
      child.stdin.write(`{"name":`)
      child.stdin.write(`"b"}\n`)
      assert.deepStrictEqual((yield* lines(2)).map(named), ["a 0", "b 0"])
      // The last line needs no end.
      child.stdin.end(`{"name":"c"}`)
      const { code, stderr, stdout } = yield* ended
      assert.deepStrictEqual([code, stderr, linesOf(stdout).map(named)], [0, "", ["a 0", "b 0", "c 0"]])
    })
  )

  it.live("prints what came before an error, and then the error", () =>
    Effect.gen(function* () {
      const { args, call } = yield* serving()
      const failed = yield* call("Watch", `{"name":"fail"}`)
      assert.deepStrictEqual(linesOf(failed.stdout).map(named), ["a\u001b 1", "b 2"])
      assert.deepInclude(failed, { code: 1, stderr: "DATA_LOSS no\\u001b more\n" })
      assert.notInclude(failed.stdout, "\u001b")
      const wrong = yield* Xdooria.run(args("Sum", "-"), {}, `{"count":1}\n{"cuont":1}\n`)
      assert.deepInclude(wrong, { code: 1, stdout: "" })
      assert.match(wrong.stderr, /^INVALID_ARGUMENT line 2: .*cuont/)
    })
  )

  it.live("cancels on Ctrl-C, and ends when nobody reads it", () =>
    Effect.gen(function* () {
      const cancelled = yield* Queue.unbounded<void>()
      const { args } = yield* serving({
        "/kinds.Kinds/Watch": (call) => {
          call.on("cancelled", () => Queue.offerUnsafe(cancelled, undefined))
          watch(call)
        }
      })
      const waited = yield* Xdooria.start(args("Watch", "{}"))
      yield* waited.lines(2)
      waited.child.kill("SIGINT")
      yield* Queue.take(cancelled)
      assert.deepInclude(yield* waited.ended, { code: 130, stderr: "" })
      const piped = yield* Xdooria.start(args("Watch", "{}"))
      yield* piped.lines(1)
      piped.child.stdout.destroy()
      yield* Queue.take(cancelled)
      assert.deepInclude(yield* piped.ended, { code: 1, stderr: "" })
    })
  )

  it.live("gives up after its deadline, also a stream", () =>
    Effect.gen(function* () {
      const { call } = yield* serving({ "/kinds.Kinds/Watch": (call) => call.resume() })
      const late = yield* call("Watch", "{}", "--deadline", "0.5")
      assert.deepInclude(late, { code: 1, stdout: "" })
      assert.match(late.stderr, /^DEADLINE_EXCEEDED /)
    })
  )

  it.live("sends metadata and a token", () =>
    Effect.gen(function* () {
      const { call } = yield* serving()
      const tagged = yield* call("Talk", "{}", "--metadata", "x-tag: a:b", "--metadata", "x-other:")
      assert.deepStrictEqual(linesOf(tagged.stdout).map(named), ["a:b 0"])
      const known = yield* call("Talk", "{}", "--token", "canary")
      assert.deepStrictEqual(linesOf(known.stdout).map(named), ["Bearer canary 0"])
      const noName = yield* call("Talk", "{}", "--metadata", "tag")
      assert.deepStrictEqual([noName.code, noName.stderr.includes("name:value")], [1, true])
      const noSuch = yield* call("Talk", "{}", "--metadata", "x tag:a")
      assert.deepStrictEqual([noSuch.code, noSuch.stderr.startsWith("INVALID_ARGUMENT the metadata")], [1, true])
    })
  )
})

describe("xdooria call over TLS", () => {
  const identity = [{ cert_chain: pem("server.pem"), private_key: pem("one.key") }]
  const ca = ["--ca", pathOf("ca.pem")]

  it.live("calls whom the authority vouches for, and nobody else", () =>
    Effect.gen(function* () {
      const { address, call } = yield* serving({}, grpc.ServerCredentials.createSsl(null, identity))
      const known = yield* call("Talk", `{"name":"a"}`, ...ca, "--token", "canary")
      assert.deepStrictEqual([known.stderr, linesOf(known.stdout).map(named)], ["", ["Bearer canary 0"]])
      const refused = `UNAVAILABLE at ${address}: TLS failed: UNABLE_TO_VERIFY_LEAF_SIGNATURE. `
      for (const flags of [["--tls"], ["--ca", pathOf("other-ca.pem")]]) {
        const { code, stderr } = yield* call("Talk", "{}", ...flags, "--token", "canary")
        assert.strictEqual(code, 1)
        assert.strictEqual(stderr, `${refused}Does it speak TLS, and are --ca and --cert right?\n`)
      }
      const plain = yield* call("Talk", "{}")
      assert.strictEqual(plain.code, 1)
      assert.include(plain.stderr, `UNAVAILABLE at ${address}: `)
      assert.include(plain.stderr, "--tls speaks TLS")
    })
  )

  it.live("shows a certificate to a server that wants one", () =>
    Effect.gen(function* () {
      const { call } = yield* serving({}, grpc.ServerCredentials.createSsl(pem("ca.pem"), identity, true))
      const own = ["--cert", pathOf("client.pem"), "--key", pathOf("one.key")]
      const known = yield* call("Talk", `{"name":"a"}`, ...ca, ...own)
      assert.deepStrictEqual([known.stderr, linesOf(known.stdout).map(named)], ["", ["a 0"]])
      const unknown = yield* call("Talk", "{}", ...ca)
      assert.strictEqual(unknown.code, 1)
      assert.include(unknown.stderr, "TLS failed: ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED")
    })
  )

  it.live("tells what is wrong with its files", () =>
    Effect.gen(function* () {
      const run = (...flags: ReadonlyArray<string>) =>
        Effect.map(Xdooria.run(["call", "--addr", "127.0.0.1:1", ...flags, "a.B/C"]), ({ code, stderr }) => {
          assert.strictEqual(code, 1)
          assert.notInclude(stderr, "PRIVATE KEY")
          return stderr
        })
      assert.strictEqual(yield* run("--cert", pathOf("client.pem")), "--cert and --key go together\n")
      const absent = yield* run("--ca", pathOf("absent.pem"))
      assert.match(absent, /absent\.pem: expected a PEM file with certificates, 1 MB at most \(ca\), got ENOENT\n$/)
      const none = yield* run("--ca", pathOf("one.key"))
      assert.match(none, /one\.key: ca: expected a PEM file with certificates, got no certificate\n$/)
      const other = yield* run("--cert", pathOf("client.pem"), "--key", pathOf("two.key"))
      assert.match(other, /two\.key: key: expected the key of \S*client\.pem, got the key of another certificate\n$/)
    })
  )

  it.live("alone lets a token go to another machine", () =>
    Effect.gen(function* () {
      const call = (...flags: ReadonlyArray<string>) =>
        Xdooria.run(["call", "--addr", "10.0.0.1:50051", "--deadline", "0.2", ...flags, "a.B/C"])
      for (const flags of [
        ["--token", "canary"],
        ["--metadata", "Authorization: Bearer canary"]
      ]) {
        const plain = yield* call(...flags)
        assert.deepStrictEqual([plain.code, plain.stdout], [1, ""])
        assert.match(plain.stderr, /^A token is sent in plain text to this machine only: [^\n]*Use --tls\n$/)
        const secret = yield* call(...flags, "--tls")
        assert.match(secret.stderr, /^(DEADLINE_EXCEEDED|UNAVAILABLE) /)
      }
    })
  )
})

describe("xdooria grpc", () => {
  it.live("lists methods and their kinds", () =>
    Effect.gen(function* () {
      const { address } = yield* serving()
      assert.deepStrictEqual(yield* Xdooria.run(["grpc", "list", "--addr", address]), {
        code: 0,
        stderr: "",
        stdout: [
          "kinds.Kinds/Echo   unary",
          "kinds.Kinds/Watch  server streaming",
          "kinds.Kinds/Sum    client streaming",
          "kinds.Kinds/Talk   bidirectional streaming\n"
        ].join("\n")
      })
      const ghost = yield* Reflected.serve(
        {},
        {
          reflection: (question) =>
            question === "services" ? Reflected.servicesAnswer(["a.B\u001b"]) : Reflected.errorAnswer(5, "no")
        }
      )
      const { stdout } = yield* Xdooria.run(["grpc", "list", "--addr", ghost.address])
      assert.strictEqual(stdout, "a.B\\u001b  methods unknown\n")
    })
  )

  it.live("describes a service, a method and a message", () =>
    Effect.gen(function* () {
      const { address } = yield* serving()
      const describe = (name: string) => Xdooria.run(["grpc", "describe", "--addr", address, name])
      assert.include((yield* describe("kinds.Kinds")).stdout, "  rpc Talk(stream Item) returns (stream Item) {")
      const one = yield* describe("kinds.Kinds/Echo")
      assert.deepInclude(one, { code: 0, stderr: "" })
      assert.include(one.stdout, "  // Gives back what it gets.\n  rpc Echo(Item) returns (Item);\n}")
      const absent = yield* describe("kinds.Knds")
      assert.deepStrictEqual(absent, {
        code: 1,
        stdout: "",
        stderr: "UNIMPLEMENTED the server has no service, message or enum kinds.Knds; its services are kinds.Kinds\n"
      })
    })
  )

  it.live("says that nobody answers, or without reflection", () =>
    Effect.gen(function* () {
      const nobody = yield* Xdooria.run(["grpc", "list", "--addr", "127.0.0.1:1"])
      assert.strictEqual(nobody.code, 1)
      assert.include(nobody.stderr, "UNAVAILABLE at 127.0.0.1:1: No connection established. Does a service run there?")
      const { address } = yield* Reflected.serve({})
      for (const args of [["list"], ["describe", "a.B"]]) {
        assert.deepStrictEqual(yield* Xdooria.run(["grpc", ...args, "--addr", address]), {
          code: 1,
          stdout: "",
          stderr: "UNIMPLEMENTED the server offers no reflection; one of ours offers none in prod\n"
        })
      }
    })
  )
})

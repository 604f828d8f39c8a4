// What stands at /xdooria/services/<name>/<addr>, byte by byte: what we write, and every form in which a Go service writes it.
import { assert, describe, it } from "@effect/vitest"
import { decode, encode, keyOf, prefixOf } from "../../src/registry/internal/codec.ts"
import { advertised } from "../../src/registry/internal/address.ts"

describe("what we write", () => {
  it("stands where the plan's readers look", () => {
    assert.strictEqual(prefixOf("game-service"), "/xdooria/services/game-service/")
    assert.strictEqual(keyOf("game-service", "10.0.0.5:50051"), "/xdooria/services/game-service/10.0.0.5:50051")
  })

  it("is the plan's three members, with metadata of strings, sorted", () => {
    assert.strictEqual(encode("g", "a:1", {}), '{"Name":"g","Addr":"a:1","Metadata":{}}')
    assert.strictEqual(encode("g", "a:1", { z: "1", a: "2" }), '{"Name":"g","Addr":"a:1","Metadata":{"a":"2","z":"1"}}')
    // An object of JavaScript would put numbers first, in the order of their values.
    assert.strictEqual(
      encode("g", "a:1", { b: "", 10: "", 9: "" }),
      '{"Name":"g","Addr":"a:1","Metadata":{"10":"","9":"","b":""}}'
    )
  })

  it("has the bytes that Go's encoder gives it", () => {
    assert.strictEqual(
      encode("g", "a:1", { k: '<>&"\\\n\u2028\u2029ü🎲' }),
      '{"Name":"g","Addr":"a:1","Metadata":{"k":"\\u003c\\u003e\\u0026\\"\\\\\\n\\u2028\\u2029ü🎲"}}'
    )
  })

  it("comes back as it was", () => {
    const metadata = { weight: "3", __proto__: "x", "<&>": "\u2028", "": "" }
    assert.deepStrictEqual(decode("g", encode("g", "[::1]:5", metadata)), { address: "[::1]:5", metadata })
  })
})

describe("what a Go service writes", () => {
  const is = (value: string, address: string | undefined, metadata: Readonly<Record<string, string>> = {}) =>
    assert.deepStrictEqual(
      decode("g", value),
      address === undefined ? undefined : { address, metadata },
      value.slice(0, 100)
    )

  it("is read as the plan's registration writes it", () => {
    assert.deepStrictEqual(decode("game-service", '{"Name":"game-service","Addr":"localhost:50051","Metadata":null}'), {
      address: "localhost:50051",
      metadata: {}
    })
    is('{"Name":"g","Addr":"a:1","Metadata":{"a":"2","z":"1"}}', "a:1", { a: "2", z: "1" })
  })

  it("is read with names in any case, unknown members, and metadata that is null, empty or absent", () => {
    is('{"name":"g","ADDR":"a:1","mEtaData":{"A":"b"}}', "a:1", { A: "b" })
    is('{"Name":"g","Addr":"a:1","Metadata":{},"Weight":3,"Tags":[1]}', "a:1")
    is('{"Name":"g","Addr":"a:1"}', "a:1")
    is(' {"Name":"g",\n"Addr":"a:1","Metadata":{"k":null}}\n', "a:1", { k: "" })
    // The same name again: the later one wins, as it does in Go.
    is('{"Name":"g","Addr":"a:1","Addr":"a:2"}', "a:2")
  })

  it("is left out where Go's reader leaves it out", () => {
    for (const metadata of ["1", "true", '"x"', "[]", '{"k":1}', '{"k":true}', '{"k":{}}', '{"k":[]}']) {
      is(`{"Name":"g","Addr":"a:1","Metadata":${metadata}}`, undefined)
    }
    for (const value of ['{"Name":"g","Addr":1}', "1", "", "x", '\ufeff{"Name":"g","Addr":"a:1"}', "[]", '"a:1"']) {
      is(value, undefined)
    }
  })

  it("is left out where Go's reader would do harm with it", () => {
    for (const value of ["null", "{}", '{"Name":"g"}', '{"Name":"g","Addr":""}', '{"Name":"g","Addr":null}']) {
      is(value, undefined)
    }
    is('{"Name":"g","Addr":"a:6","addr":"a:666"}', undefined)
    is('{"Name":"g","Addr":"a:6","Metadata":{},"metadata":{"a":"b"}}', undefined)
    is('{"Name":"g","Addr":"a:6","Metadata":{},"metadata":[]}', undefined)
    // A name with a slash stands under the prefix of its first part.
    is('{"Name":"g/eu","Addr":"a:1","Metadata":null}', undefined)
    is('{"Addr":"a:1","Metadata":null}', undefined)
  })

  it("is left out when nobody can dial it", () => {
    for (const address of [
      "0.0.0.0:1",
      "[::]:1",
      "[::ffff:0:0]:1",
      "0:1",
      "a:01",
      ":1",
      "a",
      "a:0",
      "a:65536",
      "a:x",
      "a b:1",
      "a:1/",
      "u@a:1"
    ]) {
      is(JSON.stringify({ Name: "g", Addr: address }), undefined)
    }
  })

  it("is left out when it is larger than an entry can be", () => {
    const entries = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, "v"]))
    const value = (metadata: object) => JSON.stringify({ Name: "g", Addr: "a:1", Metadata: metadata })
    is(value(entries(64)), "a:1", entries(64))
    is(value(entries(65)), undefined)
    is(value(entries(10_000)), undefined)
    is(value({ k: "x".repeat(60_000) }), "a:1", { k: "x".repeat(60_000) })
    is(value({ k: "x".repeat(65_536) }), undefined)
    is(value({ k: "ü".repeat(40_000) }), undefined)
    is("[".repeat(60_000), undefined)
  })
})

describe("the address that others are told", () => {
  it("is what is configured, with the bound port where that has none", () => {
    assert.strictEqual(advertised("0.0.0.0:50051", "game-1"), "game-1:50051")
    assert.strictEqual(advertised("0.0.0.0:50051", "game-1:443"), "game-1:443")
    assert.strictEqual(advertised("0.0.0.0:50051", "[2001:db8::1]"), "[2001:db8::1]:50051")
    assert.strictEqual(advertised("0.0.0.0:50051", "[2001:db8::1]:443"), "[2001:db8::1]:443")
  })

  it("is what is bound, and never all interfaces", () => {
    assert.strictEqual(advertised("127.0.0.1:50051", ""), "127.0.0.1:50051")
    assert.strictEqual(advertised("[::1]:50051", ""), "[::1]:50051")
    for (const bound of ["0.0.0.0:50051", "[::]:50051"]) {
      assert.match(advertised(bound, ""), /^\d+(\.\d+){3}:50051$/)
      assert.notInclude(advertised(bound, ""), "0.0.0.0")
    }
  })
})

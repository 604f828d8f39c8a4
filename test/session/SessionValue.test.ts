// What stands at session:<player_id>, byte by byte: what we write, and every form in which a Go service writes it.
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { decode, encode, type Value } from "../../src/session/internal/value.ts"

const at = (iso: string) => DateTime.makeUnsafe(iso)

const read = (text: string) =>
  Result.map(decode(text), ({ gateway, loginTime, token }) => ({
    token: Redacted.value(token),
    gateway,
    loginTime: loginTime === undefined ? undefined : DateTime.formatIso(loginTime)
  }))

const withTime = (time: string) => `{"player_id":"p1","token":"t","gateway":"gw-1","login_time":${time}}`

const value = (token: string, loginTime?: DateTime.Utc): Value => ({
  token: Redacted.make(token),
  gateway: "gw-1",
  loginTime
})

describe("what we write", () => {
  it("is the plan's four members, and nothing else", () => {
    assert.strictEqual(
      encode("p1", value("t0", at("2026-11-23T00:31:40.400Z"))),
      '{"player_id":"p1","token":"t0","gateway":"gw-1","login_time":"2026-11-23T00:31:40.400Z"}'
    )
    assert.strictEqual(
      encode("p1", value("t0")),
      '{"player_id":"p1","token":"t0","gateway":"gw-1","login_time":"0001-01-01T00:00:00Z"}'
    )
  })

  it("is JSON that Go reads, and comes back as it was", () => {
    for (const text of [`<>&"\\/\u2028\0`, "ü 🎲", "x".repeat(8_192)]) {
      const written = encode("p1", value(text, at("2026-11-23T00:31:40.007Z")))
      assert.deepStrictEqual(Object.keys(JSON.parse(written)), ["player_id", "token", "gateway", "login_time"])
      assert.match(JSON.parse(written).login_time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      assert.deepStrictEqual(
        read(written),
        Result.succeed({ token: text, gateway: "gw-1", loginTime: "2026-11-23T00:31:40.007Z" })
      )
    }
  })
})

describe("what a Go service writes", () => {
  const times: ReadonlyArray<readonly [written: string, read: string | undefined]> = [
    ["2026-11-23T00:31:40Z", "2026-11-23T00:31:40.000Z"],
    ["2026-11-23T00:31:40.4Z", "2026-11-23T00:31:40.400Z"],
    ["2026-11-23T00:31:40.40Z", "2026-11-23T00:31:40.400Z"],
    ["2026-11-23T00:31:40.400538Z", "2026-11-23T00:31:40.400Z"],
    ["2026-11-23T00:31:40.400538152Z", "2026-11-23T00:31:40.400Z"],
    ["2026-11-23T00:31:40.999999999Z", "2026-11-23T00:31:40.999Z"],
    ["2026-11-23T08:31:40.400538152+08:00", "2026-11-23T00:31:40.400Z"],
    ["2026-11-22T19:01:40-05:30", "2026-11-23T00:31:40.000Z"],
    ["2028-02-29T23:59:59+00:00", "2028-02-29T23:59:59.000Z"],
    ["9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999Z"],
    ["0001-01-01T00:00:00Z", undefined],
    ["0001-01-01T08:05:43+08:05", undefined]
  ]
  for (const [written, expected] of times) {
    it(`is read with login_time ${written}`, () =>
      assert.deepStrictEqual(
        read(withTime(`"${written}"`)),
        Result.succeed({ token: "t", gateway: "gw-1", loginTime: expected })
      ))
  }

  const forms: ReadonlyArray<readonly [what: string, text: string, read: object]> = [
    [
      "names in any case",
      '{"Player_ID":"p1","TOKEN":"a","gateWay":"g","LOGIN_time":"2026-11-23T00:31:40Z"}',
      { token: "a", gateway: "g", loginTime: "2026-11-23T00:31:40.000Z" }
    ],
    ["names by folding", '{"to\u212Aen":"a","gateway":"g"}', { token: "a", gateway: "g", loginTime: undefined }],
    ["the last of duplicates", '{"token":"a","token":"b","gateway":"g"}', { token: "b", gateway: "g" }],
    ["the last in another case", '{"token":"a","gateway":"g","TOKEN":"b"}', { token: "b", gateway: "g" }],
    ["the last of three", '{"token":"a","TOKEN":"b","token":"c","gateway":"g"}', { token: "c", gateway: "g" }],
    ["a null that leaves the value", '{"token":"a","token":null,"gateway":"g"}', { token: "a", gateway: "g" }],
    [
      "extra members",
      '{"device":{"token":"x","a":["}",{"token":"y"}]},"token":"a","n":1,"gateway":"g","x":null}',
      { token: "a", gateway: "g" }
    ],
    [
      "extra members, in any case",
      ' { "Extra" : { "token" : "x,}" , "a" : [ "\\"" ] } , "Token" : "a\\u003c\\"" , "gateway" : "g" } ',
      { token: 'a<"', gateway: "g" }
    ],
    ["escapes", '{"token":"\\u003ca\\u0026\\u003e","gateway":"g"}', { token: "<a&>", gateway: "g" }],
    ["null members", '{"player_id":null,"token":null,"gateway":null,"login_time":null}', { token: "", gateway: "" }],
    ["missing members", "{}", { token: "", gateway: "", loginTime: undefined }],
    ["null", "null", { token: "", gateway: "", loginTime: undefined }],
    ["a member of the prototype", '{"__proto__":{"token":"x"},"token":"a","gateway":"g"}', { token: "a", gateway: "g" }]
  ]
  for (const [what, text, expected] of forms) {
    it(`is read: ${what}`, () => assert.deepInclude(Result.getOrThrow(read(text)), expected))
  }

  const unreadable: ReadonlyArray<string> = [
    "",
    "{",
    "1",
    '"text"',
    "[]",
    "true",
    '{"player_id":1}',
    '{"token":1}',
    '{"token":{}}',
    '{"gateway":[]}',
    '{"Token":true}',
    withTime("1795393900"),
    withTime('"1795393900"'),
    withTime('""'),
    withTime('"2026-11-23T00:31:40"'),
    withTime('"2026-11-23T00:31:40+0800"'),
    withTime('"2026-11-23 00:31:40Z"'),
    withTime('"2026-11-23t00:31:40Z"'),
    withTime('"2026-11-23T00:31:40z"'),
    withTime('"12026-11-23T00:31:40Z"'),
    withTime('"2026-02-30T00:31:40Z"'),
    withTime('"2027-02-29T00:31:40Z"'),
    withTime('"2026-13-01T00:31:40Z"'),
    withTime('"2026-11-23T24:00:00Z"'),
    withTime('"2026-11-23T00:31:60Z"'),
    withTime('"2026-11-23T00:31:40,5Z"'),
    withTime('"2026-11-23T00:31:40.Z"')
  ]
  for (const text of unreadable) {
    it(`is no session: ${text}`, () => {
      const result = read(text)
      assert.isTrue(Result.isFailure(result))
      if (Result.isFailure(result)) assert.strictEqual(result.failure._tag, "Unreadable")
    })
  }

  it("is not shown where it cannot be read", () => {
    const result = read('{"token":"canary-1","login_time":"canary-2","gateway":"canary-3"}')
    assert.isTrue(Result.isFailure(result))
    assert.notInclude(`${JSON.stringify(result)} ${Result.isFailure(result) ? result.failure.message : ""}`, "canary")
  })
})

import { assert, describe, it } from "@effect/vitest"
import { Player } from "../../src/gen/game.ts"
import { encode } from "../../src/utils/Protobuf.ts"

const player = (name: string): Player => ({ id: "p1", name, level: 7, exp: 300n })

/** As a writer of its own writes it. */
const expected = (message: Player): Buffer => Buffer.from(Player.encode(message).finish())

describe("encode", () => {
  it("writes one message after the other, of any size", () => {
    for (const length of [0, 1, 200, 100_000, 3, 65_536, 0]) {
      const message = player("x".repeat(length))
      assert.isTrue(encode(Player, message).equals(expected(message)))
    }
  })

  it("gives bytes that the next message leaves alone", () => {
    const first = encode(Player, player("first"))
    encode(Player, player("second"))
    assert.isTrue(first.equals(expected(player("first"))))
  })

  it("writes a message while another is written", () => {
    let inner: Buffer | undefined
    const outer = { id: "p2", level: 1, exp: 0n } as Player
    Object.defineProperty(outer, "name", {
      get: () => {
        inner = encode(Player, player("inner"))
        return "outer"
      }
    })
    assert.isTrue(encode(Player, outer).equals(expected({ id: "p2", name: "outer", level: 1, exp: 0n })))
    assert.isTrue(inner?.equals(expected(player("inner"))))
  })

  it("keeps nothing of a message that cannot be written", () => {
    assert.throws(() => encode(Player, { ...player("wrong"), level: 2 ** 40 }))
    assert.isTrue(encode(Player, player("right")).equals(expected(player("right"))))
  })
})

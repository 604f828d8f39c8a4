import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { describe, expectTypeOf, it } from "vitest"
import { Config, ConfigTest, type InvalidConfig } from "xdooria/config"
import { ConfigLive } from "xdooria/config/live"

const WorldConfig = Config.section(
  "world",
  {
    size: Schema.Int,
    seed: Config.Secret,
    tick: Config.Seconds.pipe(Config.withDefault(1)),
    old: Schema.String.pipe(Config.withDefault(""), Config.ignored("it is old"))
  },
  ({ size }) => (size > 3 ? [{ field: "size", expected: "3 at most" }] : [])
)

describe("a section", () => {
  it("is read as its fields' types", () => {
    const world = Config.get(WorldConfig)
    expectTypeOf<Effect.Success<typeof world>>().toEqualTypeOf<{
      readonly size: number
      readonly seed: Redacted.Redacted
      readonly tick: Duration.Duration
      readonly old: string
    }>()
    expectTypeOf<Effect.Error<typeof world>>().toEqualTypeOf<InvalidConfig>()
    expectTypeOf<Effect.Services<typeof world>>().toEqualTypeOf<never>()
    expectTypeOf(Config.changes(WorldConfig)).toEqualTypeOf<
      Stream.Stream<Effect.Success<typeof world>, InvalidConfig>
    >()
  })

  it("has rules for its own fields only", () => {
    // @ts-expect-error a fault names a field of the section
    Config.section("world", { size: Schema.Int }, () => [{ field: "sise", expected: "less" }])
  })
})

describe("the layers", () => {
  it("ask for nothing and fail with InvalidConfig only", () => {
    expectTypeOf(ConfigLive("game")).toEqualTypeOf<Layer.Layer<never, InvalidConfig>>()
    expectTypeOf(ConfigTest({})).toEqualTypeOf<Layer.Layer<never, InvalidConfig>>()
    expectTypeOf(Effect.map(Config.Current, ({ sourceOf }) => sourceOf("a.b"))).toEqualTypeOf<
      Effect.Effect<Option.Option<string>>
    >()
  })
})

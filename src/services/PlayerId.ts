import * as Schema from "effect/Schema"

/** The id of a player, in every service: safe in a key, a path and a log line. */
export const PlayerId = Schema.String.check(
  Schema.isPattern(/^(?!\.+$)[A-Za-z0-9._-]{1,64}$/, {
    expected: "1 to 64 characters of A-Z a-z 0-9 . _ -, not dots alone"
  })
).pipe(Schema.brand("PlayerId"))

/** See {@link PlayerId}. */
export type PlayerId = typeof PlayerId.Type

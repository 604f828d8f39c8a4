import * as Effect from "effect/Effect"
import type { PgLive } from "../pg/PgLive.ts"

/** The servers that the reference services need: one layer, so that a further one is a line here. */
export type Infra = typeof PgLive

/** Where they come from: `live` are the servers of the configuration, `embedded` are started here and end with us. */
export type InfraKind = "embedded" | "live"

/** Loads the layer of a kind; what the other kind needs is not loaded. */
export const loadInfra = (kind: InfraKind): Effect.Effect<Infra> =>
  kind === "embedded"
    ? Effect.map(
        Effect.promise(() => import("../pg/PgEmbedded.ts")),
        ({ PgEmbedded }) => PgEmbedded
      )
    : Effect.map(
        Effect.promise(() => import("../pg/PgLive.ts")),
        ({ PgLive }) => PgLive
      )

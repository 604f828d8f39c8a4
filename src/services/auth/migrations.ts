import type { Migration } from "../../pg/Pg.ts"

/** The schema of the auth service, in the order of its making. A migration that was released is never edited. */
export const migrations: ReadonlyArray<Migration> = [
  {
    id: 1,
    name: "create_accounts",
    // A ban is of a player, who need not have an account here: a Go service may know it.
    up: `
      CREATE TABLE accounts (
        player_id text PRIMARY KEY,
        name text NOT NULL,
        name_key text NOT NULL UNIQUE,
        password_hash text NOT NULL,
        roles text[] NOT NULL DEFAULT '{}',
        created_at timestamptz NOT NULL DEFAULT now()
      );
      CREATE TABLE bans (
        player_id text PRIMARY KEY,
        until timestamptz,
        banned_by text NOT NULL,
        reason text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
      );
    `
  }
]

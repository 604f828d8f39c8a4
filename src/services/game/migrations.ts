import type { Migration } from "../../pg/Pg.ts"

/** The schema of the game service, in the order of its making. A migration that was released is never edited. */
export const migrations: ReadonlyArray<Migration> = [
  {
    id: 1,
    name: "create_players",
    up: `
      CREATE TABLE players (
        id text PRIMARY KEY,
        name text NOT NULL,
        level int NOT NULL CHECK (level >= 1),
        exp bigint NOT NULL CHECK (exp >= 0),
        created_at timestamptz NOT NULL DEFAULT now()
      );
      CREATE TABLE exp_gains (
        player_id text NOT NULL REFERENCES players (id),
        request_id text NOT NULL,
        amount bigint NOT NULL CHECK (amount > 0),
        level int NOT NULL,
        exp bigint NOT NULL,
        levels_gained int NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (player_id, request_id)
      );
    `
  }
]

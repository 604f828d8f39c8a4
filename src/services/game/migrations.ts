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
  },
  {
    id: 2,
    name: "create_wallets",
    up: `
      CREATE TABLE wallets (
        player_id text NOT NULL REFERENCES players (id),
        currency text NOT NULL,
        balance numeric NOT NULL CHECK (balance >= 0),
        PRIMARY KEY (player_id, currency)
      );
      CREATE TABLE ledger (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        player_id text NOT NULL REFERENCES players (id),
        kind text NOT NULL CHECK (kind IN ('level_up', 'purchase', 'change')),
        request_id text NOT NULL,
        currency text NOT NULL,
        change numeric NOT NULL CHECK (change <> 0),
        balance numeric NOT NULL CHECK (balance >= 0),
        reason text NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        UNIQUE (player_id, kind, request_id)
      );
      CREATE INDEX ledger_newest ON ledger (player_id, id);
      CREATE TABLE inventory (
        player_id text NOT NULL REFERENCES players (id),
        item text NOT NULL,
        quantity bigint NOT NULL CHECK (quantity > 0),
        PRIMARY KEY (player_id, item)
      );
      CREATE TABLE purchases (
        player_id text NOT NULL REFERENCES players (id),
        request_id text NOT NULL,
        item text NOT NULL,
        quantity bigint NOT NULL CHECK (quantity > 0),
        item_quantity bigint NOT NULL,
        ledger_id bigint NOT NULL UNIQUE REFERENCES ledger (id),
        PRIMARY KEY (player_id, request_id)
      );
    `
  }
]

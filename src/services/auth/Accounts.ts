import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import * as Config from "../../config/Config.ts"
import type { InvalidConfig } from "../../config/ConfigError.ts"
import * as Pg from "../../pg/Pg.ts"
import type { PgError } from "../../pg/PgError.ts"
import * as Crypto from "../../utils/Crypto.ts"
import type { CryptoError } from "../../utils/CryptoError.ts"
import * as Uuid from "../../utils/Uuid.ts"
import { StorageUnavailable } from "../errors.ts"
import { AccountName, NewPassword } from "./api.ts"
import { AccountBanned, AccountTaken, WrongCredentials } from "./errors.ts"

/** The role of who may ban, push and broadcast. No call gives it: {@link AccountsConfig} does, or an operator in the table. */
export const admin = "admin"

/** Section `accounts`. */
export const AccountsConfig = Config.section(
  "accounts",
  {
    adminName: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({ description: "Name of an account with role `admin` that is made at start; none when empty" })
    ),
    adminPassword: Config.Secret.pipe(
      Config.withDefault(""),
      Schema.annotate({ description: "Its password; not looked at when there is an account of this name" })
    )
  },
  ({ adminName, adminPassword }) =>
    adminName === "" && Redacted.value(adminPassword) === ""
      ? []
      : [
          ...(Schema.is(AccountName)(adminName)
            ? []
            : [{ field: "adminName" as const, expected: "3 to 32 characters of A-Z a-z 0-9 . _ -" }]),
          ...(Schema.is(NewPassword)(adminPassword)
            ? []
            : [{ field: "adminPassword" as const, expected: "8 to 256 characters" }])
        ]
)

/**
 * Whose an account is.
 *
 * - `createdAt`: in seconds of the epoch
 */
export interface Account {
  readonly playerId: string
  readonly name: string
  readonly roles: ReadonlyArray<string>
  readonly createdAt: bigint
}

/**
 * A ban as it is written down.
 *
 * - `by`: the player id of who bans
 */
export interface Ban {
  readonly playerId: string
  readonly until: DateTime.Utc | "forever"
  readonly by: string
  readonly reason: string
}

/** The accounts of players, their passwords and their bans. */
export class Accounts extends Context.Service<
  Accounts,
  {
    /**
     * Makes an account with a player id of its own. Fails with AccountTaken when the name is taken, also by an earlier try
     * of this call whose answer was lost.
     */
    readonly register: (
      name: AccountName,
      password: Redacted.Redacted<string>
    ) => Effect.Effect<Account, AccountTaken | StorageUnavailable>
    /**
     * The account of a name and a password. It takes as long for a name that there is not. A hash of an older cost is
     * made anew. Fails with AccountBanned only for the right password.
     */
    readonly logIn: (
      name: AccountName,
      password: Redacted.Redacted<string>
    ) => Effect.Effect<Account, WrongCredentials | AccountBanned | StorageUnavailable>
    /** The account of a player; none for a player whom another service has named. */
    readonly find: (playerId: string) => Effect.Effect<Option.Option<Account>, StorageUnavailable>
    /** Writes down a ban, in place of an earlier one of the player. */
    readonly ban: (ban: Ban) => Effect.Effect<void, StorageUnavailable>
    /** Strikes out a ban. */
    readonly unban: (playerId: string) => Effect.Effect<void, StorageUnavailable>
  }
>()("xdooria/services/auth/Accounts") {}

interface Row {
  readonly player_id: string
  readonly name: string
  readonly roles: ReadonlyArray<string>
  readonly created_at: bigint
}

interface LoginRow extends Row {
  readonly password_hash: string
  readonly is_banned: boolean
  readonly banned_until: bigint | null
}

const toAccount = ({ created_at, name, player_id, roles }: Row): Account => ({
  playerId: player_id,
  name,
  roles,
  createdAt: created_at
})

/** Names that differ in upper and lower case only are one; their letters are those of ASCII. */
export const nameKey = (name: AccountName): string => name.toLowerCase()

/** Requests were held against `Crypto.isPassword`, and the table holds what we wrote: all else is a bug. */
const orDie = <A>(effect: Effect.Effect<A, CryptoError>): Effect.Effect<A> => Effect.orDie(effect)

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const passwords = yield* Crypto.passwords()
  const columns = sql`player_id, name, roles, floor(extract(epoch FROM created_at))::int8 AS created_at`

  /** Nothing when the name is taken. */
  const insert = Effect.fnUntraced(function* (
    name: AccountName,
    password: Redacted.Redacted<string>,
    roles: ReadonlyArray<string>
  ) {
    const playerId = yield* Uuid.v7
    const hash = Redacted.value(yield* orDie(passwords.hash(password)))
    const rows = yield* Pg.run(sql<Row>`
      INSERT INTO accounts (player_id, name, name_key, password_hash, roles)
      VALUES (${playerId}, ${name}, ${nameKey(name)}, ${hash}, ${roles}::text[])
      ON CONFLICT (name_key) DO NOTHING RETURNING ${columns}`)
    return Option.map(Option.fromUndefinedOr(rows[0]), toAccount)
  })

  const rehash = (row: LoginRow, password: Redacted.Redacted<string>) =>
    orDie(passwords.hash(password)).pipe(
      Effect.flatMap((hash) =>
        Pg.run(sql`
          UPDATE accounts SET password_hash = ${Redacted.value(hash)}
          WHERE player_id = ${row.player_id} AND password_hash = ${row.password_hash}`)
      ),
      // The next login tries again.
      Effect.catchTag("PgError", (error) => Effect.logWarning("password not hashed anew", error.message))
    )

  const logIn = Effect.fnUntraced(
    function* (name: AccountName, password: Redacted.Redacted<string>) {
      const [row] = yield* Pg.run(sql<LoginRow>`
        SELECT a.player_id, a.name, a.roles, floor(extract(epoch FROM a.created_at))::int8 AS created_at,
          a.password_hash, b.player_id IS NOT NULL AS is_banned,
          floor(extract(epoch FROM b.until) * 1000)::int8 AS banned_until
        FROM accounts a LEFT JOIN bans b ON b.player_id = a.player_id AND (b.until IS NULL OR b.until > now())
        WHERE a.name_key = ${nameKey(name)}`)
      const hash = row === undefined ? undefined : Redacted.make(row.password_hash)
      const isRight = yield* orDie(passwords.verify(password, hash))
      if (row === undefined || hash === undefined || !isRight) {
        yield* Effect.logInfo("wrong credentials").pipe(Effect.annotateLogs({ playerId: row?.player_id ?? "none" }))
        return yield* new WrongCredentials()
      }
      if (row.is_banned) {
        return yield* new AccountBanned(row.banned_until === null ? {} : { until: Number(row.banned_until) })
      }
      if (passwords.needsRehash(hash)) yield* rehash(row, password)
      return toAccount(row)
    },
    Effect.catchTag("PgError", StorageUnavailable.from)
  )

  /** The account of section `accounts`, made before anybody can log in. */
  const bootstrap = Effect.gen(function* () {
    const { adminName, adminPassword } = yield* Config.get(AccountsConfig)
    if (adminName === "") return
    const name = AccountName.make(adminName)
    const [known] = yield* Pg.run(sql<Row>`SELECT ${columns} FROM accounts WHERE name_key = ${nameKey(name)}`)
    // Another instance that starts now makes the same.
    const made = known === undefined ? yield* insert(name, adminPassword, [admin]) : Option.none()
    if (Option.isSome(made)) {
      yield* Effect.logInfo("admin made").pipe(Effect.annotateLogs({ playerId: made.value.playerId }))
    }
    // Never given to who has taken the name: that may be anybody.
    if (known?.roles.includes(admin) === false) {
      yield* Effect.logWarning("accounts.admin_name is the name of a player who is no admin")
    }
  })
  yield* bootstrap

  return Accounts.of({
    register: (name, password) =>
      insert(name, password, []).pipe(
        Effect.catchTag("PgError", StorageUnavailable.from),
        Effect.flatMap(Option.match({ onNone: () => Effect.fail(new AccountTaken()), onSome: Effect.succeed }))
      ),
    logIn,
    find: (playerId) =>
      Pg.run(sql<Row>`SELECT ${columns} FROM accounts WHERE player_id = ${playerId}`).pipe(
        Effect.map(([row]) => Option.map(Option.fromUndefinedOr(row), toAccount)),
        Effect.catchTag("PgError", StorageUnavailable.from)
      ),
    ban: ({ by, playerId, reason, until }) =>
      Pg.run(sql`
        INSERT INTO bans (player_id, until, banned_by, reason)
        VALUES (${playerId}, ${until === "forever" ? null : DateTime.formatIso(until)}::timestamptz, ${by}, ${reason})
        ON CONFLICT (player_id) DO UPDATE
        SET until = excluded.until, banned_by = excluded.banned_by, reason = excluded.reason, created_at = now()`).pipe(
        Effect.asVoid,
        Effect.catchTag("PgError", StorageUnavailable.from)
      ),
    unban: (playerId) =>
      Pg.run(sql`DELETE FROM bans WHERE player_id = ${playerId}`).pipe(
        Effect.asVoid,
        Effect.catchTag("PgError", StorageUnavailable.from)
      )
  })
})

/** Keeps accounts in PostgreSQL, in the tables of the migrations, and makes the one of section `accounts`. */
export const AccountsLive: Layer.Layer<Accounts, InvalidConfig | PgError, SqlClient.SqlClient> = Layer.effect(
  Accounts,
  make
)

export * as Pg from "./Pg.ts"
export * from "./PgError.ts"

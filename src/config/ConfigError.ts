import * as Schema from "effect/Schema"
import * as Reason from "../utils/Reason.ts"

/**
 * One thing that is wrong with a configuration.
 *
 * - `source`: where the value came from: `default`, a file's path with `:line` where it is known, or `env NAME`
 * - `path`: the dotted key, such as `database.port`; empty for the whole file
 * - `expected`, `actual`: what the schema wants and what was found; a secret's value is `<redacted>`, and a text that
 *   does not resemble what is wanted is told by its length, for it may be a secret in the wrong place
 * - `hint`: what to do, such as the nearest known key
 */
export const ConfigIssue = Schema.Struct({
  source: Schema.String,
  path: Schema.String,
  expected: Schema.String,
  actual: Schema.String,
  hint: Schema.optionalKey(Schema.String)
})

/** See {@link ConfigIssue}. */
export type ConfigIssue = typeof ConfigIssue.Type

/** A fault or a warning as one line: where, what is expected, what was found, and the hint. */
export const describeIssue = (issue: ConfigIssue): string => {
  const where = issue.path === "" ? issue.source : `${issue.source}: ${issue.path}`
  const hint = issue.hint === undefined ? "" : ` (${issue.hint})`
  return `${where}: expected ${issue.expected}, got ${issue.actual}${hint}`
}

/**
 * The source could not be read: absent, not a regular file, too large, no permission, not UTF-8. Another try may work.
 */
export class Unreadable extends Reason.transient<Unreadable>("xdooria/config/Unreadable")("Unreadable", {
  source: Schema.String,
  expected: Schema.String,
  actual: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return describeIssue({ ...this, path: "" })
  }
}

/** The values do not fit the sections of the rooms; every fault is listed. */
export class Rejected extends Reason.permanent<Rejected>("xdooria/config/Rejected")("Rejected", {
  issues: Schema.Array(ConfigIssue)
}) {
  override get message(): string {
    return this.issues.map(describeIssue).join("\n")
  }
}

/** Why a configuration was refused. */
export const InvalidConfigReason = Schema.Union([Unreadable, Rejected])

/** See {@link InvalidConfigReason}. */
export type InvalidConfigReason = typeof InvalidConfigReason.Type

/** The error of room config. Not named ConfigError: that tag is Effect's. */
export class InvalidConfig extends Reason.error<InvalidConfig>("xdooria/config/InvalidConfig")("InvalidConfig", {
  reason: InvalidConfigReason
}) {
  override get message(): string {
    return this.reason.message
  }
}

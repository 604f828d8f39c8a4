// What this room keeps of a player beside the plan's value, as text that Lua and we read at little cost:
//
//   epoch revoked seen ban =main          0 for a number that is not known, - for no ban and no main session
//   =device epoch issued ttl expires digest gateway value
//   ~device what became of its last session
//
// one line for each session and each past one. A name has neither blanks nor line ends, and a value, which is JSON that we
// wrote, has no line end.

/**
 * A session: its epoch, when it was issued, its time to live, when it expires, the plan's value, and of that the digest of
 * the token and the gateway, so that Lua need not read it.
 */
export interface StoredSession {
  readonly e: number
  readonly i: number
  readonly t: number
  readonly x: number
  readonly h: string
  readonly g: string
  readonly v: string
}

/** What is kept of a player. Times are milliseconds of the store's clock. */
export interface StoredRecord {
  /** The device whose session is the plan's value. */
  readonly m: string | undefined
  /** End of a ban, or `forever`. */
  readonly b: string | undefined
  /** Sessions that began until then are void. */
  readonly r: number
  /** When the player was seen last; 0 for not known. */
  readonly s: number
  /** The sessions by device. */
  readonly sessions: ReadonlyMap<string, StoredSession>
  /** What became of the last session of each device: `reason epoch digest`, or `moved epoch - gateway`. */
  readonly past: ReadonlyMap<string, string>
}

const none: StoredRecord = { m: undefined, b: undefined, r: 0, s: 0, sessions: new Map(), past: new Map() }

const head = /^\d{1,15} (\d{1,15}) (\d{1,15}) ([^ \n]+) ([^ \n]+)/
const lines =
  /\n=([^ \n]*) (\d{1,15}) (\d{1,15}) (\d{1,15}) (\d{1,15}) ([^ \n]+) ([^ \n]*) ([^\n]*)|\n~([^ \n]*) ([^\n]*)/g

/** Reads a record; one that nobody of ours has written is none. */
export const recordOf = (text: string | undefined): StoredRecord => {
  const first = text === undefined ? null : head.exec(text)
  if (text === undefined || first === null) return none
  const [, r, s, b, m] = first
  const sessions = new Map<string, StoredSession>()
  const past = new Map<string, string>()
  lines.lastIndex = 0
  for (let line = lines.exec(text); line !== null; line = lines.exec(text)) {
    const [, device, e, i, t, x, h, g, v, gone, what] = line
    if (gone !== undefined) past.set(gone, what!)
    else sessions.set(device!, { e: Number(e), i: Number(i), t: Number(t), x: Number(x), h: h!, g: g!, v: v! })
  }
  return {
    m: m === "-" ? undefined : m!.slice(1),
    b: /^(?:forever|\d{1,16})$/.test(b!) ? b : undefined,
    r: Number(r),
    s: Number(s),
    sessions,
    past
  }
}

/** What is remembered of tokens that were seen of late. */
export interface Cache<A> {
  readonly get: (token: string) => A | undefined
  readonly set: (token: string, value: A) => void
  readonly delete: (token: string) => void
  readonly clear: () => void
}

/**
 * How much of its end, which is of its signature, a token is looked up by, in characters. To hash a whole token, whose text
 * is a new one in every call, takes longer than all the rest; of two with one end the later one is remembered.
 */
const tail = 12

interface Entry<A> {
  readonly token: string
  readonly value: A
}

/**
 * Remembers the values of up to `size` tokens, and of at least half as many that were asked for last. They are in two
 * halves, of which the older one is forgotten when the newer one is full: to keep an order would cost as much as a look.
 */
export const make = <A>(size: number): Cache<A> => {
  let newer = new Map<string, Entry<A>>()
  let older = new Map<string, Entry<A>>()
  const put = (key: string, entry: Entry<A>) => {
    newer.set(key, entry)
    if (newer.size < size / 2) return
    older = newer
    newer = new Map()
  }
  return {
    get: (token) => {
      const key = token.slice(-tail)
      let entry = newer.get(key)
      if (entry === undefined) {
        entry = older.get(key)
        if (entry !== undefined) put(key, entry)
      }
      return entry?.token === token ? entry.value : undefined
    },
    set: (token, value) => {
      if (size > 0) put(token.slice(-tail), { token, value })
    },
    delete: (token) => {
      const key = token.slice(-tail)
      newer.delete(key)
      older.delete(key)
    },
    clear: () => {
      newer.clear()
      older.clear()
    }
  }
}

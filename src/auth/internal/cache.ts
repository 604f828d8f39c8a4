/** What is remembered of what was used last. */
export interface Cache<A> {
  readonly get: (key: string) => A | undefined
  readonly set: (key: string, value: A) => void
  readonly delete: (key: string) => void
  readonly clear: () => void
}

/**
 * Remembers the values of up to `size` keys; of more it forgets those that were not asked for the longest. A map keeps
 * the order in which its keys came, so the first one is that.
 */
export const make = <A>(size: number): Cache<A> => {
  const values = new Map<string, A>()
  return {
    get: (key) => {
      const value = values.get(key)
      if (value === undefined) return undefined
      values.delete(key)
      values.set(key, value)
      return value
    },
    set: (key, value) => {
      values.set(key, value)
      if (values.size > size) values.delete(values.keys().next().value!)
    },
    delete: (key) => void values.delete(key),
    clear: () => values.clear()
  }
}

import type * as Cause from "effect/Cause"
import * as Schema from "effect/Schema"

/** What every reason and every error of a room answers. */
export interface Retry {
  /** Whether another try may work. */
  readonly isRetryable: boolean
  /** Whether surely nothing was applied, or doing it twice is doing it once. Built-in retries obey this one. */
  readonly isSafeToRetry: boolean
}

/** As Schema.TaggedError: the class, its identifier (`xdooria/<room>/<Name>`), then its tag and fields. */
type Maker = <Self>(
  identifier: string
) => <Tag extends string, const Fields extends Schema.Struct.Fields>(
  tag: Tag,
  fields: Fields
) => Schema.Class<Self, Schema.TaggedStruct<Tag, Fields>, Cause.YieldableError & Retry>

const maker =
  (getters: { readonly [K in keyof Retry]: (self: { readonly reason: Retry }) => boolean }): Maker =>
  <Self>(identifier: string) =>
  (tag, fields) => {
    const base = Schema.TaggedError<Self, Retry>(identifier)(tag, fields) as unknown as ReturnType<ReturnType<Maker>>
    for (const name of ["isRetryable", "isSafeToRetry"] as const) {
      const get = getters[name]
      Object.defineProperty(base.prototype, name, {
        configurable: true,
        get(this: { readonly reason: Retry }) {
          return get(this)
        }
      })
    }
    return base as never
  }

/** A reason that no further try changes; nothing was applied. */
export const permanent: Maker = maker({ isRetryable: () => false, isSafeToRetry: () => true })

/** A reason that passes; nothing was applied. */
export const transient: Maker = maker({ isRetryable: () => true, isSafeToRetry: () => true })

/** A reason that passes, when it is not known whether something was applied. */
export const ambiguous: Maker = maker({ isRetryable: () => true, isSafeToRetry: () => false })

/** The error of a room: it has a field `reason`, and answers what that answers. */
export const error: Maker = maker({
  isRetryable: ({ reason }) => reason.isRetryable,
  isSafeToRetry: ({ reason }) => reason.isSafeToRetry
})

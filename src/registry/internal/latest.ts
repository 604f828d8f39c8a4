import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/** A value that many follow. Who is slow to read sees the newest one, and nothing is kept for him. */
export class Latest<A> {
  private value: A | undefined
  private version = 0
  private isEnded = false
  /** Done at the next change. */
  private changed = Deferred.makeUnsafe<void>()

  get current(): A | undefined {
    return this.value
  }

  /** Who follows it is told only what is news; the next one to come sees what was set last. */
  set(value: A, isNews = true): void {
    this.value = value
    if (isNews) this.turn()
  }

  /** Nothing comes after this. */
  end(): void {
    this.isEnded = true
    this.turn()
  }

  private turn(): void {
    this.version++
    Deferred.doneUnsafe(this.changed, Effect.void)
    this.changed = Deferred.makeUnsafe()
  }

  /** The value now, or as soon as there is one, and after every change, until the end. */
  readonly changes: Stream.Stream<A> = Stream.paginate(0, (seen) => this.next(seen))

  private next(seen: number): Effect.Effect<readonly [ReadonlyArray<A>, Option.Option<number>]> {
    return Effect.suspend(() => {
      if (this.isEnded) return Effect.succeed([[], Option.none()] as const)
      const { value, version } = this
      if (version > seen && value !== undefined) return Effect.succeed([[value], Option.some(version)] as const)
      return Effect.andThen(Deferred.await(this.changed), this.next(seen))
    })
  }
}

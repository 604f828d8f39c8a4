import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { randomBytes } from "node:crypto"
import type { Leader, Leadership, Leading } from "../Leader.ts"
import { Closed, InvalidName, Lost, type Refused, RegistryError } from "../RegistryError.ts"
import { type Followed, follow } from "./follow.ts"
import { Latest } from "./latest.ts"
import { backoff, grant, isAlive, keep, type Lease, monotonicMillis, persist, revoke } from "./lease.ts"
import { checkName } from "./names.ts"
import type { Entry, Store } from "./store.ts"

const prefixOf = (name: string): string => `/xdooria/meta/leaders/${name}/`

/** How long a candidate may call itself. */
const mostLength = 256

const closed = new RegistryError({ reason: new Closed() })

const failed = (reason: Refused | Lost | InvalidName): RegistryError => new RegistryError({ reason })

export interface ElectionOptions {
  readonly ttlMillis: number
  readonly resyncMillis: number
}

/** The entries with a prefix, as they are told of. */
class Candidates {
  private readonly entries = new Map<string, Entry>()

  /** Whether the entries are now known, or known anew. */
  take(followed: Followed): boolean {
    if (followed._tag === "Listed") {
      this.entries.clear()
      for (const entry of followed.snapshot.entries) this.entries.set(entry.key, entry)
    } else if (followed._tag === "Changed") {
      for (const change of followed.changes) {
        if (change._tag === "Put") this.entries.set(change.entry.key, change.entry)
        else this.entries.delete(change.key)
      }
    }
    return followed._tag === "Listed" || followed._tag === "Changed"
  }

  get(key: string): Entry | undefined {
    return this.entries.get(key)
  }

  /** The one that asked first. */
  get first(): Entry | undefined {
    return firstOf(this.entries.values())
  }
}

const firstOf = (entries: Iterable<Entry>): Entry | undefined => {
  let first: Entry | undefined
  for (const entry of entries) if (first === undefined || entry.createRevision < first.createRevision) first = entry
  return first
}

/** A candidate with its key in the queue, from its putting to its end. */
class Candidacy implements Leadership {
  readonly name: string
  readonly id: string
  readonly token: bigint
  private readonly key: string
  private readonly lease: Lease
  private readonly lost = Deferred.makeUnsafe<never, RegistryError>()
  private how: Lost["how"] | undefined

  constructor(name: string, id: string, token: bigint, key: string, lease: Lease) {
    this.name = name
    this.id = id
    this.token = token
    this.key = key
    this.lease = lease
  }

  /** Follows the queue for as long as the candidate is in it. `turn`: done when it leads. */
  follow(store: Store, options: ElectionOptions, turn: Deferred.Deferred<void, RegistryError>): Effect.Effect<never> {
    const candidates = new Candidates()
    return follow(store, prefixOf(this.name), options.resyncMillis, (followed) => {
      if (followed._tag === "Away" && followed.error._tag === "Refused") {
        return Effect.asVoid(Deferred.fail(turn, failed(followed.error)))
      }
      if (!candidates.take(followed)) return Effect.void
      if (candidates.get(this.key)?.createRevision !== this.token) return this.lose("taken")
      if (candidates.first?.key !== this.key || Deferred.isDoneUnsafe(turn)) return Effect.void
      // What was heard may be old by now: the queue is read again before it is believed.
      return Effect.matchEffect(persist(store.list(prefixOf(this.name))), {
        onFailure: (error) => Deferred.fail(turn, failed(error)),
        onSuccess: ({ entries }) => {
          const first = firstOf(entries)
          const isOurs = first?.key === this.key && first.createRevision === this.token
          return isOurs ? Deferred.succeed(turn, undefined) : Effect.void
        }
      })
    })
  }

  lose(how: Lost["how"]): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.how !== undefined) return Effect.void
      this.how = how
      return Effect.asVoid(Deferred.fail(this.lost, failed(new Lost({ how }))))
    })
  }

  /** Fails when it is lost. */
  readonly ended: Effect.Effect<never, RegistryError> = Effect.suspend(() => Deferred.await(this.lost))

  /** Fails when it can no longer be relied on, whether that was noticed or not. */
  private readonly check = Effect.clockWith((clock): Effect.Effect<void, RegistryError> => {
    const how = this.how ?? (monotonicMillis(clock) < this.lease.deadline ? undefined : "expired")
    return how === undefined ? Effect.void : Effect.fail(failed(new Lost({ how })))
  })

  readonly whileLeader = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | RegistryError, R> =>
    this.check.pipe(
      Effect.andThen(Effect.raceFirst(effect, this.ended)),
      Effect.tap(() => this.check)
    )
}

/** Puts the candidate's key; none when its lease has ended. A reply that was lost is asked for by doing it again. */
const enter = (store: Store, key: string, id: string, lease: Lease): Effect.Effect<bigint | undefined, Refused> =>
  Effect.map(
    persist(store.put({ key, value: id, lease: lease.id, condition: { key, createRevision: 0n } })),
    (answer) => {
      if (answer._tag === "Done") return answer.revision
      return answer.entry?.lease === lease.id ? answer.entry.createRevision : undefined
    }
  ).pipe(
    Effect.catch((refused) =>
      Effect.flatMap(isAlive(store, lease), (is) => (is ? Effect.fail(refused) : Effect.undefined))
    )
  )

/** See {@link Leader}. */
const observe = (
  store: Store,
  name: string,
  options: ElectionOptions
): Stream.Stream<Option.Option<Leading>, RegistryError> =>
  Stream.unwrap(
    Effect.gen(function* () {
      yield* checkName(name)
      const latest = new Latest<Option.Option<Leading>>()
      const candidates = new Candidates()
      yield* Effect.forkScoped(
        follow(store, prefixOf(name), options.resyncMillis, (followed) =>
          Effect.sync(() => {
            if (!candidates.take(followed)) return
            const { first } = candidates
            const before = Option.getOrUndefined(latest.current ?? Option.none())
            const isNews = latest.current === undefined || before?.token !== first?.createRevision
            const leading = Option.map(Option.fromUndefinedOr(first), ({ createRevision, value }) => ({
              id: value,
              token: createRevision
            }))
            latest.set(leading, isNews)
          })
        )
      )
      return latest.changes
    })
  )

/** Elections on a store. Whoever leads, or waits to, does so no more when the scope ends. */
export const make = (store: Store, options: ElectionOptions): Effect.Effect<Leader["Service"], never, Scope.Scope> =>
  Effect.gen(function* () {
    const closing = Deferred.makeUnsafe<never, RegistryError>()
    const terms = new Map<Scope.Closeable, Candidacy>()
    yield* Effect.addFinalizer(() =>
      Effect.andThen(
        Deferred.fail(closing, closed),
        Effect.forEach(
          [...terms],
          ([scope, candidacy]) => Effect.andThen(candidacy.lose("closed"), Scope.close(scope, Exit.void)),
          { concurrency: "unbounded", discard: true }
        )
      )
    )

    /** One candidacy, in a scope of its own: its lease, its key and its turn; nothing when it was lost before that. */
    const stand = (name: string, id: string, scope: Scope.Closeable) =>
      Effect.gen(function* () {
        const lease = yield* Effect.uninterruptibleMask((restore) =>
          Effect.tap(restore(persist(grant(store, options.ttlMillis))), (given) =>
            Scope.addFinalizer(scope, Effect.ignore(revoke(store, given)))
          )
        )
        const key = `${prefixOf(name)}${randomBytes(16).toString("hex")}`
        const kept = yield* Effect.forkIn(keep(store, lease), scope)
        const token = yield* Effect.raceFirst(enter(store, key, id, lease), Effect.as(Fiber.join(kept), undefined))
        if (token === undefined) return undefined
        const candidacy = new Candidacy(name, id, token, key, lease)
        const turn = Deferred.makeUnsafe<void, RegistryError>()
        yield* Effect.forkIn(Effect.andThen(Fiber.join(kept), candidacy.lose("expired")), scope)
        yield* Effect.forkIn(candidacy.follow(store, options, turn), scope)
        const isOurs = yield* Effect.raceFirst(
          Effect.as(Deferred.await(turn), true),
          Effect.catch(candidacy.ended, () => Effect.succeed(false))
        )
        return isOurs ? candidacy : undefined
      }).pipe(Effect.mapError((error) => (error._tag === "RegistryError" ? error : failed(error))))

    const elect = (
      name: string,
      asked?: { readonly id?: string }
    ): Effect.Effect<Leadership, RegistryError, Scope.Scope> =>
      Effect.gen(function* () {
        const id = asked?.id ?? randomBytes(8).toString("hex")
        yield* checkName(name)
        if (typeof id !== "string" || id === "" || id.length > mostLength || !id.isWellFormed()) {
          return yield* failed(
            new InvalidName({
              problem: `the id of a candidate is not 1 to ${mostLength} characters of well formed text`
            })
          )
        }
        if (Deferred.isDoneUnsafe(closing)) return yield* closed
        const outer = yield* Effect.scope
        for (let failures = 0; ; failures++) {
          const scope = yield* Scope.fork(outer)
          const standing = Effect.raceFirst(stand(name, id, scope), Deferred.await(closing))
          const candidacy = yield* Effect.onExit(standing, (exit) =>
            Exit.isSuccess(exit) && exit.value !== undefined ? Effect.void : Scope.close(scope, Exit.void)
          )
          if (candidacy !== undefined) {
            terms.set(scope, candidacy)
            yield* Scope.addFinalizer(
              scope,
              Effect.andThen(
                Effect.sync(() => terms.delete(scope)),
                candidacy.lose("closed")
              )
            )
            return candidacy
          }
          yield* backoff(Math.min(failures, 4))
        }
      })

    return { elect, observe: (name) => observe(store, name, options) }
  })

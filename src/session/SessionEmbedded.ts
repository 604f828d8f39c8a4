import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import type { Event } from "../redis/Channel.ts"
import { Memory } from "./internal/memory.ts"
import { keptMillis } from "./internal/roster.ts"
import * as Service from "./internal/service.ts"
import type { Store } from "./internal/store.ts"
import { type Kick, Session, SessionConfig, type SessionOptions } from "./Session.ts"

const defaults: SessionOptions = Schema.decodeSync(SessionConfig.schema)({})

/** How many messages wait for a gateway at most. */
const mostMessages = 1_024

/** Who hears what a gateway is told. */
const makeListeners = () => {
  const listeners = new Map<string, Set<Queue.Queue<Event<Kick>>>>()
  const subscribe = (gateway: string) =>
    Stream.unwrap(
      Effect.map(
        Effect.acquireRelease(
          Effect.map(Queue.dropping<Event<Kick>>(mostMessages), (queue) => {
            Queue.offerUnsafe(queue, { _tag: "Gap" })
            const all = listeners.get(gateway) ?? new Set()
            listeners.set(gateway, all.add(queue))
            return queue
          }),
          (queue) =>
            Effect.sync(() => {
              const all = listeners.get(gateway)!
              all.delete(queue)
              if (all.size === 0) listeners.delete(gateway)
            })
        ),
        Stream.fromQueue
      )
    )
  const tell = (gateway: string, value: Kick) =>
    listeners.get(gateway)?.forEach((queue) => {
      // The last place says that there was more.
      const isLast = Queue.sizeUnsafe(queue) === mostMessages - 1
      Queue.offerUnsafe(queue, isLast ? { _tag: "Gap" } : { _tag: "Message", value })
    })
  return { subscribe, tell }
}

/** The lists of the gateways: each member with the instant until which it is online, or at which it was listed. */
const makeRosters = (onlineMillis: number, keptMillis: number, now: () => number) => {
  const rosters = new Map<string, Map<string, number>>()
  const note: Store["note"] = (gateway, member, standing) => {
    const roster = rosters.get(gateway) ?? new Map<string, number>()
    if (standing === "gone") roster.delete(member)
    else if (standing === "online") roster.set(member, now() + onlineMillis)
    else if (!roster.has(member)) roster.set(member, now())
    if (roster.size === 0) rosters.delete(gateway)
    else rosters.set(gateway, roster)
  }
  const members: Store["members"] = (gateway) => Stream.sync(() => [...(rosters.get(gateway)?.keys() ?? [])])
  const countOnline = Effect.sync(() => {
    const at = now()
    return [...rosters.values()].reduce((sum, roster) => sum + [...roster.values()].filter((u) => u > at).length, 0)
  })
  /** Forgets what nobody has noted for long, as the lists on Redis do. */
  const purge = () => {
    const until = now() - keptMillis
    for (const [gateway, roster] of rosters) {
      for (const [member, at] of roster) if (at <= until) roster.delete(member)
      if (roster.size === 0) rosters.delete(gateway)
    }
  }
  return { purge, lists: { note, members, countOnline } }
}

const makeStore = Effect.fnUntraced(function* (options: SessionOptions) {
  const clock = yield* Clock.Clock
  const now = () => Math.floor(clock.currentTimeMillisUnsafe())
  const onlineTtl = Duration.toMillis(options.onlineTtl)
  const { subscribe, tell } = makeListeners()
  const rosters = makeRosters(onlineTtl, keptMillis(options), now)
  const memory = new Memory({
    maxDevices: options.maxDevices,
    retention: Duration.toMillis(options.retention),
    onlineTtl,
    slide: options.sliding ? Duration.toMillis(options.ttl) : 0,
    tell
  })
  yield* Effect.forkScoped(
    Effect.repeat(
      Effect.sync(() => {
        memory.purge(now())
        rosters.purge()
      }),
      Schedule.spaced("1 minute")
    )
  )
  let floor = 0
  const changes = yield* PubSub.sliding<void>(1)
  return {
    ...rosters.lists,
    login: (player, session) => Effect.sync(() => memory.login(player.id, session, floor, now())),
    read: (player, device) => Effect.sync(() => memory.read(player.id, device, now())),
    readAll: (of) =>
      Effect.sync(() => of.map(({ device, player }) => Result.succeed(memory.read(player.id, device, now())))),
    touch: (player, session) => Effect.sync(() => memory.touch(player.id, session, floor, now())),
    setOnline: (player, isOnline) => Effect.sync(() => memory.setOnline(player.id, isOnline, now())),
    presence: (player) =>
      Effect.sync(() => {
        const { online, seen } = memory.presence(player.id, now())
        return { online, lastSeen: seen === undefined ? undefined : DateTime.makeUnsafe(seen) }
      }),
    logout: (player, session) => Effect.sync(() => memory.logout(player.id, session, now())),
    end: (player, ending) => Effect.sync(() => memory.end(player.id, ending, now())),
    unban: (player) => Effect.sync(() => memory.unban(player.id)),
    move: (player, session, to, value) => Effect.sync(() => memory.move(player.id, session, to, value, now())),
    subscribe,
    floor: () => floor,
    raiseFloor: (until) =>
      Effect.suspend(() => {
        floor = Math.max(floor, Math.min(until, now()))
        return Effect.asVoid(PubSub.publish(changes, undefined))
      }),
    floorChanges: Stream.fromPubSub(changes)
  } satisfies Store as Store
})

/**
 * Sessions in memory, for development and tests: those of this process alone. What is not given has the default of
 * SessionConfig; `replicas` does nothing. They are gone when the scope closes.
 */
export const makeEmbedded = (
  options: Partial<SessionOptions> = {}
): Effect.Effect<Session["Service"], never, Scope.Scope> =>
  Effect.suspend(() => {
    const values = { ...defaults, ...options }
    return Effect.flatMap(makeStore(values), (store) => Service.make(store, values))
  })

/** As {@link SessionEmbedded}, with options in place of the configuration. See {@link makeEmbedded}. */
export const layerEmbedded = (options: Partial<SessionOptions> = {}): Layer.Layer<Session> =>
  Layer.effect(Session, makeEmbedded(options))

/** Sessions in memory, as section `session` says. See {@link makeEmbedded}. */
export const SessionEmbedded: Layer.Layer<Session, InvalidConfig> = Layer.effect(
  Session,
  Effect.flatMap(Config.get(SessionConfig), makeEmbedded)
)

// What the fault scenarios of Redis are made of: features under load, links that break, and what is measured.
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as References from "effect/References"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { randomInt, randomUUID } from "node:crypto"
import { Leaderboard } from "xdooria/leaderboard"
import { makeLive as makeLeaderboard } from "xdooria/leaderboard/live"
import type { Lock } from "xdooria/lock"
import { makeLive as makeLock } from "xdooria/lock/live"
import { Command, Key, Redis, Script } from "xdooria/redis"
import { layerLive } from "xdooria/redis/live"
import type { Session } from "xdooria/session"
import { makeLive as makeSession } from "xdooria/session/live"
import { run as runProgram } from "../infra/Server.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as History from "../support/History.ts"
import { isMissing, type Name, type Addresses, servers } from "../support/Servers.ts"
import {
  client as cleanClient,
  cluster,
  freshPrefix,
  type Options,
  sentinel,
  single
} from "../support/RedisBackends.ts"

export type Client = Redis["Service"]

/** The kinds of Redis, and the real servers of each. */
export const kinds = { single: "redis", cluster: "redisCluster", sentinel: "redisSentinel" } as const
export type Kind = keyof typeof kinds

/** The same on each kind of Redis. */
export const onEachKind = <A>(make: (kind: Kind) => A): ReadonlyArray<A> =>
  (Object.keys(kinds) as ReadonlyArray<Kind>).map(make)

export const quiet = Effect.provideService(References.MinimumLogLevel, "None")

export const clientOf = (options: Options): Effect.Effect<Client, unknown, Scope.Scope> =>
  Effect.map(Layer.build(layerLive(options)), (context) => Context.get(context, Redis))

const real = <N extends Name>(name: N): Effect.Effect<Addresses[N]> =>
  Effect.suspend(() => {
    const server: object = servers[name]
    return isMissing(server) ? Effect.die(new Error(server.missing)) : Effect.succeed(server as Addresses[N])
  })

/** What a client's rooms are: all that the features use. */
export interface Rooms {
  readonly redis: Client
  readonly leaderboard: Leaderboard["Service"]
  readonly lock: Lock["Service"]
  readonly session: Session["Service"]
}

export const roomsOn = (redis: Client): Effect.Effect<Rooms, unknown, Scope.Scope> =>
  Effect.all({ leaderboard: makeLeaderboard, lock: makeLock(), session: makeSession() }).pipe(
    Effect.provideService(Redis, redis),
    Effect.map((rooms) => ({ redis, ...rooms }))
  )

/** Measures how long an effect is held. */
export type Timed = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

interface Failure {
  readonly isRetryable: boolean
  readonly isSafeToRetry: boolean
  readonly reason: { readonly _tag: string }
}

/** What a feature does under an id, and the ids that the server has, one entry for each time that it was done. */
export interface Feature {
  readonly name: string
  /** Whether an operation of unknown outcome is resolved by doing it again under its id. */
  readonly isRepeatable: boolean
  /** How much longer than `command_timeout` its room may take for what is measured, in milliseconds. */
  readonly slackMillis: number
  readonly operate: (rooms: Rooms, id: string, timed: Timed) => Effect.Effect<unknown, Failure>
  readonly applied: (rooms: Rooms) => Effect.Effect<ReadonlyArray<string>, Failure>
}

export const logKey = (name: string) => Result.getOrThrow(Key.make("faults", name))

const append = Script.make({
  name: "faults.append",
  lua: "return redis.call('RPUSH', KEYS[1], ARGV[1])",
  keys: ["log"],
  args: (id: string) => [id],
  reply: Command.integer
})

/** A feature that adds the id to a list in some way: twice is twice. */
const appending = (
  name: string,
  operate: (client: Client, key: Key.Key<"faults">, id: string) => Effect.Effect<unknown, Failure>
): Feature => ({
  name,
  isRepeatable: false,
  slackMillis: 0,
  operate: ({ redis }, id, timed) => timed(operate(redis, logKey(name), id)),
  applied: ({ redis }) => redis.run(Command.lrange(logKey(name), 0, -1))
})

/** Those of room redis alone: each is one entry. */
export const plain: ReadonlyArray<Feature> = [
  appending("run", (client, key, id) => client.run(Command.rpush(key, id))),
  appending("script", (client, key, id) => client.run(append([key], id))),
  appending("transaction", (client, key, id) =>
    client.transaction([Command.incrBy(Key.beside(key, "xd:count"), 1), Command.rpush(key, id)])
  ),
  appending("batch", (client, key, id) =>
    Effect.flatMap(client.batch([Command.rpush(key, id), Command.incrBy(Key.beside(key, "xd:count"), 1)]), ([first]) =>
      Effect.fromResult(first)
    )
  )
]

const board = Leaderboard.board({ key: "faultboard", ties: "member" })

/** One for each member: a member that got two was counted twice. */
export const addScore: Feature = {
  name: "addScore",
  isRepeatable: true,
  slackMillis: 0,
  operate: ({ leaderboard }, id, timed) => timed(leaderboard.increment(board, id, 1, { operation: id })),
  applied: ({ leaderboard }) =>
    Effect.gen(function* () {
      const ids: Array<string> = []
      let after: string | undefined
      do {
        const page = yield* leaderboard.page(board, { limit: 100, ...(after === undefined ? {} : { after }) })
        for (const { member, score } of page.entries) ids.push(...Array.from({ length: score }, () => member))
        after = page.next
      } while (after !== undefined)
      return ids
    })
}

/** How many locks there are to contend for. */
const lockCount = 25

/** Work that one does at a time for each lock: whoever meets another there has done what must not be done. */
const acquire = (): Feature => {
  const inside = new Set<number>()
  const done: Array<string> = []
  const work = (lock: number, id: string) =>
    Effect.suspend(() => {
      done.push(...(inside.has(lock) ? [id, id] : [id]))
      inside.add(lock)
      return Effect.sleep("2 millis")
    }).pipe(Effect.ensuring(Effect.sync(() => inside.delete(lock))))
  return {
    name: "acquire",
    isRepeatable: false,
    // Who failed waits for the server to confirm that nothing is left.
    slackMillis: 100,
    operate: ({ lock }, id, timed) =>
      Effect.gen(function* () {
        const one = yield* Random.nextIntBetween(0, lockCount)
        const lease = yield* timed(lock.acquire(logKey(`lock${one}`), { ttl: "1 minute", wait: 0 }))
        yield* lease.whileHeld(work(one, id))
      }).pipe(Effect.scoped),
    applied: () => Effect.succeed(done)
  }
}

/** Logs a player in whose name is the id. */
export const login = (): Feature => {
  const players: Array<string> = []
  return {
    name: "login",
    isRepeatable: true,
    slackMillis: 0,
    operate: ({ session }, playerId, timed) =>
      Effect.suspend(() => {
        players.push(playerId)
        return timed(session.login({ playerId, gateway: "gw", token: Redacted.make(playerId) }))
      }),
    applied: ({ session }) =>
      Effect.filter(new Set(players), (player) => Effect.map(session.get(player), (found) => found !== undefined), {
        concurrency: 32
      })
  }
}

/** Those of all rooms on Redis. They remember what they did: made anew for each run. */
export const features = (): ReadonlyArray<Feature> => [...plain, addScore, acquire(), login()]

/** How long calls were held beyond what their features may add, at worst. */
const makeStopwatch = Effect.map(Ref.make(0), (longest) => ({
  longest: Ref.get(longest),
  timed:
    (slackMillis: number): Timed =>
    (effect) =>
      Effect.flatMap(Clock.currentTimeMillis, (begun) =>
        Effect.onExit(effect, () =>
          Effect.flatMap(Clock.currentTimeMillis, (now) =>
            Ref.update(longest, (max) => Math.max(max, now - begun - slackMillis))
          )
        )
      )
}))

/** How late a timer fires here that has nothing to wait for: the machine's own share of what calls are held. */
export const makeNoise = Effect.gen(function* () {
  const worst = yield* Ref.make(0)
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.flatMap(Effect.timed(Effect.sleep("100 millis")), ([spent]) =>
        Ref.update(worst, (max) => Math.max(max, Math.round(Duration.toMillis(spent) - 100)))
      )
    )
  )
  return { worst: Ref.get(worst) }
})

/** Runs operations, and takes down what became of each. */
export const makeLoad = Effect.fnUntraced(function* (rooms: Rooms) {
  const history = yield* History.make
  const stopwatch = yield* makeStopwatch
  const noise = yield* makeNoise
  const resolved = yield* Ref.make(0)

  const once = (feature: Feature, id: string) =>
    Effect.result(feature.operate(rooms, id, stopwatch.timed(feature.slackMillis)))

  /** One operation to its end: what was not done is tried again under its id, what is unknown if that resolves it. */
  const carefully = (feature: Feature): Effect.Effect<void> =>
    Effect.suspend(() => {
      const id = randomUUID()
      let isUnknown = false
      const again = Effect.suspend(() => Effect.andThen(Effect.sleep("20 millis"), attempt))
      const attempt: Effect.Effect<void> = Effect.suspend(() => once(feature, id)).pipe(
        Effect.flatMap((result) => {
          if (Result.isSuccess(result)) {
            return Effect.andThen(history.acked(id), isUnknown ? Ref.update(resolved, (n) => n + 1) : Effect.void)
          }
          // No fault of a link: trying again would go on for ever.
          if (!result.failure.isRetryable && result.failure.isSafeToRetry) return Effect.die(result.failure)
          if (result.failure.isSafeToRetry) return isUnknown ? again : Effect.andThen(history.failed(id), again)
          if (!feature.isRepeatable) return history.unknown(id)
          isUnknown = true
          return again
        })
      )
      return attempt
    })

  return {
    history,
    once,
    carefully,
    /** What calls were held, and what of that may be the machine's. */
    held: Effect.all({
      longestMs: stopwatch.longest,
      noiseMs: noise.worst,
      resolved: Ref.get(resolved)
    })
  }
})

/** What the server has of some features, asked with nothing between. */
export const appliedOf = (all: ReadonlyArray<Feature>, rooms: Rooms) =>
  Effect.map(
    Effect.forEach(all, (feature) => feature.applied(rooms)),
    (ids) => ids.flat()
  )

/** What is wrong with how long calls with a timeout of 1 s were held. */
export const heldTooLong = ({ longestMs, noiseMs }: { readonly longestMs: number; readonly noiseMs: number }) =>
  longestMs - noiseMs <= 1_100
    ? []
    : [`a call with a timeout of 1 s was held for ${longestMs} ms (noise ${noiseMs} ms)`]

/** A loopback address that nobody else has, as long as 127.0.0.1. */
const ownHost = (): string => `127.${randomInt(1, 10)}.${randomInt(10)}.${randomInt(1, 10)}`

/** Proxies between a client and servers, which break together. */
export interface Links extends Pick<
  FaultProxy.FaultProxy,
  "cut" | "dropReplies" | "blackhole" | "heal" | "delay" | "accepted"
> {
  /** A client's options, through the proxies. */
  readonly through: Options
  /** How many of its connections go past the proxies. */
  readonly strays: (client: Client) => Effect.Effect<number>
}

interface Address {
  readonly host: string
  readonly port: number
}

/** Proxies for servers, and how the address of each is written behind them. */
export const linksTo = Effect.fnUntraced(function* (
  nodes: ReadonlyArray<Address>,
  seed: number,
  through: (translate: (address: Address) => Address) => Options
) {
  const at = ownHost()
  const proxies = yield* Effect.forEach(nodes, ({ host, port }, index) =>
    FaultProxy.make({ host, port, at, seed: seed * 100 + index })
  )
  const all = (use: (proxy: FaultProxy.FaultProxy) => Effect.Effect<void>) =>
    Effect.forEach(proxies, use, { discard: true })
  const links: Links = {
    through: through(({ port }) => ({ host: at, port })),
    cut: all(({ cut }) => cut),
    dropReplies: all(({ dropReplies }) => dropReplies),
    blackhole: all(({ blackhole }) => blackhole),
    heal: all(({ heal }) => heal),
    delay: (millis) => all(({ delay }) => delay(millis)),
    accepted: Effect.map(
      Effect.forEach(proxies, ({ accepted }) => accepted),
      (counts) => counts.reduce((sum, count) => sum + count, 0)
    ),
    strays: ({ native }) => Effect.map(native, (open) => open.filter(({ options }) => options.host !== at).length)
  }
  return links
})

/** Proxies for the real servers of a kind, which talk to each other directly. */
const realLinks = Effect.fnUntraced(function* (kind: Kind, seed: number) {
  if (kind === "single") {
    const address = yield* real("redis")
    return { direct: single(address), links: yield* linksTo([address], seed, (to) => single(to(address))) }
  }
  if (kind === "cluster") {
    const { nodes } = yield* real("redisCluster")
    return { direct: cluster(nodes), links: yield* linksTo(nodes, seed, (to) => cluster(nodes.map(to))) }
  }
  const { name, port, sentinels } = yield* real("redisSentinel")
  const printed = yield* runProgram("redis-cli", ["-p", String(port), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name])
  const [host = "", primary] = printed.split("\n")
  const links = yield* linksTo([{ host, port: Number(primary) }, ...sentinels], seed, (to) =>
    sentinel(name, sentinels.map(to))
  )
  return { direct: sentinel(name, sentinels), links }
})

/** A client through proxies, and one without, which removes what both have left: all of a scenario on real servers. */
export const throughProxies = Effect.fnUntraced(function* (kind: Kind, seed: number) {
  const keyPrefix = freshPrefix()
  const { direct, links } = yield* realLinks(kind, seed)
  const clean = Context.get(yield* cleanClient(direct, { keyPrefix }), Redis)
  const client = yield* clientOf({ ...links.through, keyPrefix })
  return {
    links,
    direct: yield* roomsOn(clean),
    load: yield* makeLoad(yield* roomsOn(client)),
    strays: links.strays(client)
  }
})

import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as EffectRedis from "effect/persistence/Redis"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { Command as DriverCommand } from "ioredis"
import { createHash } from "node:crypto"
import * as Channel from "../Channel.ts"
import * as Command from "../Command.ts"
import * as Key from "../Key.ts"
import type { Redis, Runner } from "../Redis.ts"
import type { RedisFailure } from "../RedisError.ts"
import { hasTag } from "./slot.ts"

type Service = EffectRedis.Redis["Service"]

/** Others' names are what they are; here alone a key is made of one that was not checked. */
const template = Result.getOrThrow(Key.make("x"))
const named = (name: string): Key.Key<"x"> => ({ ...template, name, owner: name })

/** How the names of Effect's modules become those on the server, the same way each time and not a second time. */
interface Names {
  readonly prefix: string
  readonly isCluster: boolean
}

/**
 * On a cluster the keys of one script must share a slot, and Effect's modules make such names only by beginning them
 * alike: so what stands before the first colon decides the slot, unless the name has a part in braces of its own.
 */
const nameOf = ({ isCluster, prefix }: Names, name: string): string => {
  const own = prefix !== "" && name.startsWith(prefix) ? name.slice(prefix.length) : name
  const colon = own.indexOf(":")
  return !isCluster || colon < 1 || hasTag(own) ? own : `{${own.slice(0, colon)}}${own.slice(colon)}`
}

/** Without a cluster there is one slot for all. */
const keyOf = (names: Names, name: string): Key.Key<"x"> => {
  const key = named(nameOf(names, name))
  return names.isCluster ? key : { ...key, owner: "" }
}

/** A pattern is in the slot of the names that it stands for; the names that it gives are those on the server. */
const patternOf = (names: Names, pattern: string): Key.Key<"x"> => {
  const key = keyOf(names, pattern)
  return { ...key, owner: key.owner.replace(/\\(.)/g, "$1") }
}

const channelOf = (name: string, isSharded: boolean): Channel.Channel<string, "x"> => {
  const channel = Channel.sharded(template, "x", Schema.String)
  return { ...channel, key: named(name), isSharded, schema: Schema.String }
}

const reply: Command.Decode<unknown> = (value) => Result.succeed(value)

const reads: ReadonlySet<string> = new Set(["GET", "MGET", "EXISTS", "PTTL", "TTL", "KEYS", "SCAN", "PING", "TIME"])

const maxBlockMillis = 2 ** 31 - 1

/** How long the server may hold the reply back; without an end as long as a timer can. */
const blockOf = (command: DriverCommand): { readonly blockMillis?: number } => {
  const seconds = command.name === "WAIT" ? Number(command.args.at(-1)) / 1000 : command.extractBlockingTimeout()
  if (seconds === undefined) return {}
  return { blockMillis: seconds === null || seconds === 0 ? maxBlockMillis : Math.ceil(seconds * 1000) }
}

/** The command with its keys, its channel or its pattern under the prefix. */
const commandOf = (names: Names, word: string, args: ReadonlyArray<string>): Command.Any => {
  const name = word.toUpperCase()
  const options = { idempotent: reads.has(name) }
  const rest = args.slice(1)
  if (name === "PUBLISH" || name === "SPUBLISH") {
    return Command.make(name, [channelOf(args[0] ?? "", name === "SPUBLISH"), ...rest], reply)
  }
  if (name === "KEYS") return Command.make(name, [patternOf(names, args[0] ?? ""), ...rest], reply, options)
  if (name === "SCAN") {
    const match = args.findIndex((argument) => argument.toUpperCase() === "MATCH") + 1
    const given = args.map((argument, index) => (match > 0 && index === match ? patternOf(names, argument) : argument))
    return Command.make(name, given, reply, options)
  }
  // The driver knows where each command has its keys: it marks them.
  const marked = new DriverCommand(name, [...args], { keyPrefix: "\0" })
  const given = args.map((argument, index) => (marked.args[index] === argument ? argument : keyOf(names, argument)))
  return Command.make(name, given, reply, { ...options, ...blockOf(new DriverCommand(name, [...args])) })
}

/** What PersistedQueue's script makes names of keys from, which are none of its keys. */
const lockPrefix = /lock:[0-9a-f-]{36}:$/

const argumentOf = (names: Names, first: string | undefined, argument: string): string => {
  const start = argument.replace(lockPrefix, "")
  const isPrefix = first !== undefined && start !== argument && start !== "" && first.startsWith(start)
  return isPrefix ? names.prefix + nameOf(names, argument) : argument
}

const failed = (cause: RedisFailure) => new EffectRedis.RedisError({ cause })

const operationsOn = (names: Names, run: Runner["run"]): Pick<Service, "send" | "eval"> => ({
  send: (command, ...args) =>
    Effect.suspend(() => run(commandOf(names, command, args))).pipe(Effect.mapError(failed)) as Effect.Effect<
      never,
      EffectRedis.RedisError
    >,
  eval: (script) => {
    const { lua } = script
    const sha = createHash("sha1").update(lua).digest("hex")
    return (...params) =>
      Effect.suspend(() => {
        const keys = script.numberOfKeys(...params)
        const all = script.params(...params).map(String)
        const args = [
          ...all.slice(0, keys).map((name) => keyOf(names, name)),
          ...all.slice(keys).map((argument) => argumentOf(names, all[0], argument))
        ]
        return run(Command.make("EVAL", args, reply, { script: { lua, sha, keys } }))
      }).pipe(Effect.mapError(failed)) as Effect.Effect<never, EffectRedis.RedisError>
  }
})

/** On a cluster the first key says which node it is to. */
const reserved = (redis: Redis["Service"]): Effect.Effect<Runner["run"], never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    const taking = Semaphore.makeUnsafe(1)
    let own: Runner | undefined
    const take = (command: Command.Any) =>
      taking.withPermit(
        Effect.suspend(() =>
          own === undefined
            ? redis.reserve(command.args.find(Key.isKey)).pipe(
                Scope.provide(scope),
                Effect.tap((taken) =>
                  Effect.sync(() => {
                    own = taken
                  })
                )
              )
            : Effect.succeed(own)
        )
      )
    return (command) => Effect.flatMap(take(command), ({ run }) => run(command))
  })

/**
 * Effect's Redis on a client of this room: what its rate limiter, caches, queues and circuit breakers run on.
 *
 * - `isCluster`: see {@link nameOf}
 */
export const effectRedis = (redis: Redis["Service"], isCluster: boolean): Service => {
  const names: Names = { prefix: redis.keyPrefix, isCluster }
  const own = isCluster ? reserved(redis) : Effect.map(redis.reserve(), ({ run }) => run)
  return EffectRedis.Redis.of({
    ...operationsOn(names, redis.run),
    reserve: Effect.map(Effect.mapError(own, failed), (run) => operationsOn(names, run)),
    subscribe: Effect.fnUntraced(function* (name) {
      const queue = yield* Queue.bounded<EffectRedis.RedisMessage, EffectRedis.RedisError>(1_024)
      const heard = Deferred.makeUnsafe<void>()
      yield* Effect.addFinalizer(() => Queue.shutdown(queue))
      const missing = Effect.logWarning(`messages of the channel ${name} may be missing`)
      yield* redis.subscribe(channelOf(name, false)).pipe(
        Stream.runForEach((event) =>
          event._tag === "Message"
            ? Queue.offer(queue, { channel: name, message: event.value })
            : Effect.flatMap(Deferred.succeed(heard, undefined), (isFirst) => (isFirst ? Effect.void : missing))
        ),
        Effect.mapError(failed),
        Effect.catchCause((cause) => Queue.failCause(queue, cause)),
        Effect.ensuring(Deferred.succeed(heard, undefined)),
        Effect.forkScoped
      )
      yield* Deferred.await(heard)
      return queue
    })
  })
}

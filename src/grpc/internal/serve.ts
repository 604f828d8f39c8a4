import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as References from "effect/References"
import { Authenticator } from "../Authenticator.ts"
import type { GrpcSettings } from "../Grpc.ts"
import { GrpcError, InvalidService } from "../GrpcError.ts"
import type { ServeOptions, Service } from "../GrpcServer.ts"
import * as Call from "./call.ts"
import * as Calls from "./calls.ts"
import { monotonicMillis } from "./clock.ts"
import * as Concurrency from "./concurrency.ts"
import { refusal } from "./failure.ts"
import * as Health from "./health.ts"
import type { Lateness } from "./lateness.ts"
import * as Observe from "./observe.ts"
import * as Peer from "./peer.ts"
import * as Route from "./route.ts"
import type { Accept, ServerCall, ServerListener } from "./transport.ts"

/** What a server does with calls, whatever brings them. */
export interface Core {
  /** The paths that it serves, grpc.health.v1 among them. */
  readonly paths: Iterable<string>
  readonly accept: Accept
  readonly calls: Calls.Calls
  /** What goes on as long as it serves. */
  readonly run: Effect.Effect<void>
  /** Says NOT_SERVING from now on. */
  readonly leave: Effect.Effect<void>
  /** Ends the streams of responses, and takes no further ones. */
  readonly endStreams: Effect.Effect<void>
  /**
   * Waits until no handler runs any more and all that was answered is out, at most for `grace`; then cuts what is left.
   *
   * - `flushed`: waited for as well
   */
  readonly drain: (grace: Duration.Duration, flushed: Effect.Effect<void>) => Effect.Effect<void>
}

/** The longest that a stopping server waits for what it has just cut. */
export const cutTime = Duration.millis(500)

/** A refusal to serve what it was given. */
export const invalid = (problem: string): GrpcError => new GrpcError({ reason: new InvalidService({ problem }) })

const unimplemented = refusal("UNIMPLEMENTED", "the server does not implement the method")

const overdue = refusal("DEADLINE_EXCEEDED", "deadline of the server exceeded")

/** Refuses a call of a method that is not served. */
const refuse = (call: ServerCall): ServerListener => {
  call.end({ code: 12, details: unimplemented.message, trailers: [] })
  return { onMessage: () => {}, onHalfClose: () => {}, onRefused: () => {}, onClose: () => {} }
}

/** Ends calls that are older than the server allows. The oldest is due first, so one timer is enough. */
const expire = ({ open, clock, maxDeadlineMillis }: Calls.Calls): Effect.Effect<never> =>
  Effect.forever(
    Effect.suspend(() => {
      const now = monotonicMillis(clock)
      for (const call of open) {
        const left = call.since + maxDeadlineMillis - now
        if (left > 0) return Effect.sleep(Math.ceil(left))
        call.cut(overdue)
      }
      // A call that comes from now on is not due before that.
      return Effect.sleep(maxDeadlineMillis)
    })
  )

const idle = (calls: Calls.Calls): Effect.Effect<void> =>
  Effect.callback((resume) => {
    calls.onEmpty = () => resume(Effect.void)
    if (calls.open.size === 0) calls.onEmpty()
  })

/** The tag of two classes, of which a caller could not tell the errors apart. */
const clashOf = (errors: Route.Route["errors"]): string | undefined => {
  const classes = new Set(errors)
  const tags = [...classes].map(({ grpc }) => grpc.tag)
  return tags.find((tag, index) => tags.indexOf(tag) < index)
}

/** The methods of all services on the caller's context, so that a handler's own log lines name its method. */
const targetsOf = (
  services: ReadonlyArray<Service>,
  health: Service,
  settings: GrpcSettings,
  lateness: Lateness | undefined,
  context: Context.Context<never>
): Effect.Effect<ReadonlyMap<string, Call.Target>, GrpcError> => {
  const targets = new Map<string, Call.Target>()
  const clock = Context.get(context, Clock.Clock)
  const { concurrencyLimit, rateLimit } = settings
  const knows = Option.isSome(Context.getOption(context as Context.Context<Authenticator>, Authenticator))
  for (const service of [...services, health]) {
    for (const route of Route.make(service, { context, rateLimit }, service === health)) {
      const { isOurs, isPublic, path, requestStream, responseStream } = route
      if (targets.has(path)) return Effect.fail(invalid(`the method ${path} twice`))
      if (!isPublic && !knows) return Effect.fail(invalid(`${path}, which is not public, without an Authenticator`))
      const clash = clashOf(route.errors)
      if (clash !== undefined) return Effect.fail(invalid(`${path} with two errors of the tag ${clash}`))
      const annotations = { ...Context.get(context, References.CurrentLogAnnotations), method: path }
      targets.set(path, {
        ...route,
        // Flat, so that what is added for a call is a cheap overlay.
        context: Context.makeUnsafe(new Map(context.mapUnsafe).set(References.CurrentLogAnnotations.key, annotations)),
        observer: Observe.makeObserver("server", path, context),
        limiter:
          isOurs || requestStream || responseStream
            ? undefined
            : Concurrency.make({ limit: concurrencyLimit, clock, lateness })
      })
    }
  }
  return Effect.succeed(targets)
}

/**
 * Makes a server of services on the context of the caller. Fails with InvalidService.
 *
 * - `lateness`: when the process can be late
 */
export const make = (
  services: ReadonlyArray<Service>,
  options: ServeOptions,
  settings: GrpcSettings,
  lateness?: Lateness
): Effect.Effect<Core, GrpcError> =>
  Effect.gen(function* () {
    const names = services.map(({ api }) => api.name)
    const stranger = Object.keys(options.health ?? {}).find((name) => !names.includes(name))
    if (stranger !== undefined) return yield* invalid(`the health of ${stranger}, which is not among the services`)
    const health = Health.make(names, options.health)
    const targets = yield* targetsOf(services, health.service, settings, lateness, yield* Effect.context<never>())
    const calls: Calls.Calls = {
      clock: yield* Clock.Clock,
      open: new Set(),
      standing: new Set(),
      onEmpty: () => {},
      isStopping: false,
      peerOf: Peer.make(settings.trustedProxies),
      maxDeadlineMillis: Duration.toMillis(settings.maxDeadline),
      maxMetadataSize: settings.maxMetadataSize,
      maxMessageSize: settings.maxMessageSize
    }
    const core: Core = {
      paths: targets.keys(),
      calls,
      accept: (call) => {
        const target = targets.get(call.path)
        if (target === undefined) return refuse(call)
        const served = new Call.ServedCall(calls, target, call)
        served.start()
        return served
      },
      run: Effect.all([health.follow, expire(calls)], { concurrency: 2, discard: true }),
      leave: health.leave,
      endStreams: Effect.sync(() => {
        calls.isStopping = true
        for (const call of calls.standing) call.end(Calls.leaving)
      }),
      drain: Effect.fnUntraced(function* (grace, flushed) {
        const drained = Effect.andThen(idle(calls), flushed)
        if (Option.isSome(yield* Effect.timeoutOption(drained, grace))) return
        for (const call of [...calls.open, ...calls.standing]) call.cut(Calls.stopping)
        yield* Effect.timeoutOption(drained, cutTime)
      })
    }
    return core
  })

import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import {
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Status,
  HealthService
} from "../../gen/grpc/health/v1/health.ts"
import * as Health from "../../health/Health.ts"
import * as Api from "../Api.ts"
import type { Service } from "../GrpcServer.ts"

/** A name that the server does not serve. Its caller is told as every gRPC server tells it. */
class UnknownService extends Api.TaggedError<UnknownService>("xdooria/grpc/UnknownService")(
  "UnknownService",
  {},
  { status: "NOT_FOUND", message: () => "unknown service" }
) {}

const HealthApi = Api.api(HealthService, {
  check: { public: true, errors: [UnknownService] },
  list: { public: true },
  watch: { public: true }
})

/** What a Watch of a name that is not served is told. It keeps nothing of the name, which may be long. */
const unknownService: Stream.Stream<HealthCheckResponse> = Stream.concat(
  Stream.make({ status: Status.SERVICE_UNKNOWN }),
  Stream.never
)

/** grpc.health.v1 of a server, for `""`, which stands on all components, and for every service. */
export interface ServingHealth {
  readonly service: Service
  /** Follows the states that the rooms report, for ever. */
  readonly follow: Effect.Effect<void>
  /** Says NOT_SERVING from now on. */
  readonly leave: Effect.Effect<void>
}

/** The state of a service that stands on some components, or on all. */
const statusOf = (states: Health.HealthStates, components: ReadonlyArray<string> | undefined): Status => {
  const own =
    components === undefined ? states : new Map([...states].filter(([component]) => components.includes(component)))
  return Health.isUp(own) ? Status.SERVING : Status.NOT_SERVING
}

/**
 * Makes grpc.health.v1 of a server. Names of no service are not kept, so that callers cannot fill its memory.
 *
 * - `components`: by service, what it stands on; all when it is not there
 */
export const make = (
  services: ReadonlyArray<string>,
  components: Readonly<Record<string, ReadonlyArray<string>>> = {}
): ServingHealth => {
  const statuses = new Map<string, Status>(["", ...services].map((name) => [name, Status.SERVING]))
  const watchers = new Set<() => void>()
  let isLeaving = false

  const set = (next: (name: string) => Status): void => {
    for (const name of statuses.keys()) statuses.set(name, next(name))
    for (const wake of watchers) wake()
  }

  /** The state of a service when it is another than `told`. */
  const change = (name: string, told: Status | undefined): Effect.Effect<Status> =>
    Effect.callback((resume) => {
      const look = (): void => {
        const status = statuses.get(name)!
        if (status === told) return
        watchers.delete(look)
        resume(Effect.succeed(status))
      }
      watchers.add(look)
      look()
      return Effect.sync(() => watchers.delete(look))
    })

  const watch = (name: string): Stream.Stream<HealthCheckResponse> =>
    Stream.fromPull(
      Effect.sync(() => {
        let told: Status | undefined
        return Effect.map(
          Effect.suspend(() => change(name, told)),
          (status) => [{ status: (told = status) }] as const
        )
      })
    )

  return {
    service: {
      api: HealthApi as unknown as Api.AnyApi,
      handlers: {
        check: ({ service }: { readonly service: string }) => {
          const status = statuses.get(service)
          return status === undefined ? Effect.fail(new UnknownService()) : Effect.succeed({ status })
        },
        list: () =>
          Effect.sync(() => ({
            statuses: Object.fromEntries([...statuses].map(([name, status]) => [name, { status }]))
          })),
        watch: ({ service }: { readonly service: string }) => (statuses.has(service) ? watch(service) : unknownService)
      } as unknown as Service["handlers"],
      middleware: []
    },
    follow: Effect.flatMap(Effect.service(Health.Reporter), ({ changes }) =>
      Stream.runForEach(changes, (states) =>
        Effect.sync(() => {
          if (!isLeaving) set((name) => statusOf(states, name === "" ? undefined : components[name]))
        })
      )
    ),
    leave: Effect.sync(() => {
      isLeaving = true
      set(() => Status.NOT_SERVING)
    })
  }
}

import type * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { service } from "grpc-health-check"
import * as Health from "../../health/Health.ts"

/** The method that lasts. */
export const watchPath = "/grpc.health.v1.Health/Watch"

type Status = "SERVING" | "NOT_SERVING"
type Request = { readonly service: string }
type Response = { readonly status: Status | "SERVICE_UNKNOWN" }

/** grpc.health.v1 of a server: one state for "" and every service, since they share what they stand on. */
export interface ServingHealth {
  /** Follows the states that the rooms report, for ever. */
  readonly follow: Effect.Effect<void>
  /** Says NOT_SERVING from now on. */
  readonly leave: Effect.Effect<void>
}

/** Adds grpc.health.v1 to a server. Names of no service are not kept, so that callers cannot fill its memory. */
export const add = (server: grpc.Server, services: ReadonlyArray<string>): ServingHealth => {
  const names = ["", ...services]
  const watchers = new Set<grpc.ServerWritableStream<Request, Response>>()
  let status: Status = "SERVING"

  const set = (next: Status) => {
    if (next === status) return
    status = next
    for (const watcher of watchers) watcher.write({ status })
  }
  const implementation = {
    check: (call: grpc.ServerUnaryCall<Request, Response>, reply: grpc.sendUnaryData<Response>) =>
      // 5 is NOT_FOUND
      names.includes(call.request.service) ? reply(null, { status }) : reply({ code: 5, details: "unknown service" }),
    list: (_: unknown, reply: grpc.sendUnaryData<{ readonly statuses: Readonly<Record<string, Response>> }>) =>
      reply(null, { statuses: Object.fromEntries(names.map((name) => [name, { status }])) }),
    watch: (call: grpc.ServerWritableStream<Request, Response>) => {
      if (!names.includes(call.request.service)) return void call.write({ status: "SERVICE_UNKNOWN" })
      watchers.add(call)
      call.on("cancelled", () => watchers.delete(call))
      call.write({ status })
    }
  }
  server.addService(service, implementation)

  return {
    follow: Effect.flatMap(Effect.service(Health.Reporter), ({ changes }) =>
      Stream.runForEach(changes, (states) => Effect.sync(() => set(Health.isUp(states) ? "SERVING" : "NOT_SERVING")))
    ),
    leave: Effect.sync(() => set("NOT_SERVING"))
  }
}

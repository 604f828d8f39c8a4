// NestJS with a chain equal to ours, out of its own pieces: guards, interceptors and a filter. Each piece is as cheap as
// we know to write it, so that what is compared is the framework. Decorators are called as functions: they are no
// syntax that Node runs.
import { type Metadata, status } from "@grpc/grpc-js"
import {
  type CallHandler,
  Catch,
  type CanActivate,
  Controller,
  type ExecutionContext,
  Module,
  type NestInterceptor
} from "@nestjs/common"
import { NestFactory } from "@nestjs/core"
import { GrpcMethod, type MicroserviceOptions, RpcException, Transport } from "@nestjs/microservices"
import * as Effect from "effect/Effect"
import { AsyncLocalStorage } from "node:async_hooks"
import { randomUUID } from "node:crypto"
import * as net from "node:net"
import { finalize, Observable, tap, throwError } from "rxjs"
import { nullSink, verify } from "./Work.ts"

const metadataOf = (context: ExecutionContext): Metadata => context.switchToRpc().getContext<Metadata>()

const methodOf = (context: ExecutionContext): string => `/game.GameService/${context.getHandler().name}`

const trace = new AsyncLocalStorage<{ readonly traceId: string; readonly spanId: string }>()

const traceparent = /^00-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})$/

class Tracing implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const [value] = metadataOf(context).get("traceparent")
    const match = typeof value === "string" ? traceparent.exec(value) : null
    if (match === null) return next.handle()
    const span = { traceId: match[1]!, spanId: match[2]! }
    return new Observable((subscriber) => trace.run(span, () => next.handle().subscribe(subscriber)))
  }
}

class AccessLog implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const start = performance.now()
    const line = (code: string) => {
      const span = trace.getStore()
      nullSink.write(
        `${JSON.stringify({
          level: code === "OK" ? "info" : "warn",
          time: new Date().toISOString(),
          msg: code === "OK" ? "grpc call success" : "grpc call failed",
          service: "bench",
          method: methodOf(context),
          code,
          duration: (performance.now() - start) / 1000,
          trace_id: span?.traceId,
          span_id: span?.spanId
        })}\n`
      )
    }
    return next.handle().pipe(tap({ complete: () => line("OK"), error: () => line("UNKNOWN") }))
  }
}

const bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

class Metrics implements NestInterceptor {
  readonly #durations = new Map<string, Array<number>>()
  #inFlight = 0

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const start = performance.now()
    const method = methodOf(context)
    this.#inFlight++
    const count = (code: string) => this.#count(method, code, (performance.now() - start) / 1000)
    return next.handle().pipe(
      tap({ complete: () => count("OK"), error: () => count("UNKNOWN") }),
      finalize(() => this.#inFlight--)
    )
  }

  #count(method: string, code: string, seconds: number): void {
    const key = `${method} ${code}`
    let buckets = this.#durations.get(key)
    if (buckets === undefined) this.#durations.set(key, (buckets = bounds.map(() => 0).concat(0)))
    const at = bounds.findIndex((bound) => seconds <= bound)
    buckets[at < 0 ? bounds.length : at]!++
  }
}

const bearer = "Bearer "

class Auth implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const metadata = metadataOf(context)
    const [value] = metadata.get("authorization")
    const principal =
      typeof value === "string" && value.startsWith(bearer) ? verify(value.slice(bearer.length)) : undefined
    if (principal === undefined) throw new RpcException({ code: status.UNAUTHENTICATED, message: "not authenticated" })
    Object.assign(metadata, { principal })
    return true
  }
}

class RateLimit implements CanActivate {
  readonly #windows = new Map<string, { readonly until: number; calls: number }>()

  canActivate(context: ExecutionContext): boolean {
    const { principal } = metadataOf(context) as unknown as { readonly principal: { readonly playerId: string } }
    const key = `${methodOf(context)} ${principal.playerId}`
    const now = performance.now()
    let window = this.#windows.get(key)
    if (window === undefined || window.until <= now) {
      this.#windows.set(key, (window = { until: now + 1_000, calls: 0 }))
    }
    if (++window.calls > 1_000_000) throw new RpcException({ code: status.RESOURCE_EXHAUSTED, message: "too often" })
    return true
  }
}

/** Recovery: what is no RpcException leaves as INTERNAL with an id. */
class Recovery {
  catch(error: unknown): Observable<never> {
    if (error instanceof RpcException) return throwError(() => error.getError())
    const id = randomUUID()
    nullSink.write(`${JSON.stringify({ level: "error", error_id: id, error: String(error) })}\n`)
    return throwError(() => ({ code: status.INTERNAL, message: `internal error ${id}` }))
  }
}

class GameController {
  async getPlayer(request: { readonly player_id: string }): Promise<object> {
    return { player: { id: request.player_id, name: "Ann", level: 7, exp: 300 } }
  }
}

// oxlint-disable-next-line typescript/no-extraneous-class -- a module of NestJS is a class, and this one has nothing of its own
class AppModule {}

const decorate = (): void => {
  const { prototype } = GameController
  Controller()(GameController)
  GrpcMethod("GameService", "GetPlayer")(
    prototype,
    "getPlayer",
    Object.getOwnPropertyDescriptor(prototype, "getPlayer") as PropertyDescriptor
  )
  Catch()(Recovery)
  Module({ controllers: [GameController] })(AppModule)
}

/** It cannot tell which port it has got, so it is told which to take. */
const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resolve(port))
    })
  })

/** A server. `chain: false` leaves everything out that goes around the handler. */
export const unary = (chain: boolean) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        decorate()
        const address = `127.0.0.1:${await freePort()}`
        const app = await NestFactory.createMicroservice<MicroserviceOptions>(AppModule, {
          transport: Transport.GRPC,
          options: {
            package: "game",
            protoPath: "game.proto",
            url: address,
            loader: { keepCase: true, includeDirs: ["proto"] }
          },
          logger: false
        })
        if (chain) {
          app.useGlobalGuards(new Auth(), new RateLimit())
          app.useGlobalInterceptors(new Tracing(), new AccessLog(), new Metrics())
          app.useGlobalFilters(new Recovery())
        }
        await app.listen()
        return { app, address }
      }),
      ({ app }) => Effect.promise(() => app.close())
    ),
    ({ address }) => address
  )

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync, mkdtempSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer, type Server as NetServer } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as RealServer from "../support/RealServer.ts"
import * as Infra from "./Infra.ts"
import { type Server, Unavailable } from "./Server.ts"
import { servers as all } from "./servers.ts"

const { postgres, redis, redisSentinel } = all
const servers = { postgres }

const parent = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "infra-"))),
  (folder) =>
    Effect.andThen(
      Infra.make(join(folder, "infra"), servers).down("all"),
      Effect.sync(() => rmdirSync(folder))
    )
)

const absent: Server<{ readonly port: number }> = {
  ...postgres,
  install: Effect.fail(new Unavailable({ message: "no such thing" })),
  start: () => Effect.fail(new Unavailable({ message: "no such thing" }))
}

const alone: Server<{ readonly port: number }> = {
  install: redis.install,
  start: redis.start,
  stopSignal: redis.stopSignal
}

const pidsOf = (folder: string, server: string): ReadonlyArray<number> =>
  JSON.parse(readFileSync(join(folder, "state.json"), "utf8")).processes[server].pids

const pidOf = (folder: string): number => pidsOf(folder, "postgres")[0]!

RealServer.suite("postgres", "Infra", () => {
  it.live("starts once, is shared by its users, and ends with the last of them", () =>
    Effect.gen(function* () {
      const folder = join(yield* parent, "infra")
      const infra = Infra.make(folder, servers)
      const first = yield* infra.up("up")
      assert.isTrue("port" in first["postgres"]! && first["postgres"].port < 32_768)
      const pid = pidOf(folder)
      assert.deepStrictEqual(yield* infra.up(process.pid), first)
      assert.strictEqual(pidOf(folder), pid)

      yield* infra.down(process.pid)
      assert.deepStrictEqual(yield* infra.up(process.pid), first)
      yield* infra.down("up")
      assert.isTrue(existsSync(folder))
      yield* infra.down(process.pid)
      assert.isFalse(existsSync(folder))
      assert.isFalse(existsSync(`/proc/${pid}/cwd`))
    })
  )

  it.live("keeps the password from others", () =>
    Effect.gen(function* () {
      const folder = join(yield* parent, "infra")
      yield* Infra.make(folder, servers).up("up")
      assert.strictEqual(statSync(join(folder, "servers.json")).mode & 0o777, 0o600)
    })
  )

  it.live("replaces a server that has died, and forgets a user that has", () =>
    Effect.gen(function* () {
      const folder = join(yield* parent, "infra")
      const infra = Infra.make(folder, servers)
      yield* infra.up(999_999_999)
      const pid = pidOf(folder)
      process.kill(pid, "SIGKILL")
      yield* Effect.promise(() => gone(pid))
      const again = yield* infra.up("up")
      assert.isTrue("port" in again["postgres"]!)
      assert.notStrictEqual(pidOf(folder), pid)
      yield* infra.down("up")
      assert.isFalse(existsSync(folder))
    })
  )

  it.live("replaces a server that is no longer what would be started", () =>
    Effect.gen(function* () {
      const folder = join(yield* parent, "infra")
      let isCurrent = true
      const infra = Infra.make(folder, { postgres: { ...postgres, isCurrent: () => isCurrent } })
      const first = yield* infra.up("up")
      const pid = pidOf(folder)
      assert.deepStrictEqual(yield* infra.up("up"), first)
      isCurrent = false
      assert.notDeepEqual(yield* infra.up("up"), first)
      assert.isFalse(existsSync(`/proc/${pid}/cwd`))
      yield* infra.down("up")
    })
  )

  it.live("takes processes of this machine where docker compose does not start", () =>
    Effect.gen(function* () {
      const docker = yield* fakeDocker()
      const folder = join(yield* parent, "infra")
      const infra = Infra.make(folder, servers)
      const first = yield* infra.up("up")
      assert.isTrue("port" in first["postgres"]!)
      assert.isTrue(existsSync(`/proc/${pidOf(folder)}`))
      assert.deepStrictEqual(yield* infra.up("up"), first)
      yield* infra.down("up")
      assert.strictEqual(docker.calls().at(-1), "compose --project-name xdooria-test down --volumes")
    })
  )
})

RealServer.suite("redisSentinel", "Infra", () => {
  it.live("starts a server of several processes, replaces all when one has died, and ends all", () =>
    Effect.gen(function* () {
      const folder = join(yield* parent, "infra")
      const infra = Infra.make(folder, { redisSentinel })
      yield* infra.up("up")
      const first = pidsOf(folder, "redisSentinel")
      assert.strictEqual(new Set(first).size, 6)
      assert.isTrue(first.every((pid) => existsSync(`/proc/${pid}/cwd`)))
      process.kill(first.at(-1)!, "SIGKILL")
      yield* Effect.promise(() => gone(first.at(-1)!))

      yield* infra.up("up")
      const second = pidsOf(folder, "redisSentinel")
      assert.strictEqual(new Set([...first, ...second]).size, 12)
      assert.isFalse(first.some((pid) => existsSync(`/proc/${pid}/cwd`)))
      yield* infra.down("up")
      assert.isFalse(second.some((pid) => existsSync(`/proc/${pid}/cwd`)))
      assert.isFalse(existsSync(folder))
    })
  )

  it.live("starts what docker compose has no service for as processes beside it", () =>
    Effect.gen(function* () {
      const { port } = (yield* listener).address() as AddressInfo
      const docker = yield* fakeDocker(port)
      const folder = join(yield* parent, "infra")
      const infra = Infra.make(folder, { postgres, alone })
      const first = yield* infra.up("up")
      assert.deepStrictEqual(first["postgres"], postgres.compose!.address(port))
      assert.strictEqual(pidsOf(folder, "alone").length, 1)
      assert.deepStrictEqual(yield* infra.up("up"), first)
      yield* infra.down("up")
      assert.isFalse(existsSync(folder))
      assert.include(docker.calls(), "compose --project-name xdooria-test up --detach --wait postgres")
    })
  )
})

describe("Infra", () => {
  it.live("takes the servers from docker compose where an engine answers", () =>
    Effect.gen(function* () {
      const { port } = (yield* listener).address() as AddressInfo
      const docker = yield* fakeDocker(port)
      const folder = join(yield* parent, "infra")
      const infra = Infra.make(folder, { postgres, redis })
      const first = yield* infra.up("up")
      assert.deepStrictEqual(first, {
        postgres: postgres.compose!.address(port),
        redis: redis.compose!.address(port)
      })
      assert.deepStrictEqual(yield* infra.up("up"), first)
      yield* infra.down("up")
      assert.isFalse(existsSync(folder))
      assert.deepStrictEqual(docker.calls(), [
        "info",
        "compose version",
        "compose --project-name xdooria-test up --detach --wait postgres redis",
        "compose --project-name xdooria-test port postgres 5432",
        "compose --project-name xdooria-test port redis 6379",
        "compose --project-name xdooria-test down --volumes"
      ])
    })
  )

  it.live("says why a server is missing and what would provide it", () =>
    Effect.gen(function* () {
      const folder = join(yield* parent, "infra")
      const infra = Infra.make(folder, { absent })
      assert.deepStrictEqual(yield* infra.install, { absent: { missing: "no such thing" } })
      const { absent: address } = yield* infra.up("up")
      assert.deepStrictEqual(address, { missing: "no such thing; run `npm run infra:install`" })
      assert.deepStrictEqual(JSON.parse(readFileSync(join(folder, "servers.json"), "utf8")), { absent: address })
    })
  )
})

/** A `docker` that notes its arguments and says that PostgreSQL is at a port; without one, its `up` fails. */
const fakeDocker = (port?: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(join(tmpdir(), "docker-"))
      const script = `#!/bin/sh
        echo "$@" >> ${folder}/calls
        case "$*" in *" port "*) echo 127.0.0.1:${port};; *" up "*) exit ${port === undefined ? 1 : 0};; esac`
      writeFileSync(join(folder, "docker"), script, { mode: 0o755 })
      const path = process.env["PATH"]
      process.env["PATH"] = `${folder}:${path}`
      return { folder, path, calls: () => readFileSync(join(folder, "calls"), "utf8").trim().split("\n") }
    }),
    ({ folder, path }) =>
      Effect.sync(() => {
        process.env["PATH"] = path
        rmSync(folder, { recursive: true })
      })
  )

const listener = Effect.acquireRelease(
  Effect.callback<NetServer>((resume) => {
    const server = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1", () =>
      resume(Effect.succeed(server))
    )
  }),
  (server) => Effect.sync(() => server.close())
)

/** Until the process is no more, or only waits to be reaped. */
const gone = async (pid: number): Promise<void> => {
  while (existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`, "utf8") !== "") await sleep(5)
}

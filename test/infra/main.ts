// npm run infra:install | infra:up | infra:down
import * as Effect from "effect/Effect"
import type * as Servers from "../support/Servers.ts"
import { infra } from "./Infra.ts"

interface Place {
  readonly host: string
  readonly port: number
}

/** Everything that a client must be told to find a server: one address, or those of its nodes or sentinels. */
const placesOf = (
  address: Place & { readonly nodes?: ReadonlyArray<Place>; readonly sentinels?: ReadonlyArray<Place> }
) =>
  (address.nodes ?? address.sentinels ?? [{ host: "127.0.0.1", port: address.port }])
    .map(({ host, port }) => `${host}:${port}`)
    .join(",")

/** How to run the services on them. */
const trial = ({ etcd, postgres, redis }: Partial<Servers.Addresses>): string =>
  Object.entries({
    XDOORIA_DATABASE_HOST: postgres?.host,
    XDOORIA_DATABASE_PORT: postgres?.port,
    XDOORIA_DATABASE_USER: postgres?.user,
    XDOORIA_DATABASE_PASSWORD: postgres?.password,
    XDOORIA_REDIS_ADDRS: redis === undefined ? undefined : placesOf(redis),
    XDOORIA_ETCD_ENDPOINTS: etcd === undefined ? undefined : placesOf(etcd)
  })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${value} `)
    .join("")

const print = (addresses: object): boolean => {
  const missing = Object.entries(addresses).filter(([, address]) => "missing" in address)
  for (const [name, address] of Object.entries(addresses)) {
    if ("port" in address) console.log(`${name}: ${placesOf(address)}`)
  }
  for (const [name, address] of missing) console.error(`${name}: missing, ${address.missing}`)
  return missing.length === 0
}

const commands: Record<string, Effect.Effect<boolean>> = {
  install: Effect.map(infra.install, print),
  up: Effect.map(infra.up("up"), (addresses) => {
    const isComplete = print(addresses)
    if (isComplete)
      console.log(
        [
          "to try the services on them:",
          `  export ${trial(addresses as Servers.Addresses).trimEnd()}`,
          "  npx xdooria migrate --create",
          "  npm start -- --infra live"
        ].join("\n")
      )
    return isComplete
  }),
  down: Effect.as(infra.down("all"), true)
}

const command = commands[process.argv[2] ?? ""]
if (command === undefined) {
  console.error("usage: npm run infra:install | infra:up | infra:down")
  process.exitCode = 2
} else process.exitCode = (await Effect.runPromise(command)) ? 0 : 1

// npm run infra:install | infra:up | infra:down
import * as Effect from "effect/Effect"
import { infra } from "./Infra.ts"

const print = (addresses: object): boolean => {
  const missing = Object.entries(addresses).filter(([, address]) => "missing" in address)
  for (const [name, address] of Object.entries(addresses)) {
    if ("port" in address) console.log(`${name}: 127.0.0.1:${address.port}`)
  }
  for (const [name, address] of missing) console.error(`${name}: missing, ${address.missing}`)
  return missing.length === 0
}

const commands: Record<string, Effect.Effect<boolean>> = {
  install: Effect.map(infra.install, print),
  up: Effect.map(infra.up("up"), print),
  down: Effect.as(infra.down("all"), true)
}

const command = commands[process.argv[2] ?? ""]
if (command === undefined) {
  console.error("usage: npm run infra:install | infra:up | infra:down")
  process.exitCode = 2
} else process.exitCode = (await Effect.runPromise(command)) ? 0 : 1

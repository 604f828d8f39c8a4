import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { EtcdConfig, type EtcdSettings } from "xdooria/registry"
import * as Etcd from "../../src/registry/internal/etcd.ts"
import * as EtcdServer from "../support/EtcdServer.ts"
import * as RealServer from "../support/RealServer.ts"
import { suite } from "./StoreContract.ts"

const defaults: EtcdSettings = Schema.decodeSync(EtcdConfig.schema)({})

/** A store on an etcd of its own: it is compacted, and nobody else's watch should find that. */
const own = (options: EtcdServer.Options) =>
  Effect.gen(function* () {
    const node = yield* EtcdServer.start(options)
    const store = yield* Etcd.make({ ...defaults, endpoints: [`127.0.0.1:${node.port}`] })
    return { store, compact: Effect.orDie(EtcdServer.compact(node)) }
  })

RealServer.suite("etcd", "The store on etcd", () => suite("as Debian has it", own({}), { clock: "live" }))

RealServer.suite("etcdNext", "The store on etcd", ({ program }) =>
  suite("of a newer release", own({ program }), { clock: "live" })
)

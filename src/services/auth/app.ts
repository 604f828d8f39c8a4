import * as Layer from "effect/Layer"
import { descriptors } from "../../gen/descriptors.ts"
import { GrpcServer } from "../../grpc/GrpcServer.ts"
import * as Pg from "../../pg/Pg.ts"
import { Registry } from "../../registry/Registry.ts"
import { AccountsLive } from "./Accounts.ts"
import { AuthApi } from "./api.ts"
import { AuthHandlers } from "./handlers.ts"
import { LoginsLive } from "./Logins.ts"
import { migrations } from "./migrations.ts"

/** What the auth service is, open: it asks for a gRPC server, a database, tokens, sessions and the registry. */
export const AuthApp = Registry.layerSelf(AuthApi.service).pipe(
  Layer.provideMerge(GrpcServer.serve(AuthHandlers, { descriptors })),
  Layer.provide(LoginsLive),
  Layer.provide(AccountsLive),
  Layer.provide(Pg.layerMigrations(migrations))
)

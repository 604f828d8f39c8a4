import { Registry } from "../../registry/Registry.ts"
import { AuthApi } from "../auth/api.ts"
import { GameApi } from "../game/api.ts"

/** The services whose calls the gateway passes on to their live instances: a further one is a line here. */
export const forwards = [Registry.forward(AuthApi), Registry.forward(GameApi)] as const

import { suite } from "./ForwardContract.ts"
import { live } from "./Game.ts"

suite("grpc-js", () => live, { clock: "live" })

import { live } from "./Game.ts"
import { suite } from "./HopContract.ts"

suite("GrpcServerLive and GrpcClientLive", () => () => live(), { clock: "live" })

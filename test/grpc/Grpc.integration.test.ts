import { live } from "./Game.ts"
import { suite } from "./GrpcContract.ts"

suite("GrpcServerLive and GrpcClientLive", live, "live")

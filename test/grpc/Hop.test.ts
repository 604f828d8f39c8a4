import { GrpcNetwork, layerEmbedded } from "xdooria/grpc"
import { suite } from "./HopContract.ts"

suite(
  "GrpcEmbedded",
  () => {
    const network = new GrpcNetwork()
    return () => layerEmbedded({ network })
  },
  { clock: "test" }
)

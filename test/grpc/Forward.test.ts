import { GrpcNetwork, layerEmbedded } from "xdooria/grpc"
import { suite } from "./ForwardContract.ts"

suite(
  "GrpcEmbedded",
  () => {
    const network = new GrpcNetwork()
    return (settings) => layerEmbedded({ network, ...settings })
  },
  { clock: "test" }
)

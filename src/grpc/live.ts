export * as GrpcReflect from "./GrpcReflect.ts"
export { GrpcClientLive, layerLive as layerClientLive, makeLive as makeClientLive } from "./GrpcClientLive.ts"
export {
  GrpcServerLive,
  type GrpcServerOptions,
  layerLive as layerServerLive,
  makeLive as makeServerLive
} from "./GrpcServerLive.ts"

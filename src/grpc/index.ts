export * as Grpc from "./Grpc.ts"
export { GrpcClient } from "./GrpcClient.ts"
export * from "./GrpcError.ts"
export { GrpcServer, type ServeOptions } from "./GrpcServer.ts"

import { fromBinary, toBinary } from "@bufbuild/protobuf"
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import type { Server } from "@grpc/grpc-js"
import { loadSync, type PackageDefinition } from "@grpc/proto-loader"
import { ReflectionService } from "@grpc/reflection"
import { protoPath as healthProto } from "grpc-health-check"

/**
 * Adds grpc.reflection.v1 and v1alpha to a server. Throws when the descriptors do not decode.
 *
 * - `descriptors`: a FileDescriptorSet in base64
 * - `services`: those of them that the server has
 */
export const add = (server: Server, descriptors: string, services: ReadonlyArray<string>): void => {
  const files = fromBinary(FileDescriptorSetSchema, Buffer.from(descriptors, "base64")).file
  const fileDescriptorProtos = files.map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file)))
  // All that the service reads of a package definition. Loading the set into one would rewrite its files.
  const definition = { files: { fileDescriptorProtos } } as unknown as PackageDefinition
  new ReflectionService(
    { ...loadSync(healthProto), ...definition },
    { services: ["grpc.health.v1.Health", ...services] }
  ).addToServer(server)
}

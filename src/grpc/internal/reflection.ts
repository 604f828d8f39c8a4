import { fromBinary, toBinary } from "@bufbuild/protobuf"
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import type { Server } from "@grpc/grpc-js"
import { ReflectionService } from "@grpc/reflection"

type PackageDefinition = ConstructorParameters<typeof ReflectionService>[0]

/**
 * Adds grpc.reflection.v1 and v1alpha to a server. Throws when the descriptors do not decode.
 *
 * - `descriptors`: a FileDescriptorSet in base64
 * - `services`: those of them that the server has
 */
export const add = (server: Server, descriptors: string, services: ReadonlyArray<string>): void => {
  const { file } = fromBinary(FileDescriptorSetSchema, Buffer.from(descriptors, "base64"))
  const fileDescriptorProtos = file.map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file)))
  // All that it reads of a package definition. Made by proto-loader, one would hold other files than those compiled.
  const definition = { all: { fileDescriptorProtos } } as unknown as PackageDefinition
  new ReflectionService(definition, { services: [...services] }).addToServer(server)
}

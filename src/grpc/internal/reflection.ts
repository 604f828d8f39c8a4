import { fromBinary, toBinary } from "@bufbuild/protobuf"
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import type { Server } from "@grpc/grpc-js"
import { ReflectionService } from "@grpc/reflection"
import { descriptors as healthDescriptors } from "../../gen/healthDescriptors.ts"

type PackageDefinition = ConstructorParameters<typeof ReflectionService>[0]

const health = "grpc.health.v1.Health"

const decode = (descriptors: string): ReadonlyArray<FileDescriptorProto> =>
  fromBinary(FileDescriptorSetSchema, Buffer.from(descriptors, "base64")).file

/** The files that define these services, and those that they import: the set may know services of other servers. */
const filesOf = (
  files: ReadonlyArray<FileDescriptorProto>,
  services: ReadonlyArray<string>
): ReadonlySet<FileDescriptorProto> => {
  const found = new Set<FileDescriptorProto>()
  const add = (file: FileDescriptorProto | undefined): void => {
    if (file === undefined || found.has(file)) return
    found.add(file)
    for (const name of file.dependency) add(files.find((other) => other.name === name))
  }
  for (const file of files) {
    const prefix = file.package === "" ? "" : `${file.package}.`
    if (file.service.some(({ name }) => services.includes(`${prefix}${name}`))) add(file)
  }
  return found
}

/**
 * Adds grpc.reflection.v1 and v1alpha to a server, for its services and grpc.health.v1. Throws when the descriptors do
 * not decode.
 *
 * - `descriptors`: a FileDescriptorSet in base64; it may define more than is served
 * - `services`: the full names of what is served
 */
export const add = (server: Server, descriptors: string, services: ReadonlyArray<string>): void => {
  const served = [...services, health]
  const files = [...filesOf(decode(descriptors), services), ...filesOf(decode(healthDescriptors), [health])]
  const fileDescriptorProtos = files.map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file)))
  // All that it reads of a package definition. Made by proto-loader, one would hold other files than those compiled.
  const definition = { all: { fileDescriptorProtos } } as unknown as PackageDefinition
  new ReflectionService(definition, { services: served }).addToServer(server)
}

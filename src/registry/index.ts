export * from "./Leader.ts"
export * from "./Registry.ts"
export * from "./RegistryEmbedded.ts"
export * from "./RegistryError.ts"

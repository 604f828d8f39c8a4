export * from "./Leader.ts"
export * from "./Registry.ts"
export * from "./RegistryError.ts"

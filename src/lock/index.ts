export * as Fence from "./Fence.ts"
export * from "./Lock.ts"
export * from "./LockEmbedded.ts"
export * from "./LockError.ts"

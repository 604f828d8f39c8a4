export * from "./Auth.ts"
export * from "./AuthError.ts"
export * from "./Lockout.ts"

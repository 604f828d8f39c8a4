export * as Config from "./Config.ts"
export * from "./ConfigError.ts"
export * from "./ConfigTest.ts"

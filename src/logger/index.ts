export * as Logger from "./Logger.ts"
export * from "./LoggerError.ts"
export * from "./LoggerTest.ts"

export * from "./Session.ts"
export * from "./SessionEmbedded.ts"
export * from "./SessionError.ts"
